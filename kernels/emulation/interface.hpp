// What passes between a program of kernels and whoever runs them: `serve.cpp` in a sanitizer program, the emulated
// driver for a plugin. Both are compiled apart from the kernels, with other options, hence plain structures here and
// nothing of the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "vectors.hpp"

namespace assay::emulation {

/// How threads of a block, and the blocks of a grid, take turns.
enum class Order : std::uint8_t { Forward, Reverse, Shuffled };

/// What a parameter is, as far as a job can give it.
enum class ParameterKind : std::uint8_t { Pointer, Integer32, Integer64, Float, Double, Other };

struct Parameter {
    ParameterKind kind;
    std::uint32_t bytes;
};

/// A kernel, and how it is called with arguments as `cuLaunchKernel` takes them.
struct Kernel {
    const char* name;
    void (*function)();
    void (*invoke)(void (*function)(), void** arguments);
    const Parameter* parameters;
    std::uint32_t parameter_count;
};

/// Memory that is filled with garbage before each block.
struct Region {
    void* address;
    std::size_t bytes;
};

/// One launch of a kernel.
struct Launch {
    const Kernel* kernel;
    dim3 grid;
    dim3 block;
    std::uint32_t shared_bytes;
    void** arguments;
    const Region* statics;
    std::size_t static_count;
};

/// What a program of kernels offers. All but `kernels` concerns the calling thread of the operating system alone.
struct Program {
    const Kernel* kernels;
    std::size_t kernel_count;
    void (*set_order)(Order order, std::uint64_t seed);
    void (*run)(const Launch& launch);
    /// Names the kernel, block and thread that run now, if any do.
    void (*describe_current)(std::FILE* out);
    /// Makes every access to this memory an error, or none any more, as far as a sanitizer watches.
    void (*forbid)(void* memory, std::size_t bytes);
    void (*allow)(void* memory, std::size_t bytes);
    /// Looks for races in this memory, which is a job's buffer of that number; until `forget`. Only in programs that can.
    void (*watch)(void* memory, std::size_t bytes, int buffer);
    void (*forget)();
};

/// Serves jobs until the input ends; gives the exit status. In `serve.cpp`.
int serve(const Program& program);

}  // namespace assay::emulation
