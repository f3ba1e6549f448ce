// The loop of a program that runs kernels for others: jobs come on standard input, results go to standard output.
//
//   job ORDER SEED NBUFFERS NSTEPS          ORDER: forward | reverse | shuffled
//   buffer BYTES                            NBUFFERS lines
//   launch GX GY GZ BX BY BZ SHARED NARGS NAME
//       followed by NARGS lines:            buffer I BYTEOFFSET | u32 V | i32 V | u64 V | f32 HEXBITS | f64 HEXBITS
//   set I BYTE                              fills buffer I with a byte
//   copy FROM TO                            copies a buffer to one of the same size
//   <the bytes of all buffers, one after the other>
//
// The steps (`launch`, `set`, `copy`; NSTEPS of them) run in order, and the reply is a line `done` and the bytes of all
// buffers. Then comes the next job, or the end of the input. Numbers are decimal, fields are parted by one space, NAME is
// the rest of its line. Anything else ends the program with a message on standard error and status 1; a kernel that fails
// ends it with status 2, one that takes longer than ASSAY_EMULATION_TIMEOUT_S seconds (default 120) with status 3.
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "interface.hpp"
#include "shared_variables.hpp"

namespace assay::emulation {
namespace {

/// What runs, for a handler of signals.
const Program* running = nullptr;

class Server {
  public:
    explicit Server(const Program& program)
        : program_(program), shared_variables_(program.kernels, program.kernel_count) {
        running = &program;
        const char* const seconds = std::getenv("ASSAY_EMULATION_TIMEOUT_S");
        if (seconds != nullptr) timeout_s_ = static_cast<unsigned>(std::strtoul(seconds, nullptr, 10));
        signal(SIGALRM, [](int) {
            std::fprintf(stderr, "emulation: no end in sight: ");
            running->describe_current(stderr);
            std::fprintf(stderr, "\n");
            std::_Exit(3);
        });
    }

    int serve() {
        while (read_line()) {
            ++job_;
            const std::vector<Step> steps = read_job();
            for (const Step& step : steps) run(step);
            reply();
        }
        return 0;
    }

  private:
    static constexpr std::uint64_t kMaxBuffers = 4096;
    static constexpr std::uint64_t kMaxBufferBytes = std::uint64_t{1} << 36;
    static constexpr std::uint64_t kMaxSteps = 1 << 20;
    static constexpr std::uint64_t kMaxArguments = 256;

    struct Buffer {
        char* bytes;
        std::size_t size;
    };

    struct Argument {
        ParameterKind kind;
        std::uint64_t bits;  // of a pointer: the offset in bytes
        std::size_t buffer;
    };

    struct Step {
        enum { Launch, Set, Copy } what;
        std::size_t kernel;
        dim3 grid, block;
        std::uint32_t shared_bytes;
        std::vector<Argument> arguments;
        std::size_t from, to;
        int byte;
    };

    // ---- lines ----

    [[noreturn]] __attribute__((format(printf, 2, 3))) void refuse(const char* format, ...) const {
        std::fprintf(stderr, "emulation: job %zu, line %zu (`%s`): ", job_, line_number_, line_);
        va_list arguments;
        va_start(arguments, format);
        std::vfprintf(stderr, format, arguments);
        va_end(arguments);
        std::fputc('\n', stderr);
        std::fflush(stderr);
        std::_Exit(1);
    }

    /// The next line without its end; false at the end of the input.
    bool read_line() {
        ++line_number_;
        const ssize_t length = getline(&line_, &line_capacity_, stdin);
        if (length <= 0) return false;
        if (line_[length - 1] != '\n') refuse("the input ends within a line");
        line_[length - 1] = 0;
        rest_ = line_;
        return true;
    }

    void expect_line() {
        if (read_line()) return;
        std::fprintf(stderr, "emulation: job %zu: the input ends within the job\n", job_);
        std::_Exit(1);
    }

    /// Takes `word` and the space or end behind it from the line; false if it is not there.
    bool take_word(const char* word) {
        const std::size_t length = std::strlen(word);
        if (std::strncmp(rest_, word, length) != 0 || (rest_[length] != ' ' && rest_[length] != 0)) return false;
        rest_ += length + (rest_[length] == ' ');
        return true;
    }

