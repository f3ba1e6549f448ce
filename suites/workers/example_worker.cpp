// A worker in C++, host only: y = a x + y on one thread. Compile and check it with
//
//     c++ -std=c++17 -O3 -march=native example_worker.cpp -o example_worker
//     assay worker-check ./example_worker
#include "assay_worker.hpp"

struct Saxpy : assay::HostWorkload {
    std::vector<float> x, y, out;
    float a;

    explicit Saxpy(const assay::Case& c)
        : x(c.size("elements")), y(x.size()), out(x.size(), NAN), a(static_cast<float>(c.number("a"))) {
        assay::Philox(c.seed, 0).fill(x.data(), x.size());  // inputs follow from the seed alone
        assay::Philox(c.seed, 1).fill(y.data(), y.size());
        inputs = {{"x", assay::digest(x)}, {"y", assay::digest(y)}};
        work = {12 * x.size(), 2 * x.size(), {}, "bytes = 3 n sizeof(float), flops = 2 n"};
        deterministic = true;
    }

    void run(std::uint64_t iterations) override {
        for (; iterations > 0; --iterations) {
            for (std::size_t i = 0; i < x.size(); ++i) out[i] = a * x[i] + y[i];
            assay::keep(out.data());
        }
    }

    assay::Verification verify() override {
        const auto found = [this](std::size_t i) { return out[i]; };
        const auto expected = [this](std::size_t i) { return double{a} * x[i] + y[i]; };
        auto verification = assay::compare(x.size(), found, expected, std::abs(a) * 0x1p-23 + 0x1p-23);
        verification.output = assay::digest(out);
        return verification;
    }
};

int main() {
    assay::Worker worker("example_worker.cpp", "1");
    worker.add<Saxpy>(assay::Info("cpp-saxpy", "y = a x + y, one thread")
                          .integer("elements", 1 << 16).at_least(1)
                          .number("a", 2.5));
    return worker.serve();
}
