// Prefix sums of integers, which are exact modulo the size of their type.
//
//   look-back     one kernel, each element read once: each block takes the next tile, publishes its sum, looks back
//                 over what the tiles before have published, and publishes its prefix. D. Merrill, M. Garland,
//                 "Single-pass parallel prefix scan with decoupled look-back", NVIDIA NVR-2016-002.
//   three-kernel  sums of spans, prefix sums of those, and the scan of each span: each element is read twice.
//
// A block waits for tiles with lower numbers alone. Numbers are given in the order in which blocks begin, so those tiles
// belong to blocks that run or have ended, and the lowest of them waits for nobody: there is always progress.
#include "common/block.cuh"

using namespace assay;

namespace scan {

constexpr u32 THREADS = 256, WARPS = THREADS / WARP;
/// Packs of 16 bytes that a thread holds.
constexpr u32 ROWS = 8;

template <class T>
struct Tile {
    static constexpr u32 WIDTH = Pack<T>::WIDTH;
    static constexpr u32 ROW = WARP * WIDTH;
    static constexpr u32 ELEMENTS = WARPS * ROWS * ROW;

    /// A warp has adjacent rows, and in each row a lane one pack.
    Pack<T> rows[ROWS];

    /// The first of this thread's elements, in a tile that begins at `begin`; those of its other rows are `ROW` apart.
    static ASSAY_DEVICE u64 first(u64 begin) { return begin + warp_number() * ROWS * ROW + lane_number() * WIDTH; }

    /// Loads a tile; beyond `n` there are zeros.
    ASSAY_DEVICE void load(const T* in, u64 begin, u64 n) {
#pragma unroll
        for (u32 row = 0; row < ROWS; ++row) {
            const u64 at = first(begin) + row * ROW;
            if (at + WIDTH <= n) {
                rows[row] = *reinterpret_cast<const Pack<T>*>(in + at);
            } else {
#pragma unroll
                for (u32 j = 0; j < WIDTH; ++j) rows[row].at[j] = at + j < n ? in[at + j] : T();
            }
        }
    }

    /// Stores a tile with `before` added to each element.
    ASSAY_DEVICE void store(T* out, u64 begin, u64 n, T before) {
#pragma unroll
        for (u32 row = 0; row < ROWS; ++row) {
            const u64 at = first(begin) + row * ROW;
#pragma unroll
            for (u32 j = 0; j < WIDTH; ++j) rows[row].at[j] += before;
            if (at + WIDTH <= n) {
                *reinterpret_cast<Pack<T>*>(out + at) = rows[row];
            } else {
#pragma unroll
                for (u32 j = 0; j < WIDTH; ++j) {
                    if (at + j < n) out[at + j] = rows[row].at[j];
                }
            }
        }
    }

