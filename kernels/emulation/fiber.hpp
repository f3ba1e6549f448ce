// Fibers: stacks that take turns on one thread of the operating system.
//
// Each emulated CUDA thread that has to wait keeps its place on one of these. The switch is written by hand for
// x86-64 and saves what the System V ABI calls callee-saved; `swapcontext` would make a system call per switch. Under
// AddressSanitizer every switch is announced, so that it knows on which stack it is.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the emulation of CUDA kernels is written for x86-64 Linux"
#endif

#if defined(__SANITIZE_ADDRESS__)
#define ASSAY_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASSAY_ADDRESS_SANITIZER 1
#endif
#endif

#ifdef ASSAY_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" void assay_fiber_switch(void** save, void* load);

// Weak and hidden: a program may consist of several translation units, a process of several plugins.
asm(R"(
    .pushsection .text.assay_fiber_switch, "axG", @progbits, assay_fiber_switch, comdat
    .weak assay_fiber_switch
    .hidden assay_fiber_switch
    .type assay_fiber_switch, @function
assay_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size assay_fiber_switch, . - assay_fiber_switch
    .popsection
)");

namespace assay::emulation {

/// A stack with the place where its execution stands. The one made by the first constructor is the stack that the
/// program already runs on.
class Fiber {
  public:
    Fiber() = default;

    /// A fiber that begins with `entry`, which must never return. `number` staggers the first frame, else the frames of
    /// all fibers would compete for the same lines of the cache.
    Fiber(void (*entry)(), std::size_t number) {
        void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
            std::fprintf(stderr, "emulation: no memory for the stack of fiber %zu\n", number);
            std::_Exit(2);
        }
        bottom_ = static_cast<char*>(memory);
        char* top = bottom_ + kBytes - (number % 61) * 192;
        auto* frame = reinterpret_cast<void**>(top) - 8;
        for (int slot = 0; slot < 6; ++slot) frame[slot] = nullptr;  // r15 r14 r13 r12 rbx rbp
        frame[6] = reinterpret_cast<void*>(entry);
        frame[7] = nullptr;  // the return address of `entry`: the end of a backtrace
        pointer_ = frame;
        size_ = kBytes;
        owned_ = true;
    }

    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    ~Fiber() {
        if (owned_) munmap(bottom_, kBytes);
    }

    /// Leaves this fiber, on which the program is, for `to`; returns when somebody switches back.
    void switch_to(Fiber& to) {
#ifdef ASSAY_ADDRESS_SANITIZER
        to.came_from_ = this;
        __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.size_);
#endif
        assay_fiber_switch(&pointer_, to.pointer_);
        arrived();
    }

    /// Whether an address is on its stack.
    __attribute__((no_sanitize("thread"))) bool has(std::uintptr_t address) const {
        return address - reinterpret_cast<std::uintptr_t>(bottom_) < kBytes;
    }

    /// To be called first on a new fiber.
    void arrived() {
#ifdef ASSAY_ADDRESS_SANITIZER
        const void* bottom = nullptr;
        std::size_t size = 0;
        __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &size);
        if (came_from_->size_ == 0) {  // the program's own stack, whose limits only the sanitizer knows
            came_from_->bottom_ = static_cast<char*>(const_cast<void*>(bottom));
            came_from_->size_ = size;
        }
#endif
    }

  private:
    static constexpr std::size_t kBytes = 256 * 1024;
    static constexpr std::size_t kGuardBytes = 4096;

    void* pointer_ = nullptr;
    char* bottom_ = nullptr;
    std::size_t size_ = 0;
    bool owned_ = false;
#ifdef ASSAY_ADDRESS_SANITIZER
    void* fake_stack_ = nullptr;
    Fiber* came_from_ = nullptr;
#endif
};

}  // namespace assay::emulation
