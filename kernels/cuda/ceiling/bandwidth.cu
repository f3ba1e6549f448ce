// Reads memory of one level over and over, as fast as the level gives it, and adds up what was read, so that every word
// has to arrive. Sums are of whole numbers modulo 2^32: exact in any order. Each warp leaves one sum.
//
// The loads are written as instructions, since a compiler would rightly read what does not change only once.
#include "common/cuda.cuh"

using namespace assay;

namespace ceiling {

/// 16 bytes through the first cache.
ASSAY_DEVICE uint4 load_l1(const uint4* address) {
#ifndef ASSAY_EMULATION
    uint4 v;
    asm volatile("ld.global.ca.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(address));
    return v;
#else
    return *address;
#endif
}

/// 16 bytes past the first cache.
ASSAY_DEVICE uint4 load_l2(const uint4* address) {
#ifndef ASSAY_EMULATION
    uint4 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(address));
    return v;
#else
    return *address;
#endif
}

/// 16 bytes of shared memory.
ASSAY_DEVICE uint4 load_shared(const uint4* address) {
#ifndef ASSAY_EMULATION
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(static_cast<u32>(__cvta_generic_to_shared(address))));
    return v;
#else
    return *address;
#endif
}

ASSAY_DEVICE u32 sum(const uint4& v) { return v.x + v.y + v.z + v.w; }

/// Adds `COUNT` loads, all of them under way before the first is used.
template <int COUNT, class Load>
ASSAY_DEVICE u32 sum_of(Load load) {
    uint4 v[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) v[k] = load(k);
    u32 total = 0;
#pragma unroll
    for (int k = 0; k < COUNT; ++k) total += sum(v[k]);
    return total;
}

/// Leaves a warp's sum.
ASSAY_DEVICE void leave(u32* out, u32 mine) {
    const u32 total = __reduce_add_sync(0xFFFFFFFFu, mine);
    const u64 warp = grid_thread() / 32;
    if (threadIdx.x % 32 == 0) out[warp] = total;
}

constexpr u32 THREADS = 256, WARPS = THREADS / 32;
/// Packs of a tile, of which a thread reads so many at once.
constexpr u32 TILE_LOADS = 8, TILE = THREADS * TILE_LOADS;

/// Reads a piece of WARPS chunks of `LOADS` packs a lane `passes` times: in each pass every warp another chunk, so that no
/// two loads of a thread in a row are the same. load(i) is pack `i` of the piece.
template <int LOADS, class Load>
ASSAY_DEVICE u32 read_piece(u32 passes, Load load) {
    u32 chunk = threadIdx.x / 32, mine = 0;
#pragma unroll 4
    for (u32 pass = 0; pass < passes; ++pass) {
        const u32 first = chunk * (LOADS * 32) + threadIdx.x % 32;
        mine += sum_of<LOADS>([&](int k) { return load(first + k * 32); });
        chunk = (chunk + 1) % WARPS;
    }
    return mine;
}

/// The words of `in` behind its last whole pack, as often as they are to be read: for the first warp of the last block.
ASSAY_DEVICE u32 rest(const u32* in, u64 n, u64 passes) {
    const u64 at = n / 4 * 4 + threadIdx.x;
    return blockIdx.x == gridDim.x - 1 && at < n ? in[at] * static_cast<u32>(passes) : 0;
}

}  // namespace ceiling

/// Reads `in`, of `n` words, from the second cache or from memory: `passes` times, in tiles of 32 KiB that the blocks take
/// in turn. out[w] is the sum of what warp w read.
__global__ void __launch_bounds__(ceiling::THREADS) read_tiles(u32* out, const u32* in, u64 n, u32 passes) {
    using namespace ceiling;
    const uint4* packs = reinterpret_cast<const uint4*>(in);
    const u64 pack_count = n / 4;
    const u32 tiles = static_cast<u32>(ceil_div(pack_count, u64(TILE)));
    u32 mine = rest(in, n, passes);
    for (u64 turn = blockIdx.x; turn < u64(tiles) * passes; turn += gridDim.x) {
        // Of 32 bits where that is enough: dividing more takes long.
        const u32 tile = turn >> 32 == 0 ? static_cast<u32>(turn) % tiles : static_cast<u32>(turn % tiles);
        const u64 first = u64(tile) * TILE + threadIdx.x;
        if (u64(tile + 1) * TILE <= pack_count) {
            mine += sum_of<TILE_LOADS>([&](int k) { return load_l2(packs + first + k * THREADS); });
        } else {
#pragma unroll 1
            for (u64 at = first; at < pack_count; at += THREADS) mine += sum(load_l2(packs + at));
        }
    }
    leave(out, mine);
}

/// Reads a piece of 16 KiB of `in`, of `n` words, for each block: `passes` times from the first cache.
/// out[w] is the sum of what warp w read.
__global__ void __launch_bounds__(ceiling::THREADS) read_l1(u32* out, const u32* in, u64 n, u32 passes) {
    using namespace ceiling;
    constexpr u32 LOADS = 4, PIECE = THREADS * LOADS;
    const u64 first = u64(blockIdx.x) * PIECE, pack_count = n / 4;
    const uint4* packs = reinterpret_cast<const uint4*>(in) + first;
    u32 mine = rest(in, n, passes);
    if (first + PIECE <= pack_count) {
        mine += read_piece<LOADS>(passes, [&](u32 i) { return load_l1(packs + i); });
    } else {
        mine += read_piece<LOADS>(passes, [&](u32 i) { return first + i < pack_count ? load_l1(packs + i) : make_uint4(0, 0, 0, 0); });
    }
    leave(out, mine);
}

/// As `read_l1`, with pieces of 32 KiB from shared memory, into which each block copies its own first.
__global__ void __launch_bounds__(ceiling::THREADS) read_shared(u32* out, const u32* in, u64 n, u32 passes) {
    using namespace ceiling;
    constexpr u32 LOADS = 8, PIECE = THREADS * LOADS;
    __shared__ uint4 piece[PIECE];
    const u64 first = u64(blockIdx.x) * PIECE, pack_count = n / 4;
    const uint4* packs = reinterpret_cast<const uint4*>(in) + first;
#pragma unroll
    for (u32 k = 0; k < LOADS; ++k) {
        const u32 i = k * THREADS + threadIdx.x;
        piece[i] = first + i < pack_count ? packs[i] : make_uint4(0, 0, 0, 0);
    }
    __syncthreads();
    const uint4* whole = piece;
    const u32 mine = read_piece<LOADS>(passes, [&](u32 i) { return load_shared(whole + i); });
    leave(out, mine + rest(in, n, passes));
}
