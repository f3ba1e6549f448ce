// Atomic operations on global and shared memory, and fences.
//
// They are atomic among the streams of the emulated driver too. A thread that waits for another of its block in a loop
// of them lets it have a turn now and then.
#pragma once

#include <cstring>

#include "machine.hpp"

// Always, so that a report of a race names the line of the kernel.
#define ASSAY_INLINE inline __attribute__((always_inline))

namespace assay::emulation {

/// Replaces `*address` by `change` of it, for what the compiler has no operation for; gives the old value.
template <typename T, typename Bits, typename Change>
ASSAY_INLINE T atomic_update(T* address, Change change) {
    static_assert(sizeof(T) == sizeof(Bits));
    machine->may_spin();
    auto* const bits = reinterpret_cast<Bits*>(address);
    Bits seen = __atomic_load_n(bits, __ATOMIC_RELAXED);
    for (;;) {
        T old;
        std::memcpy(&old, &seen, sizeof old);
        const T changed = change(old);
        Bits wanted;
        std::memcpy(&wanted, &changed, sizeof wanted);
        if (__atomic_compare_exchange_n(bits, &seen, wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
    }
}

}  // namespace assay::emulation

#define ASSAY_ATOMIC(name, type, operation)                 \
    ASSAY_INLINE type name(type* address, type value) {     \
        assay::emulation::machine->may_spin();              \
        return operation(address, value, __ATOMIC_RELAXED); \
    }
#define ASSAY_ATOMIC_UPDATE(name, type, bits, expression)                                                              \
    ASSAY_INLINE type name(type* address, type value) {                                                                \
        return assay::emulation::atomic_update<type, bits>(address, [value](type old) -> type { return expression; }); \
    }
#define ASSAY_ATOMIC_BITS(type)                       \
    ASSAY_ATOMIC(atomicAnd, type, __atomic_fetch_and) \
    ASSAY_ATOMIC(atomicOr, type, __atomic_fetch_or)   \
    ASSAY_ATOMIC(atomicXor, type, __atomic_fetch_xor)
#define ASSAY_ATOMIC_ORDER(type)                                          \
    ASSAY_ATOMIC_UPDATE(atomicMin, type, type, old < value ? old : value) \
    ASSAY_ATOMIC_UPDATE(atomicMax, type, type, old > value ? old : value)
#define ASSAY_ATOMIC_CAS(type)                                                                            \
    ASSAY_INLINE type atomicCAS(type* address, type compare, type value) {                                \
        assay::emulation::machine->may_spin();                                                            \
        __atomic_compare_exchange_n(address, &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); \
        return compare;                                                                                   \
    }

ASSAY_INLINE int atomicAdd(int* address, int value) {
    assay::emulation::machine->may_spin();
    return static_cast<int>(__atomic_fetch_add(reinterpret_cast<unsigned*>(address), static_cast<unsigned>(value), __ATOMIC_RELAXED));
}
ASSAY_ATOMIC(atomicAdd, unsigned int, __atomic_fetch_add)
ASSAY_ATOMIC(atomicAdd, unsigned long long, __atomic_fetch_add)
ASSAY_ATOMIC_UPDATE(atomicAdd, float, std::uint32_t, old + value)
ASSAY_ATOMIC_UPDATE(atomicAdd, double, std::uint64_t, old + value)
ASSAY_INLINE int atomicSub(int* address, int value) { return atomicAdd(address, static_cast<int>(0u - static_cast<unsigned>(value))); }
ASSAY_ATOMIC(atomicSub, unsigned int, __atomic_fetch_sub)
ASSAY_ATOMIC_UPDATE(atomicInc, unsigned int, unsigned int, old >= value ? 0 : old + 1)
ASSAY_ATOMIC_UPDATE(atomicDec, unsigned int, unsigned int, old == 0 || old > value ? value : old - 1)
ASSAY_ATOMIC_ORDER(int)
ASSAY_ATOMIC_ORDER(unsigned int)
ASSAY_ATOMIC_ORDER(long long)
ASSAY_ATOMIC_ORDER(unsigned long long)
ASSAY_ATOMIC_BITS(int)
ASSAY_ATOMIC_BITS(unsigned int)
ASSAY_ATOMIC_BITS(unsigned long long)
ASSAY_ATOMIC(atomicExch, int, __atomic_exchange_n)
ASSAY_ATOMIC(atomicExch, unsigned int, __atomic_exchange_n)
ASSAY_ATOMIC(atomicExch, unsigned long long, __atomic_exchange_n)
ASSAY_ATOMIC_UPDATE(atomicExch, float, std::uint32_t, (static_cast<void>(old), value))
ASSAY_ATOMIC_CAS(unsigned short)
ASSAY_ATOMIC_CAS(int)
ASSAY_ATOMIC_CAS(unsigned int)
ASSAY_ATOMIC_CAS(unsigned long long)

#undef ASSAY_INLINE
#undef ASSAY_ATOMIC
#undef ASSAY_ATOMIC_UPDATE
#undef ASSAY_ATOMIC_BITS
#undef ASSAY_ATOMIC_ORDER
#undef ASSAY_ATOMIC_CAS

// (ThreadSanitizer's instrumentation knows no fence of GCC's.)
inline void __threadfence_block() {
#ifndef __SANITIZE_THREAD__
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
inline void __threadfence() {
    __threadfence_block();
    assay::emulation::machine->fence();
}
inline void __threadfence_system() { __threadfence(); }