    /// Makes each element the sum of those before it in its warp's part, and of itself where `INCLUSIVE`. Gives the sum of
    /// the part to every lane.
    template <bool INCLUSIVE>
    ASSAY_DEVICE T scan_part() {
        T before_row = T();
#pragma unroll
        for (u32 row = 0; row < ROWS; ++row) {
            T sum = T();
#pragma unroll
            for (u32 j = 0; j < WIDTH; ++j) sum += rows[row].at[j];
            const T to_here = warp_inclusive_sum(sum);
            T before = before_row + (to_here - sum);
#pragma unroll
            for (u32 j = 0; j < WIDTH; ++j) {
                const T element = rows[row].at[j];
                rows[row].at[j] = INCLUSIVE ? before + element : before;
                before += element;
            }
            before_row += __shfl_sync(ALL_LANES, to_here, WARP - 1);
        }
        return before_row;
    }
};

// What a tile has published.
constexpr u32 NOTHING = 0, SUM = 1, PREFIX = 2;

#ifndef ASSAY_EMULATION
ASSAY_DEVICE u64 load_relaxed(const u64* from) {
    u64 word;
    asm volatile("ld.relaxed.gpu.u64 %0, [%1];" : "=l"(word) : "l"(from) : "memory");
    return word;
}
ASSAY_DEVICE u64 load_acquire(const u64* from) {
    u64 word;
    asm volatile("ld.acquire.gpu.u64 %0, [%1];" : "=l"(word) : "l"(from) : "memory");
    return word;
}
ASSAY_DEVICE void store_relaxed(u64* to, u64 word) {
    asm volatile("st.relaxed.gpu.u64 [%0], %1;" ::"l"(to), "l"(word) : "memory");
}
ASSAY_DEVICE void store_release(u64* to, u64 word) {
    asm volatile("st.release.gpu.u64 [%0], %1;" ::"l"(to), "l"(word) : "memory");
}
ASSAY_DEVICE bool comes_late(u64, u32) { return false; }
#else
inline u64 load_relaxed(const u64* from) { return __atomic_load_n(from, __ATOMIC_RELAXED); }
inline u64 load_acquire(const u64* from) { return __atomic_load_n(from, __ATOMIC_RELAXED); }
inline void store_relaxed(u64* to, u64 word) { atomicExch(to, word); }
inline void store_release(u64* to, u64 word) { atomicExch(to, word); }
// Blocks run one after the other there, and all prefixes would be known at once: most are held back for good, so that
// blocks look back as far as they do where others run at the same time.
inline bool comes_late(u64 tile, u32 status) { return status == PREFIX && tile % 37 != 0; }
#endif

/// Words that tiles publish in: sums of 32 bits with their status in one word, which is read and written at once...
ASSAY_DEVICE void publish(u64* states, u64 tile, u32 status, u32 value) {
    if (comes_late(tile, status)) return;
    store_relaxed(states + tile, u64(status) << 32 | value);
}
ASSAY_DEVICE u32 look(const u64* states, u64 tile, u32& value) {
    const u64 word = load_relaxed(states + tile);
    value = u32(word);
    return u32(word >> 32);
}

/// ... and those of 64 bits behind their status, each in a word of its own that is written once: whoever sees the status
/// sees its word.
ASSAY_DEVICE void publish(u64* states, u64 tile, u32 status, u64 value) {
    if (comes_late(tile, status)) return;
    store_relaxed(states + 3 * tile + status, value);
    store_release(states + 3 * tile, status);
}
ASSAY_DEVICE u32 look(const u64* states, u64 tile, u64& value) {
    const u32 status = u32(load_acquire(states + 3 * tile));
    value = status == NOTHING ? 0 : load_relaxed(states + 3 * tile + status);
    return status;
}

/// Publishes the sum of a tile, and gives that of all tiles before it, to all lanes of the one warp that calls.
template <class T>
__device__ T look_back(u64* states, u64 tile, T sum) {
    if (lane_number() == 0) publish(states, tile, tile == 0 ? PREFIX : SUM, sum);
    if (tile == 0) return T();
    T before = T();
    // Lane 0 looks at the nearest of the tiles that are left, lane 1 at the one before.
    i64 at = i64(tile) - 1 - lane_number();
    for (bool found = false; !found; at -= WARP) {
        T value = T();
        u32 nearest;
        for (;;) {
            // Before the first tile there is nothing.
            const u32 status = at < 0 ? PREFIX : look(states, u64(at), value);
            const u32 prefixes = __ballot_sync(ALL_LANES, status == PREFIX);
            const u32 missing = __ballot_sync(ALL_LANES, status == NOTHING);
            found = prefixes != 0;
            nearest = found ? __ffs(prefixes) - 1 : WARP - 1;
            // Behind the nearest prefix nothing is needed.
            if ((missing & (ALL_LANES >> (WARP - 1 - nearest))) == 0) break;
            __nanosleep(100);
        }
        before += warp_sum(lane_number() <= nearest ? value : T());
    }
    if (lane_number() == 0) publish(states, tile, PREFIX, T(before + sum));
    return before;
}

/// Makes the sums of the warps' parts, in `parts`, sums of all parts before; gives their total to the lanes of the first
/// warp, which alone calls.
template <class T>
ASSAY_DEVICE T scan_parts(T* parts) {
    const T of_warp = lane_number() < WARPS ? parts[lane_number()] : T();
    const T to_warp = warp_inclusive_sum(of_warp);
    if (lane_number() < WARPS) parts[lane_number()] = to_warp - of_warp;
    return __shfl_sync(ALL_LANES, to_warp, WARP - 1);
}

}  // namespace scan

