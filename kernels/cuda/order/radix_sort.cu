// Stable sorting of 32-bit keys, alone or with payloads of 32 bits, by digits of 8 bits from the lowest on.
//
//   onesweep      all digits are counted first, and each pass is one kernel: a block ranks the keys of the next tile, and
//                 looks back over the tiles before for where its digits begin. A. Adinets, D. Merrill, "Onesweep: a
//                 faster least significant digit radix sort for GPUs", arXiv:2206.01784, 2022.
//   three-kernel  each pass counts the digits of spans, sums the counts, and moves the keys of each span.
//
// A block waits for tiles with lower numbers alone. Numbers are given in the order in which blocks begin, so those tiles
// belong to blocks that run or have ended, and the lowest of them waits for nobody: there is always progress.
#include "common/block.cuh"

using namespace assay;

namespace radix {

constexpr u32 THREADS = 384, WARPS = THREADS / WARP;
constexpr u32 BITS = 8, DIGITS = 1 << BITS, PASSES = 32 / BITS;
/// Keys that a thread holds.
constexpr u32 ROWS = 20;
constexpr u32 TILE = THREADS * ROWS;

/// The same number, of which the compiler does not know that: it computes digits again, which is cheap, and does not keep
/// those of all keys in registers that it has too few of.
ASSAY_DEVICE u32 again(u32 value) {
#ifndef ASSAY_EMULATION
    asm volatile("" : "+r"(value));
#endif
    return value;
}

ASSAY_DEVICE u32 digit_of(u32 key, u32 shift) { return key >> shift & (DIGITS - 1); }

/// What the threads of a block share while they move a tile.
struct Shared {
    /// A counter a digit for each warp; then the tile's keys in the order of their digits, and its payloads.
    u32 space[TILE];
    /// Where the keys of each digit go: to this place and their own place in the tile.
    u32 offsets[DIGITS];
    u32 parts[WARPS + 1];
};
static_assert(WARPS * DIGITS <= TILE && DIGITS <= THREADS, "counters fit, and a thread has at most one digit");

/// A tile of at most `TILE` elements from `begin` on. A warp has adjacent rows, in each of which a lane has one element:
/// so elements have the order of warps, rows and lanes.
struct Place {
    u64 begin;
    u32 count;

    ASSAY_DEVICE Place(u64 tile, u64 n) : begin(tile * TILE), count(u32(minimum<u64>(TILE, n - minimum(n, begin)))) {}

    static ASSAY_DEVICE u32 own(u32 row) { return (warp_number() * ROWS + row) * WARP + lane_number(); }
};

/// Loads this thread's part of a tile; beyond its end there is `filler`.
ASSAY_DEVICE void load_tile(u32 (&own)[ROWS], const u32* in, const Place& place, u32 filler) {
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) {
        const u32 at = Place::own(row);
        own[row] = at < place.count ? in[place.begin + at] : filler;
    }
}

/// The lanes whose digit is the same as this one's.
ASSAY_DEVICE u32 same_digit(u32 digit) {
    u32 same = ALL_LANES;
#pragma unroll
    for (u32 bit = 0; bit < BITS; ++bit) {
        const bool is_set = (digit >> bit & 1) != 0;
        const u32 set = __ballot_sync(ALL_LANES, is_set);
        same &= is_set ? set : ~set;
    }
    return same;
}

/// Ranks each key among those of its digit in its warp, and counts the digits of each warp.
ASSAY_DEVICE void rank_in_warp(Shared& shared, const u32 (&keys)[ROWS], u32 shift, u32 (&ranks)[ROWS]) {
    u32* const counters = shared.space + warp_number() * DIGITS;
    const u32 lower_lanes = (1u << lane_number()) - 1;
    for (u32 digit = lane_number(); digit < DIGITS; digit += WARP) counters[digit] = 0;
    __syncwarp();
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) {
        const u32 digit = digit_of(keys[row], shift);
        const u32 same = same_digit(digit);
        const u32 before = counters[digit], lower = __popc(same & lower_lanes);
        ranks[row] = before + lower;
        // The first of the lanes counts for all, when all have read.
        __syncwarp();
        if (lower == 0) counters[digit] = before + __popc(same);
        __syncwarp();
    }
}

