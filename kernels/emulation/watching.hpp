// Answers the calls that a compiler inserts for ThreadSanitizer: each tells the machine of an access (`races.hpp`).
#pragma once

#include <link.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "turns.hpp"

namespace assay::emulation {

ASSAY_UNWATCHED ASSAY_MACHINE void Machine::access(const volatile void* address, std::size_t bytes, bool write, bool atomic, void* pc) {
    if (current_ == nullptr) return;
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    // Most are of this machine, or of what the thread has on its own stack: nobody races for them.
    if (at - reinterpret_cast<std::uintptr_t>(this) < sizeof *this || (current_->fiber != nullptr && current_->fiber->has(at))) return;
    Race race;
    // The lower half of where the access stands; the rest is that of all code.
    const auto place = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(pc));
    if (!races_.access({block_, current_->linear, barriers_}, at, bytes, write, atomic, place, race)) return;
    char where[2][256];
    describe_place(race.pc, where[0], sizeof where[0]);
    describe_place(race.other_pc, where[1], sizeof where[1]);
    char memory[64];
    std::snprintf(memory, sizeof memory, race.number < 0 ? "%s" : "%s %d", race.memory, race.number);
    const uint3 other = threads_[race.other.thread].index;
    const uint3 block = block_of(race.other.block);
    fail("race for byte %zu of %s: thread (%u, %u, %u) %s%s it at %s, and before that, thread (%u, %u, %u) of block (%u, %u, %u) %s%s "
         "it at %s, with nothing between that orders them",
         race.byte, memory, current_->index.x, current_->index.y, current_->index.z, race.atomic ? "atomically " : "",
         race.write ? "writes" : "reads", where[0], other.x, other.y, other.z, block.x, block.y,
         block.z, race.other_atomic ? "atomically " : "", race.other_write ? "wrote" : "read", where[1]);
}

/// The line of a place, by the `addr2line` that comes with every compiler; without it, the place.
ASSAY_MACHINE void Machine::describe_place(std::uint32_t place, char* text, std::size_t size) {
    std::uintptr_t base = 0;  // where this program was loaded
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
            *static_cast<std::uintptr_t*>(out) = info->dlpi_addr;
            return 1;
        },
        &base);
    const std::uint32_t offset = place - static_cast<std::uint32_t>(base) - 1;
    std::snprintf(text, size, "+0x%x", offset);
    char command[64];
    std::snprintf(command, sizeof command, "addr2line -i -e /proc/%d/exe 0x%x 2>/dev/null", static_cast<int>(getpid()), offset);
    std::FILE* const tool = popen(command, "r");
    if (tool == nullptr) return;
    char line[256];
    // From the innermost function outwards: the first line that is no header's here.
    while (std::fgets(line, sizeof line, tool) != nullptr && line[0] != '?') {
        line[std::strcspn(line, " \n")] = 0;
        std::snprintf(text, size, "%s", line);
        if (std::strstr(line, ".hpp:") == nullptr) break;
    }
    pclose(tool);
}

}  // namespace assay::emulation

#define ASSAY_WATCH extern "C" __attribute__((weak, used, no_sanitize("thread")))
#define ASSAY_TELL(address, bytes, write, atomic)                                                                          \
    if (::assay::emulation::machine != nullptr)                                                                            \
    ::assay::emulation::machine->access(address, bytes, write, atomic, __builtin_return_address(0))

ASSAY_WATCH void __tsan_init() {}
ASSAY_WATCH void __tsan_func_entry(void*) {}
ASSAY_WATCH void __tsan_func_exit() {}
ASSAY_WATCH void __tsan_vptr_update(void**, void*) {}
ASSAY_WATCH void __tsan_read_range(void* address, unsigned long bytes) { ASSAY_TELL(address, bytes, false, false); }
ASSAY_WATCH void __tsan_write_range(void* address, unsigned long bytes) { ASSAY_TELL(address, bytes, true, false); }
ASSAY_WATCH void __tsan_atomic_thread_fence(int) {}

#define ASSAY_WATCH_PLAIN(bytes)                                                                                \
    ASSAY_WATCH void __tsan_read##bytes(void* address) { ASSAY_TELL(address, bytes, false, false); }            \
    ASSAY_WATCH void __tsan_write##bytes(void* address) { ASSAY_TELL(address, bytes, true, false); }            \
    ASSAY_WATCH void __tsan_unaligned_read##bytes(void* address) { ASSAY_TELL(address, bytes, false, false); }  \
    ASSAY_WATCH void __tsan_unaligned_write##bytes(void* address) { ASSAY_TELL(address, bytes, true, false); }
ASSAY_WATCH_PLAIN(1)
ASSAY_WATCH_PLAIN(2)
ASSAY_WATCH_PLAIN(4)
ASSAY_WATCH_PLAIN(8)
ASSAY_WATCH_PLAIN(16)

#define ASSAY_WATCH_CHANGE(bits, type, name, operation)                                     \
    ASSAY_WATCH type __tsan_atomic##bits##_##name(volatile type* address, type value, int) { \
        ASSAY_TELL(address, bits / 8, true, true);                                          \
        return operation(address, value, __ATOMIC_SEQ_CST);                                 \
    }
#define ASSAY_WATCH_EXCHANGE(bits, type, name)                                                                              \
    ASSAY_WATCH int __tsan_atomic##bits##_##name(volatile type* address, type* expected, type value, int, int) {             \
        ASSAY_TELL(address, bits / 8, true, true);                                                                          \
        return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);            \
    }
#define ASSAY_WATCH_ATOMIC(bits, type)                                                \
    ASSAY_WATCH type __tsan_atomic##bits##_load(const volatile type* address, int) {   \
        ASSAY_TELL(address, bits / 8, false, true);                                   \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                            \
    }                                                                                 \
    ASSAY_WATCH_CHANGE(bits, type, exchange, __atomic_exchange_n)                     \
    ASSAY_WATCH_CHANGE(bits, type, fetch_add, __atomic_fetch_add)                     \
    ASSAY_WATCH_CHANGE(bits, type, fetch_sub, __atomic_fetch_sub)                     \
    ASSAY_WATCH_CHANGE(bits, type, fetch_and, __atomic_fetch_and)                     \
    ASSAY_WATCH_CHANGE(bits, type, fetch_or, __atomic_fetch_or)                       \
    ASSAY_WATCH_CHANGE(bits, type, fetch_xor, __atomic_fetch_xor)                     \
    ASSAY_WATCH_EXCHANGE(bits, type, compare_exchange_strong)                         \
    ASSAY_WATCH_EXCHANGE(bits, type, compare_exchange_weak)
ASSAY_WATCH_ATOMIC(8, unsigned char)
ASSAY_WATCH_ATOMIC(16, unsigned short)
ASSAY_WATCH_ATOMIC(32, unsigned int)
ASSAY_WATCH_ATOMIC(64, unsigned long)

#undef ASSAY_WATCH
#undef ASSAY_TELL
#undef ASSAY_WATCH_PLAIN
#undef ASSAY_WATCH_CHANGE
#undef ASSAY_WATCH_EXCHANGE
#undef ASSAY_WATCH_ATOMIC