    std::uint64_t take_number(const char* what, std::uint64_t most, int base = 10) {
        const char* digits = base == 10 ? "0123456789" : "0123456789abcdefABCDEF";
        const std::size_t length = std::strspn(rest_, digits);
        if (length == 0 || (rest_[length] != ' ' && rest_[length] != 0)) refuse("%s is no number", what);
        errno = 0;
        const std::uint64_t value = std::strtoull(rest_, nullptr, base);
        if (errno != 0 || value > most) refuse("%s is more than %llu", what, static_cast<unsigned long long>(most));
        rest_ += length + (rest_[length] == ' ');
        return value;
    }

    void end_of_line() const {
        if (*rest_ != 0) refuse("`%s` is left over", rest_);
    }

    std::size_t take_buffer(const char* what) {
        const std::uint64_t number = take_number(what, kMaxBuffers);
        if (number >= buffers_.size()) refuse("%s: there are %zu buffers", what, buffers_.size());
        return number;
    }

    // ---- jobs ----

    std::vector<Step> read_job() {
        if (!take_word("job")) refuse("a job begins with `job ORDER SEED NBUFFERS NSTEPS`");
        const Order order = take_word("forward")    ? Order::Forward
                            : take_word("reverse")  ? Order::Reverse
                            : take_word("shuffled") ? Order::Shuffled
                                                    : (refuse("the order is none of forward, reverse, shuffled"), Order::Forward);
        program_.set_order(order, take_number("SEED", UINT64_MAX));
        const std::uint64_t buffer_count = take_number("NBUFFERS", kMaxBuffers);
        const std::uint64_t step_count = take_number("NSTEPS", kMaxSteps);
        end_of_line();
        buffers_.clear();
        for (std::uint64_t number = 0; number < buffer_count; ++number) {
            expect_line();
            if (!take_word("buffer")) refuse("here comes `buffer BYTES`");
            const Buffer buffer = allocate(take_number("BYTES", kMaxBufferBytes));
            end_of_line();
            program_.watch(buffer.bytes, buffer.size, static_cast<int>(number));
            buffers_.push_back(buffer);
        }
        std::vector<Step> steps;
        for (std::uint64_t number = 0; number < step_count; ++number) {
            expect_line();
            steps.push_back(read_step());
        }
        for (const Buffer& buffer : buffers_) {
            if (std::fread(buffer.bytes, 1, buffer.size, stdin) == buffer.size) continue;
            std::fprintf(stderr, "emulation: job %zu: the input ends within the bytes of the buffers\n", job_);
            std::_Exit(1);
        }
        return steps;
    }

    /// A block of exactly this size, aligned as device memory is. Of an empty one every access is an error.
    Buffer allocate(std::size_t size) const {
        void* bytes = nullptr;
        if (posix_memalign(&bytes, 256, size == 0 ? 16 : size) != 0) refuse("no memory for %zu bytes", size);
        if (size == 0) program_.forbid(bytes, 16);
        return {static_cast<char*>(bytes), size};
    }

    Step read_step() {
        Step step{};
        if (take_word("launch")) {
            read_launch(step);
        } else if (take_word("set")) {
            step.what = Step::Set;
            step.to = take_buffer("I");
            step.byte = static_cast<int>(take_number("BYTE", 255));
            end_of_line();
        } else if (take_word("copy")) {
            step.what = Step::Copy;
            step.from = take_buffer("FROM");
            step.to = take_buffer("TO");
            end_of_line();
            if (buffers_[step.from].size != buffers_[step.to].size)
                refuse("the buffers have %zu and %zu bytes", buffers_[step.from].size, buffers_[step.to].size);
        } else {
            refuse("a step is `launch`, `set` or `copy`");
        }
        return step;
    }

    void read_launch(Step& step) {
        step.what = Step::Launch;
        for (unsigned* size : {&step.grid.x, &step.grid.y, &step.grid.z, &step.block.x, &step.block.y, &step.block.z})
            *size = static_cast<unsigned>(take_number("a size of the grid or of a block", UINT32_MAX));
        step.shared_bytes = static_cast<std::uint32_t>(take_number("SHARED", UINT32_MAX));
        const std::uint64_t argument_count = take_number("NARGS", kMaxArguments);
        step.kernel = program_.kernel_count;
        for (std::size_t number = 0; number < program_.kernel_count; ++number)
            if (std::strcmp(program_.kernels[number].name, rest_) == 0) step.kernel = number;
        if (step.kernel == program_.kernel_count) refuse("this program has no kernel of that name");
        const Kernel& kernel = program_.kernels[step.kernel];
        if (kernel.parameter_count != argument_count)
            refuse("the kernel takes %u arguments", kernel.parameter_count);
        for (std::uint64_t number = 0; number < argument_count; ++number) {
            expect_line();
            const Argument argument = read_argument();
            if (argument.kind != kernel.parameters[number].kind)
                refuse("parameter %llu of %s is %s", static_cast<unsigned long long>(number), kernel.name, words(kernel.parameters[number].kind));
            step.arguments.push_back(argument);
        }
    }