/// The keys of this thread's digit in the tile; makes the warps' counts what is in the warps before.
ASSAY_DEVICE u32 count_digit(Shared& shared) {
    if (threadIdx.x >= DIGITS) return 0;
    u32 count = 0;
#pragma unroll
    for (u32 warp = 0; warp < WARPS; ++warp) {
        u32& of_warp = shared.space[warp * DIGITS + threadIdx.x];
        const u32 before = count;
        count += of_warp;
        of_warp = before;
    }
    return count;
}

/// Makes ranks in warps places in the tile, in the order of digits. Gives the first place of this thread's digit, which
/// has `count` keys in the tile.
ASSAY_DEVICE u32 place_in_tile(Shared& shared, const u32 (&keys)[ROWS], u32 shift, u32 (&ranks)[ROWS], u32 count) {
    u32 total;
    const u32 first = block_exclusive_sum<u32, THREADS>(count, shared.parts, total);
    if (threadIdx.x < DIGITS) {
#pragma unroll
        for (u32 warp = 0; warp < WARPS; ++warp) shared.space[warp * DIGITS + threadIdx.x] += first;
    }
    __syncthreads();
    const u32* const counters = shared.space + warp_number() * DIGITS;
    shift = again(shift);
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) ranks[row] += counters[digit_of(keys[row], shift)];
    __syncthreads();
    return first;
}

/// Puts each thread's elements at their places in the tile.
ASSAY_DEVICE void exchange(Shared& shared, const u32 (&own)[ROWS], const u32 (&ranks)[ROWS]) {
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) shared.space[ranks[row]] = own[row];
}

/// Writes the tile's keys, which are at their places, and then its payloads, to where their digits go. All threads have
/// passed a barrier since the last of both was written.
template <bool PAYLOAD>
ASSAY_DEVICE void write_tile(Shared& shared, u32* keys_out, u32* payload_out, const u32 (&payload)[ROWS],
                             const u32 (&ranks)[ROWS], u32 shift, u32 count) {
    // Digits of four rows in a word: places would take too many registers.
    u32 digits[ceil_div(ROWS, 4u)] = {};
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) {
        const u32 at = row * THREADS + threadIdx.x;
        const u32 key = shared.space[at], digit = digit_of(key, shift);
        if (PAYLOAD) digits[row / 4] |= digit << (row % 4 * 8);
        if (at < count) keys_out[shared.offsets[digit] + at] = key;
    }
    if (PAYLOAD) {
        __syncthreads();
        exchange(shared, payload, ranks);
        __syncthreads();
#pragma unroll
        for (u32 row = 0; row < ROWS; ++row) {
            const u32 at = row * THREADS + threadIdx.x;
            const u32 digit = digit_of(digits[row / 4], row % 4 * 8);
            if (at < count) payload_out[shared.offsets[digit] + at] = shared.space[at];
        }
    }
}

// What a tile has published of a digit, in the upper bits of a word: nothing, its count, or the count of it and all
// before. The count is in the lower 30.
constexpr u32 COUNT = 1u << 30, PREFIX = 2u << 30, VALUE = COUNT - 1;

#ifndef ASSAY_EMULATION
ASSAY_DEVICE u32 load_relaxed(const u32* from) {
    u32 word;
    asm volatile("ld.relaxed.gpu.u32 %0, [%1];" : "=r"(word) : "l"(from) : "memory");
    return word;
}
ASSAY_DEVICE void store_relaxed(u32* to, u32 word) {
    asm volatile("st.relaxed.gpu.u32 [%0], %1;" ::"l"(to), "r"(word) : "memory");
}
ASSAY_DEVICE bool comes_late(u32) { return false; }
#else
inline u32 load_relaxed(const u32* from) { return __atomic_load_n(from, __ATOMIC_RELAXED); }
inline void store_relaxed(u32* to, u32 word) { atomicExch(to, word); }
// Blocks run one after the other there, and all prefixes would be known at once: most are held back for good, so that
// blocks look back as far as they do where others run at the same time.
inline bool comes_late(u32 tile) { return tile % 5 != 0; }
#endif

