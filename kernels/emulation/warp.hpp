// Barriers, and what the lanes of a warp do together.
//
// A shuffle that reads a lane which takes no part, has ended or does not exist gives garbage, as does the hardware. A
// mask may name lanes that have ended or do not exist (a last, partial warp): they are not waited for.
#pragma once

#include <cstring>

#include "machine.hpp"

#define ASSAY_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace assay::emulation {

template <typename T>
std::uint64_t to_bits(T value) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles values of 4 and of 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
}

template <typename T>
T from_bits(std::uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <typename T>
T shuffle(unsigned mask, T value, unsigned source, int width, Place place) {
    if (width < 1 || width > 32 || (width & (width - 1)) != 0)
        machine->fail("a shuffle of width %d at %s:%d: it is no power of two up to 32", width, place.file, place.line);
    return from_bits<T>(machine->warp(Kind::Shuffle, mask, to_bits(value), source, place));
}

}  // namespace assay::emulation

inline void __syncthreads(ASSAY_PLACE) {
    assay::emulation::machine->barrier(assay::emulation::Kind::Barrier, false, {file, line});
}
inline int __syncthreads_or(int predicate, ASSAY_PLACE) {
    return assay::emulation::machine->barrier(assay::emulation::Kind::BarrierOr, predicate != 0, {file, line});
}
inline int __syncthreads_and(int predicate, ASSAY_PLACE) {
    return assay::emulation::machine->barrier(assay::emulation::Kind::BarrierAnd, predicate != 0, {file, line});
}
inline int __syncthreads_count(int predicate, ASSAY_PLACE) {
    return assay::emulation::machine->barrier(assay::emulation::Kind::BarrierCount, predicate != 0, {file, line});
}

inline void __syncwarp(unsigned mask = 0xFFFFFFFF, ASSAY_PLACE) {
    assay::emulation::machine->warp(assay::emulation::Kind::Sync, mask, 0, 0, {file, line});
}

/// All lanes that have not ended. Hardware may give fewer: those that happen to run together.
inline unsigned __activemask() { return assay::emulation::machine->live_lanes(); }

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, ASSAY_PLACE) {
    const unsigned first = assay::emulation::machine->lane() & ~(width - 1);
    return assay::emulation::shuffle(mask, value, first | (source & (width - 1)), width, {file, line});
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, ASSAY_PLACE) {
    const unsigned lane = assay::emulation::machine->lane();
    const unsigned within = lane & (width - 1);
    return assay::emulation::shuffle(mask, value, delta > within ? lane : lane - delta, width, {file, line});
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, ASSAY_PLACE) {
    const unsigned lane = assay::emulation::machine->lane();
    const unsigned left = width - 1 - (lane & (width - 1));
    return assay::emulation::shuffle(mask, value, delta > left ? lane : lane + delta, width, {file, line});
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, ASSAY_PLACE) {
    const unsigned lane = assay::emulation::machine->lane();
    const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
    return assay::emulation::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, width, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, ASSAY_PLACE) {
    return assay::emulation::machine->warp(assay::emulation::Kind::Ballot, mask, predicate != 0, 0, {file, line});
}
inline int __any_sync(unsigned mask, int predicate, ASSAY_PLACE) {
    return assay::emulation::machine->warp(assay::emulation::Kind::Any, mask, predicate != 0, 0, {file, line});
}
inline int __all_sync(unsigned mask, int predicate, ASSAY_PLACE) {
    return assay::emulation::machine->warp(assay::emulation::Kind::All, mask, predicate != 0, 0, {file, line});
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value, ASSAY_PLACE) {
    return assay::emulation::machine->warp(assay::emulation::Kind::MatchAny, mask, assay::emulation::to_bits(value), 0, {file, line});
}
template <typename T>
unsigned __match_all_sync(unsigned mask, T value, int* predicate, ASSAY_PLACE) {
    const unsigned same =
        assay::emulation::machine->warp(assay::emulation::Kind::MatchAll, mask, assay::emulation::to_bits(value), 0, {file, line});
    *predicate = same != 0;
    return same;
}

#define ASSAY_REDUCE(name, type, kind)                                                                          \
    inline type name(unsigned mask, type value, ASSAY_PLACE) {                                                  \
        return static_cast<type>(assay::emulation::machine->warp(assay::emulation::Kind::kind, mask,            \
                                                                 static_cast<unsigned>(value), 0, {file, line})); \
    }
ASSAY_REDUCE(__reduce_add_sync, unsigned, ReduceAdd)
ASSAY_REDUCE(__reduce_add_sync, int, ReduceAdd)
ASSAY_REDUCE(__reduce_min_sync, unsigned, ReduceMin)
ASSAY_REDUCE(__reduce_min_sync, int, ReduceMinSigned)
ASSAY_REDUCE(__reduce_max_sync, unsigned, ReduceMax)
ASSAY_REDUCE(__reduce_max_sync, int, ReduceMaxSigned)
ASSAY_REDUCE(__reduce_and_sync, unsigned, ReduceAnd)
ASSAY_REDUCE(__reduce_or_sync, unsigned, ReduceOr)
ASSAY_REDUCE(__reduce_xor_sync, unsigned, ReduceXor)
#undef ASSAY_REDUCE
#undef ASSAY_PLACE