    static const char* words(ParameterKind parameter) {
        switch (parameter) {
            case ParameterKind::Pointer: return "a pointer";
            case ParameterKind::Integer32: return "an integer of 32 bits";
            case ParameterKind::Integer64: return "an integer of 64 bits";
            case ParameterKind::Float: return "a float";
            case ParameterKind::Double: return "a double";
            case ParameterKind::Other: break;
        }
        return "of a type that no job can give";
    }

    Argument read_argument() {
        Argument argument{};
        if (take_word("buffer")) {
            argument.kind = ParameterKind::Pointer;
            argument.buffer = take_buffer("I");
            argument.bits = take_number("BYTEOFFSET", buffers_[argument.buffer].size);
        } else if (take_word("u32")) {
            argument = {ParameterKind::Integer32, take_number("V", UINT32_MAX), 0};
        } else if (take_word("i32")) {
            const bool negative = *rest_ == '-';
            rest_ += negative;
            const std::uint64_t value = take_number("V", negative ? 0x80000000u : 0x7FFFFFFFu);
            argument = {ParameterKind::Integer32, negative ? 0 - value : value, 0};
        } else if (take_word("u64")) {
            argument = {ParameterKind::Integer64, take_number("V", UINT64_MAX), 0};
        } else if (take_word("f32")) {
            argument = {ParameterKind::Float, take_number("HEXBITS", UINT32_MAX, 16), 0};
        } else if (take_word("f64")) {
            argument = {ParameterKind::Double, take_number("HEXBITS", UINT64_MAX, 16), 0};
        } else {
            refuse("an argument is `buffer`, `u32`, `i32`, `u64`, `f32` or `f64`");
        }
        end_of_line();
        return argument;
    }

    // ---- running ----

    void run(const Step& step) {
        if (step.what == Step::Set) {
            std::memset(buffers_[step.to].bytes, step.byte, buffers_[step.to].size);
        } else if (step.what == Step::Copy) {
            std::memmove(buffers_[step.to].bytes, buffers_[step.from].bytes, buffers_[step.to].size);
        } else {
            launch(step);
        }
    }

    void launch(const Step& step) {
        const Kernel& kernel = program_.kernels[step.kernel];
        std::vector<std::uint64_t> values;
        std::vector<void*> arguments;
        for (const Argument& argument : step.arguments) {
            const bool pointer = argument.kind == ParameterKind::Pointer;
            values.push_back(argument.bits + (pointer ? reinterpret_cast<std::uintptr_t>(buffers_[argument.buffer].bytes) : 0));
        }
        for (std::uint64_t& value : values) arguments.push_back(&value);
        const std::vector<Region>& statics = shared_variables_.of(step.kernel);
        alarm(timeout_s_);
        program_.run({&kernel, step.grid, step.block, step.shared_bytes, arguments.data(), statics.data(), statics.size()});
        alarm(0);
    }

    void reply() {
        program_.forget();
        std::fputs("done\n", stdout);
        for (const Buffer& buffer : buffers_) {
            std::fwrite(buffer.bytes, 1, buffer.size, stdout);
            if (buffer.size == 0) program_.allow(buffer.bytes, 16);
            std::free(buffer.bytes);
        }
        if (std::fflush(stdout) != 0) refuse("the reply cannot be written");
    }

    const Program& program_;
    SharedVariables shared_variables_;
    std::vector<Buffer> buffers_;
    std::size_t job_ = 0;
    std::size_t line_number_ = 0;
    char* line_ = nullptr;
    std::size_t line_capacity_ = 0;
    const char* rest_ = nullptr;
    unsigned timeout_s_ = 120;
};

}  // namespace

int serve(const Program& program) { return Server(program).serve(); }

}  // namespace assay::emulation