/// Publishes a tile's count of this thread's digit. Count and kind are one word, so there is nothing to order.
ASSAY_DEVICE void publish_count(u32* published, u32 tile, u32 count) {
    store_relaxed(published + u64(tile) * DIGITS + threadIdx.x, (tile == 0 ? PREFIX : COUNT) | count);
}

/// The keys of this thread's digit in the tiles before this one, which has `count`.
ASSAY_DEVICE u32 look_back(u32* published, u32 tile, u32 count) {
    u32 before = 0;
    for (u32 other = tile; other > 0;) {
        const u32 word = load_relaxed(published + u64(other - 1) * DIGITS + threadIdx.x);
        if (word == 0) continue;
        before += word & VALUE;
        if ((word & PREFIX) != 0) break;
        --other;
    }
    if (tile > 0 && !comes_late(tile)) {
        store_relaxed(published + u64(tile) * DIGITS + threadIdx.x, PREFIX | (before + count));
    }
    return before;
}

}  // namespace radix

// counts[pass][digit] += how often the digits of keys are there, for all passes. `counts` are zeros.
__global__ void __launch_bounds__(radix::THREADS) sort_count_all(u32* counts, const u32* keys, u64 n) {
    using namespace radix;
    __shared__ u32 own[PASSES * DIGITS];
    for (u32 i = threadIdx.x; i < PASSES * DIGITS; i += THREADS) own[i] = 0;
    __syncthreads();
    constexpr u32 WIDTH = Pack<u32>::WIDTH;
    const u64 packs = n / WIDTH;
    const auto count = [&](u32 key) {
#pragma unroll
        for (u32 pass = 0; pass < PASSES; ++pass) atomicAdd(&own[pass * DIGITS + digit_of(key, pass * BITS)], 1);
    };
    for (u64 i = grid_thread(); i < packs; i += grid_threads()) {
        const Pack<u32> pack = reinterpret_cast<const Pack<u32>*>(keys)[i];
#pragma unroll
        for (u32 j = 0; j < WIDTH; ++j) count(pack.at[j]);
    }
    const u64 left_over = packs * WIDTH + threadIdx.x;
    if (blockIdx.x == 0 && left_over < n) count(keys[left_over]);
    __syncthreads();
    for (u32 i = threadIdx.x; i < PASSES * DIGITS; i += THREADS) {
        if (own[i] != 0) atomicAdd(counts + i, own[i]);
    }
}

// Makes the counts of each pass those of lower digits: one block of 256 threads a pass.
__global__ void __launch_bounds__(radix::DIGITS) sort_begin_all(u32* counts) {
    __shared__ u32 parts[radix::DIGITS / WARP + 1];
    u32* const count = counts + blockIdx.x * radix::DIGITS + threadIdx.x;
    u32 total;
    *count = block_exclusive_sum<u32, radix::DIGITS>(*count, parts, total);
}

// Moves keys, and payloads, to the order of a digit. `begins` has the first place of each digit; `taken`, the number of
// tiles that were taken, and `published`, a word a digit for each tile, are zeros.
template <bool PAYLOAD>
__global__ void __launch_bounds__(radix::THREADS, 2)
sort_sweep(u32* keys_out, u32* payload_out, const u32* keys_in, const u32* payload_in, const u32* begins, u32* taken,
           u32* published, u32 shift, u64 n) {
    using namespace radix;
    __shared__ Shared shared;
    if (threadIdx.x == 0) shared.parts[0] = atomicAdd(taken, 1);
    __syncthreads();
    const u32 tile = shared.parts[0];
    const Place place(tile, n);
    u32 keys[ROWS], ranks[ROWS], payload[ROWS] = {};
    load_tile(keys, keys_in, place, ALL_LANES);
    rank_in_warp(shared, keys, shift, ranks);
    __syncthreads();
    const u32 count = count_digit(shared);
    if (threadIdx.x < DIGITS) publish_count(published, tile, count);
    const u32 first = place_in_tile(shared, keys, shift, ranks, count);
    exchange(shared, keys, ranks);
    if (PAYLOAD) load_tile(payload, payload_in, place, 0);
    if (threadIdx.x < DIGITS) {
        shared.offsets[threadIdx.x] = begins[threadIdx.x] + look_back(published, tile, count) - first;
    }
    __syncthreads();
    write_tile<PAYLOAD>(shared, keys_out, payload_out, payload, ranks, shift, place.count);
}

