// The k largest of many numbers, the largest first, and of equal ones the earlier first.
//
// A number and its place make a key of 64 bits: the number's bits, changed so that they rise as the number does, above the
// place's complement. All keys differ, and the k largest of them are the answer. Elements are read once, for the largest
// key of each chunk. Chunks are put into groups, few enough for one block to find the k-th largest of their largest
// keys: k keys at least are not less, so the answer is among the keys that are not. Only chunks whose largest
// key is not less have such; those are read again, and a block sorts out the rest. The steps' results do not depend on
// the order in which blocks run.
#include "common/block.cuh"

using namespace assay;

namespace top_k {

constexpr u32 THREADS = 256, WARPS = THREADS / WARP;
/// Elements of a row: a pack a lane.
constexpr u32 ROW = WARP * Pack<float>::WIDTH;
/// Threads of the blocks that work alone, and the most keys that are asked for.
constexpr u32 ALONE = 1024, MOST = 1024;
constexpr u32 DIGITS = 256;

/// The number's bits, in the order of the numbers: -0 comes before 0.
ASSAY_DEVICE u32 rising(float value) {
    const u32 bits = to_bits(value);
    return bits ^ (u32(i32(bits) >> 31) | 0x80000000u);
}
ASSAY_DEVICE float number(u32 rising) { return from_bits(rising ^ ((rising >> 31) != 0 ? 0x80000000u : 0xFFFFFFFFu)); }

ASSAY_DEVICE u64 key(u32 rising, u64 place) { return u64(rising) << 32 | u32(~u32(place)); }

ASSAY_DEVICE u64 warp_maximum(u64 value) {
#pragma unroll
    for (u32 apart = WARP / 2; apart > 0; apart /= 2) value = maximum<u64>(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

/// Loads a pack from place `at` on; what is beyond `n` is said to be absent.
ASSAY_DEVICE Pack<float> load_pack(const float* in, u64 at, u64 n, u32& present) {
    Pack<float> loaded = {};
    present = at < n ? u32(minimum<u64>(n - at, Pack<float>::WIDTH)) : 0;
    if (present == Pack<float>::WIDTH) {
        loaded = *reinterpret_cast<const Pack<float>*>(in + at);
    } else {
#pragma unroll
        for (u32 j = 0; j < Pack<float>::WIDTH; ++j) {
            if (j < present) loaded.at[j] = in[at + j];
        }
    }
    return loaded;
}

/// Rows that a lane loads before it uses the first.
constexpr u32 IN_FLIGHT = 4;

/// Calls `visit` with the bits and the place of each of this lane's numbers in a chunk of `rows` rows, in order.
template <class Visit>
ASSAY_DEVICE void each(const float* in, u64 begin, u32 rows, u64 n, Visit visit) {
    for (u32 row = 0; row < rows; row += IN_FLIGHT) {
        Pack<float> loaded[IN_FLIGHT];
        u32 present[IN_FLIGHT];
        const u64 first = begin + row * ROW + lane_number() * Pack<float>::WIDTH;
#pragma unroll
        for (u32 k = 0; k < IN_FLIGHT; ++k) loaded[k] = load_pack(in, first + k * ROW, row + k < rows ? n : 0, present[k]);
#pragma unroll
        for (u32 k = 0; k < IN_FLIGHT; ++k) {
#pragma unroll
            for (u32 j = 0; j < Pack<float>::WIDTH; ++j) {
                if (j < present[k]) visit(rising(loaded[k].at[j]), first + k * ROW + j);
            }
        }
    }
}

/// The largest key of a chunk, in every lane.
__device__ u64 chunk_maximum(const float* in, u64 begin, u32 rows, u64 n) {
    // Less than any number's.
    u32 best = 0;
    u64 place = 0;
    each(in, begin, rows, n, [&](u32 value, u64 at) {
        // Of equal ones the first stays.
        if (value > best) {
            best = value;
            place = at;
        }
    });
    return warp_maximum(best == 0 ? 0 : key(best, place));
}

struct Selection {
    u32 counts[DIGITS];
    u32 parts[ALONE / WARP + 1];
    u32 digit, above, inside;
};

/// A number that just `k` of the keys are not less than, by a block of `ALONE` threads. All keys differ, and there are
/// `k` of them, and at least one.
__device__ u64 kth_largest(const u64* keys, u64 count, u32 k, Selection& shared) {
    u64 prefix = 0, mask = 0;
    for (i32 shift = 64 - 8; shift >= 0; shift -= 8) {
        if (threadIdx.x < DIGITS) shared.counts[threadIdx.x] = 0;
        __syncthreads();
        for (u64 i = threadIdx.x; i < count; i += ALONE) {
            const u64 at = keys[i];
            if ((at & mask) == prefix) atomicAdd(&shared.counts[u32(at >> shift) & (DIGITS - 1)], 1u);
        }
        __syncthreads();
        // The first thread has the largest digit.
        const u32 digit = DIGITS - 1 - threadIdx.x;
        const u32 inside = threadIdx.x < DIGITS ? shared.counts[digit] : 0;
        u32 total;
        const u32 above = block_exclusive_sum<u32, ALONE>(inside, shared.parts, total);
        if (above < k && k <= above + inside) {
            shared.digit = digit;
            shared.above = above;
            shared.inside = inside;
        }
        __syncthreads();
        prefix |= u64(shared.digit) << shift;
        mask |= u64(DIGITS - 1) << shift;
        k -= shared.above;
        const bool all = shared.inside == k;
        __syncthreads();
        if (all) break;
    }
    return prefix;
}

/// Sorts `count` keys, a power of two, the largest first.
__device__ void sort(u64* keys, u32 count) {
    for (u32 run = 2; run <= count; run *= 2) {
        for (u32 apart = run / 2; apart > 0; apart /= 2) {
            __syncthreads();
            const u32 i = threadIdx.x, lower = 2 * i - (i & (apart - 1)), upper = lower + apart;
            if (i < count / 2 && (keys[lower] < keys[upper]) == ((lower & run) == 0)) {
                const u64 kept = keys[lower];
                keys[lower] = keys[upper];
                keys[upper] = kept;
            }
        }
    }
    __syncthreads();
}

}  // namespace top_k

// maxima[chunk] = largest key of the chunk of `rows` rows: a warp a chunk
__global__ void __launch_bounds__(top_k::THREADS) top_k_maxima(u64* maxima, const float* in, u32 rows, u64 n) {
    using namespace top_k;
    const u64 chunk = u64(blockIdx.x) * WARPS + warp_number();
    const u64 begin = chunk * rows * ROW;
    if (begin >= n) return;
    const u64 largest = chunk_maximum(in, begin, rows, n);
    if (lane_number() == 0) maxima[chunk] = largest;
}

// groups[group] = largest of the group's `chunks` maxima, of which there are `count`: a warp a group
__global__ void __launch_bounds__(top_k::THREADS) top_k_groups(u64* groups, const u64* maxima, u64 chunks, u64 count) {
    using namespace top_k;
    const u64 group = u64(blockIdx.x) * WARPS + warp_number();
    const u64 end = minimum<u64>(count, (group + 1) * chunks);
    if (group * chunks >= count) return;
    u64 largest = 0;
    for (u64 i = group * chunks + lane_number(); i < end; i += WARP) largest = maximum<u64>(largest, maxima[i]);
    largest = warp_maximum(largest);
    if (lane_number() == 0) groups[group] = largest;
}

// threshold = k-th largest of `count` groups' keys, or 0 if there are fewer: one block
__global__ void __launch_bounds__(top_k::ALONE) top_k_threshold(u64* threshold, const u64* groups, u64 count, u32 k) {
    __shared__ top_k::Selection shared;
    const u64 found = count < k ? 0 : top_k::kth_largest(groups, count, k, shared);
    if (threadIdx.x == 0) *threshold = found;
}

// Collects all keys not less than the threshold, in any order. `collected` is 0. A warp takes 32 chunks.
__global__ void __launch_bounds__(top_k::THREADS)
top_k_collect(u64* keys, u32* collected, const float* in, const u64* maxima, const u64* threshold, u32 rows, u64 count, u64 n) {
    using namespace top_k;
    const u64 first = (u64(blockIdx.x) * WARPS + warp_number()) * WARP, own = first + lane_number();
    const u64 least = *threshold;
    u32 chosen = __ballot_sync(ALL_LANES, own < count && maxima[own] >= least);
    for (; chosen != 0; chosen &= chosen - 1) {
        const u64 begin = (first + __ffs(chosen) - 1) * rows * ROW;
        each(in, begin, rows, n, [=](u32 value, u64 at) {
            const u64 found = key(value, at);
            if (found >= least) keys[atomicAdd(collected, 1u)] = found;
        });
    }
}

// The `k` largest of the collected keys, at least so many, in order: one block
__global__ void __launch_bounds__(top_k::ALONE)
top_k_finish(float* values, u32* places, const u64* keys, const u32* collected, u32 k) {
    using namespace top_k;
    __shared__ Selection shared;
    __shared__ u64 largest[MOST];
    __shared__ u32 kept;
    const u64 count = *collected;
    const u64 least = kth_largest(keys, count, k, shared);
    if (threadIdx.x == 0) kept = 0;
    largest[threadIdx.x] = 0;
    __syncthreads();
    for (u64 i = threadIdx.x; i < count; i += ALONE) {
        if (keys[i] >= least) largest[atomicAdd(&kept, 1u)] = keys[i];
    }
    u32 padded = 1;
    while (padded < k) padded *= 2;
    sort(largest, padded);
    if (threadIdx.x < k) {
        values[threadIdx.x] = number(u32(largest[threadIdx.x] >> 32));
        places[threadIdx.x] = ~u32(largest[threadIdx.x]);
    }
}
