// A worker whose workloads misbehave in each way that assay_worker.hpp has to answer for, and some that only look so.
#include "assay_worker.hpp"

#include <cstdio>
#include <iostream>

/// Goes wrong as `what` says, where `where` is here.
struct Odd : assay::HostWorkload {
    std::string what, where;

    explicit Odd(const assay::Case& c) : what(c.text("what")), where(c.text("where")) {
        metrics = {{"loss", "1", "lower", "sample"}, {"score", "1", "higher", "case"}};
        at("prepare");
    }
    void run(std::uint64_t) override { at("sample"); }
    void observe(assay::Values& values) override { values["loss"] = what == "nan" ? NAN : 0.1; }
    void finish(assay::Values& values) override { values["score"] = what == "infinite" ? INFINITY : 1e300; }
    assay::Verification verify() override {
        at("verify");
        assay::Verification out = assay::compare(1, [this](auto) { return what == "nan" ? NAN : 1; },
                                                 [](auto) { return 1; }, 0);
        return out;
    }

    void at(const std::string& here) const {
        if (where != here) return;
        assay::progress("at " + here);
        if (what == "failed") throw assay::Failed("a \"quoted\"\\\n\x01 reason, \xC3\xA9 and \xFF\xC3");
        if (what == "skipped") throw assay::Skipped("no such thing here");
        if (what == "fatal") throw assay::Fatal("all is lost");
        if (what == "exception") throw std::runtime_error("nobody meant this");
        if (what == "number") throw 42;
        if (what == "long") throw std::runtime_error(std::string(10'000'000, 'x'));
        if (what == "memory") throw std::bad_alloc();
        if (what == "device memory") throw assay::OutOfMemory("the device is full");
        if (what == "prints") {
            std::printf("one\n");
            std::cout << "two" << std::endl;
            if (std::system("echo three") != 0) throw assay::Failed("no shell");
        }
    }
};

/// Says what it was given.
struct Echo : assay::HostWorkload {
    const assay::Case wanted;

    explicit Echo(const assay::Case& c) : wanted(c) {
        metrics = {{"number", "1", "neutral", "case"}, {"integer", "1", "neutral", "case"}};
        work.items = c.flag("flag");
        work.formula = c.text("text");
        deterministic = true;
    }
    void run(std::uint64_t) override {}
    void finish(assay::Values& values) override {
        values["number"] = wanted.number("number");
        values["integer"] = static_cast<double>(wanted.integer("integer"));
    }
    assay::Verification verify() override { return {true, {}, {}, "", wanted.text("text")}; }
};

/// Takes as long as it is told, on a clock of its own; says at first, or always, that a sample is no observation.
struct Made : assay::Workload {
    const std::uint64_t each_ns, invalid;
    const bool on_device;
    std::uint64_t taken = 0, clock_ns = 1;

    explicit Made(const assay::Case& c)
        : each_ns(c.size("each_ns")), invalid(c.size("invalid")), on_device(c.flag("on_device")) {}
    static void describe(assay::Info& info) {
        info.devices = {assay::DeviceKind::cpu};
        info.timing = {assay::Timing::hot, assay::Timing::cold};
    }
    assay::Sample sample(std::uint64_t iterations) override {
        assay::Sample out;
        out.iterations = iterations;
        out.start_ns = clock_ns;
        out.host_ns = on_device ? 1'000'000 : each_ns * iterations;
        if (on_device) out.device_ns = each_ns * iterations;
        clock_ns += out.host_ns;
        if (taken++ < invalid) out.invalid = "made invalid";
        return out;
    }
    assay::Verification verify() override { return {true, {}, {}, "", ""}; }
};

/// Declares all that can be.
struct Full : Made {
    explicit Full(const assay::Case& c) : Made(c) {
        bound_level = "dram";
        bound_unit = "f32";
        timer_resolution_ns = 500;
        facts = {{"registers", "32"}};
    }
};

/// Numbers as some countries write them: 1.234,5.
struct Elsewhere : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
};

int main() {
    std::locale::global(std::locale(std::locale(), new Elsewhere));
    assay::Worker worker("odd \"worker\"", "1");
    worker.add<Odd>(assay::Info("odd", "goes wrong").text("what", "nothing").text("where", "sample")
                        .one_of({"prepare", "sample", "verify"}));
    worker.add<Echo>(assay::Info("echo", "says what it was given").text("text").number("number", 0.1)
                         .integer("integer", -3).flag("flag", true).defined(7).timed({assay::Timing::host}));
    const auto made = [](const char* name) {
        return assay::Info(name, "takes as long as it is told").integer("each_ns", 10).at_least(0)
            .integer("invalid", 0).one_of({0, 3, 1000}).flag("on_device", false);
    };
    worker.add<Made>(made("made"));
    worker.add<Full>(made("full"));
    return worker.serve();
}