// counts[digit][block] = how often a digit is there in the block's `tiles` tiles
__global__ void __launch_bounds__(radix::THREADS) sort_count(u32* counts, const u32* keys, u32 shift, u64 tiles, u64 n) {
    using namespace radix;
    __shared__ u32 own[DIGITS];
    if (threadIdx.x < DIGITS) own[threadIdx.x] = 0;
    __syncthreads();
    const u64 begin = blockIdx.x * tiles * TILE, end = minimum<u64>(n, begin + tiles * TILE);
    for (u64 first = begin; first < end; first += TILE) {
#pragma unroll
        for (u32 row = 0; row < ROWS; ++row) {
            const u64 i = first + row * THREADS + threadIdx.x;
            if (i < end) atomicAdd(&own[digit_of(keys[i], shift)], 1);
        }
    }
    __syncthreads();
    if (threadIdx.x < DIGITS) counts[u64(threadIdx.x) * gridDim.x + blockIdx.x] = own[threadIdx.x];
}

// Makes the counts of each digit those of the spans before, and totals[digit] all: a block a digit.
__global__ void __launch_bounds__(radix::DIGITS) sort_offsets(u32* counts, u32* totals, u64 spans) {
    using namespace radix;
    __shared__ u32 parts[DIGITS / WARP + 1];
    u32* const own = counts + blockIdx.x * spans;
    u32 before = 0;
    for (u64 first = 0; first < spans; first += DIGITS) {
        const u64 i = first + threadIdx.x;
        u32 total;
        const u32 offset = before + block_exclusive_sum<u32, DIGITS>(i < spans ? own[i] : 0, parts, total);
        if (i < spans) own[i] = offset;
        before += total;
        __syncthreads();
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = before;
}

// Moves the keys, and payloads, of each block's `tiles` tiles to the order of a digit.
template <bool PAYLOAD>
__global__ void __launch_bounds__(radix::THREADS, 2)
sort_move(u32* keys_out, u32* payload_out, const u32* keys_in, const u32* payload_in, const u32* counts, const u32* totals,
          u32 shift, u64 tiles, u64 n) {
    using namespace radix;
    __shared__ Shared shared;
    u32 total;
    u32 to = block_exclusive_sum<u32, THREADS>(threadIdx.x < DIGITS ? totals[threadIdx.x] : 0, shared.parts, total);
    if (threadIdx.x < DIGITS) to += counts[u64(threadIdx.x) * gridDim.x + blockIdx.x];
    for (u64 tile = blockIdx.x * tiles; tile < (blockIdx.x + 1) * tiles; ++tile) {
        const Place place(tile, n);
        u32 keys[ROWS], ranks[ROWS], payload[ROWS] = {};
        load_tile(keys, keys_in, place, ALL_LANES);
        // All have read what the tile before left.
        __syncthreads();
        rank_in_warp(shared, keys, shift, ranks);
        __syncthreads();
        const u32 count = count_digit(shared);
        const u32 first = place_in_tile(shared, keys, shift, ranks, count);
        exchange(shared, keys, ranks);
        if (PAYLOAD) load_tile(payload, payload_in, place, 0);
        if (threadIdx.x < DIGITS) shared.offsets[threadIdx.x] = to - first;
        to += count;
        __syncthreads();
        write_tile<PAYLOAD>(shared, keys_out, payload_out, payload, ranks, shift, place.count);
    }
}
