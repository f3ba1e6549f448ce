// CUDA C++ on a CPU: include this before a CUDA source, and the unchanged source compiles as C++17 and runs.
//
//   #include "emulation.hpp"
//   #include "memory/stream.cu"
//   static const assay::emulation::Kernel kernels[] = {ASSAY_KERNEL("triad<float>", triad<float>)};
//   ASSAY_EMULATION_MAIN(kernels)
//
// compiled with
//
//   c++ -std=c++17 -O1 -g -fsanitize=address,undefined -DASSAY_EMULATION -I kernels/cuda -I kernels/emulation PROGRAM.cpp serve.o
//
// is a program that runs kernels for whoever writes jobs to it, as `serve.cpp` says, and that ends in words at an error.
// (`serve.o` is `serve.cpp` compiled once for all programs, with the same options but for the sanitizers.) It sees
// accesses beyond a buffer, dynamic shared memory or a shared array; undefined behaviour; barriers that diverge;
// deadlocks; and, through results that differ between the orders of `machine.hpp`, missing barriers.
//
// Compiled with `-fsanitize=thread` instead, and linked without it,
//
//   c++ -std=c++17 -O1 -g1 -fsanitize=thread -DASSAY_EMULATION -I ... -c PROGRAM.cpp && c++ PROGRAM.o serve.o
//
// it is a program that watches every access for data races (`races.hpp`). It needs 72 bytes for each byte of memory that
// a job uses.
//
// With `-DASSAY_EMULATION_APART` the machine itself is not compiled with every program: `machine.cpp` says how it is then.
//
// With
//
//   c++ -std=c++17 -O2 -fno-strict-aliasing -fPIC -shared -fno-gnu-unique -DASSAY_EMULATION -DASSAY_EMULATION_PLUGIN -I ...
//
// it is a plugin of the emulated driver (`driver.cpp`), which finds its kernels by their mangled names.
//
// Limits. No tensor cores, inline PTX, cooperative groups, textures or waiting between blocks. A kernel cannot be
// `extern "C"` or an explicit specialisation. The array of a *device function* that is a template is watched by
// UndefinedBehaviorSanitizer alone, which sees indices but not pointers that leave it. Shared variables are
// named in functions, not outside. A mutable variable that is `static` in a kernel counts as a shared one. Atomics with
// `_block` and `_system` in their names are absent.
#pragma once

#include "atomics.hpp"
#include "fiber.hpp"
#include "intrinsics.hpp"
#include "kernel.hpp"
#include "vectors.hpp"
#include "warp.hpp"
#ifndef ASSAY_EMULATION_APART
#include "turns.hpp"
#ifdef ASSAY_WATCHES_RACES
#include "watching.hpp"
#endif
#endif

namespace assay::emulation {

/// This program and its kernels.
inline Program program(const Kernel* kernels, std::size_t count) {
    return {kernels,
            count,
            [](Order order, std::uint64_t seed) { this_machine().set_order(order, seed); },
            [](const Launch& launch) { this_machine().run(launch); },
            [](std::FILE* out) { this_machine().describe_current(out); },
            forbid,
            allow,
            [](void* memory, std::size_t bytes, int buffer) { this_machine().watch(memory, bytes, buffer); },
            [] { this_machine().forget(); }};
}

}  // namespace assay::emulation

#ifndef ASSAY_EMULATION_PLUGIN
namespace assay::emulation {

/// Serves jobs until the input ends; gives the exit status.
inline int serve(const Kernel* kernels, std::size_t count) {
#ifdef ASSAY_ADDRESS_SANITIZER
    __asan_set_death_callback([] {
        std::fprintf(stderr, "emulation: while running ");
        this_machine().describe_current(stderr);
        std::fprintf(stderr, "\n");
    });
#endif
    return serve(program(kernels, count));
}

}  // namespace assay::emulation

// Undefined behaviour ends the program too. Leaks are none of its business: what a job allocates ends with the process.
extern "C" __attribute__((weak, used)) const char* __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }
extern "C" __attribute__((weak, used)) const char* __asan_default_options() { return "detect_leaks=0:redzone=1024"; }
#endif

// Below the library's headers, which use some of these names themselves.

// In a sanitizer program a kernel is local to its file: so are then its shared arrays, and only around such does
// AddressSanitizer set guards. In a plugin its symbol is what a module is asked for.
#ifdef ASSAY_EMULATION_PLUGIN
#define __global__ __attribute__((used))
#define __shared__ static thread_local
#else
#define __global__ static __attribute__((unused))
#define __shared__ static
#endif
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))

#define threadIdx (::assay::emulation::machine->thread_index())
#define blockIdx (::assay::emulation::machine->block_index())
#define blockDim (::assay::emulation::machine->block_size())
#define gridDim (::assay::emulation::machine->grid_size())
#define warpSize 32

/// The end of a program: it serves jobs, or, as a plugin, hands its kernels to the emulated driver.
#ifdef ASSAY_EMULATION_PLUGIN
#define ASSAY_EMULATION_MAIN(kernels)                                                                           \
    extern "C" __attribute__((visibility("default"))) const assay::emulation::Program* assay_emulated_program() { \
        static const assay::emulation::Program program =                                                        \
            assay::emulation::program(kernels, sizeof(kernels) / sizeof *(kernels));                            \
        return &program;                                                                                        \
    }
#else
#define ASSAY_EMULATION_MAIN(kernels) \
    int main() { return assay::emulation::serve(kernels, sizeof(kernels) / sizeof *(kernels)); }
#endif

/// Declares `name`, a pointer to the shared memory whose size the launch gives.
#define ASSAY_DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(::assay::emulation::machine->shared_memory())