// out = prefix sums of in. `states` are zeros: the number of tiles taken, then what tiles publish.
template <class T, bool INCLUSIVE>
__global__ void __launch_bounds__(scan::THREADS) scan_look_back(T* out, const T* in, u64* states, u64 n) {
    using Tile = scan::Tile<T>;
    __shared__ T parts[scan::WARPS];
    __shared__ T before_tile;
    __shared__ u64 taken;
    if (threadIdx.x == 0) taken = atomicAdd(states, u64(1));
    __syncthreads();
    const u64 tile = taken, begin = tile * Tile::ELEMENTS;
    Tile mine;
    mine.load(in, begin, n);
    const T part = mine.template scan_part<INCLUSIVE>();
    if (lane_number() == 0) parts[warp_number()] = part;
    __syncthreads();
    if (warp_number() == 0) {
        const T before = scan::look_back(states + 1, tile, scan::scan_parts(parts));
        if (lane_number() == 0) before_tile = before;
    }
    __syncthreads();
    mine.store(out, begin, n, before_tile + parts[warp_number()]);
}

// sums[block] = sum of the block's `tiles` tiles
template <class T>
__global__ void __launch_bounds__(scan::THREADS) scan_sums(T* sums, const T* in, u64 tiles, u64 n) {
    using Tile = scan::Tile<T>;
    __shared__ T parts[scan::WARPS];
    T sum = T();
    for (u64 tile = blockIdx.x * tiles; tile < (blockIdx.x + 1) * tiles; ++tile) {
        Tile mine;
        mine.load(in, tile * Tile::ELEMENTS, n);
#pragma unroll
        for (u32 row = 0; row < scan::ROWS; ++row) {
#pragma unroll
            for (u32 j = 0; j < Tile::WIDTH; ++j) sum += mine.rows[row].at[j];
        }
    }
    sum = block_sum<T, scan::THREADS>(sum, parts);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Makes `count` sums the sums of all before each, by one block of 1024 threads.
template <class T>
__global__ void __launch_bounds__(1024) scan_offsets(T* sums, u64 count) {
    __shared__ T parts[1024 / WARP + 1];
    T before = T();
    for (u64 first = 0; first < count; first += 1024) {
        const u64 i = first + threadIdx.x;
        T total;
        const T offset = before + block_exclusive_sum<T, 1024>(i < count ? sums[i] : T(), parts, total);
        if (i < count) sums[i] = offset;
        before += total;
        __syncthreads();
    }
}

// out = prefix sums of in, where `offsets` has what is before each block's `tiles` tiles
template <class T, bool INCLUSIVE>
__global__ void __launch_bounds__(scan::THREADS)
scan_spans(T* out, const T* in, const T* offsets, u64 tiles, u64 n) {
    using Tile = scan::Tile<T>;
    __shared__ T parts[scan::WARPS];
    __shared__ T total;
    T before = offsets[blockIdx.x];
    for (u64 tile = blockIdx.x * tiles; tile < (blockIdx.x + 1) * tiles; ++tile) {
        const u64 begin = tile * Tile::ELEMENTS;
        Tile mine;
        mine.load(in, begin, n);
        const T part = mine.template scan_part<INCLUSIVE>();
        if (lane_number() == 0) parts[warp_number()] = part;
        __syncthreads();
        if (warp_number() == 0) {
            const T sum = scan::scan_parts(parts);
            if (lane_number() == 0) total = sum;
        }
        __syncthreads();
        mine.store(out, begin, n, before + parts[warp_number()]);
        before += total;
        // Nobody overwrites what others have yet to read.
        __syncthreads();
    }
}
