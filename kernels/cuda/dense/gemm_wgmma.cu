// C = A B on tensor cores of sm_90a, by the instruction of four warps (wgmma): row-major, sums in f32; several products as in
// `dense/gemm.cu`.
//
// A block of two warp groups computes 128 by 256 elements, each group 64 by 256. Tiles of A and B, 64 deep in K, come to
// shared memory in four stages: one is multiplied, one may still be, and two are under way. Both lie there as they do in
// memory, A along K and B along N, swizzled over 128 bytes.
#include "common/loader.cuh"
#include "common/tiles.cuh"
#include "common/wgmma.cuh"

using namespace assay;

namespace dense {

constexpr u32 STAGES = 4, ALIGNMENT = 1024;
/// Bytes of a line, over which operands are swizzled.
constexpr u32 LINE = 128;

/// What a block takes at a time: lines are rows of A, and 64 columns of rows of B, of which four pieces lie one behind the
/// other.
template <class Element_>
struct Block {
    using Element = Element_;
    static constexpr u32 THREADS = 256, ROWS = 128, COLUMNS = 256, DEPTH = 64;
    static constexpr u32 A_BYTES = ROWS * LINE, PIECE_BYTES = DEPTH * LINE, BYTES = A_BYTES + COLUMNS * 2 / LINE * PIECE_BYTES;

    ASSAY_DEVICE static u32 a_place(u32 line, u32 chunk) { return line * LINE + 16 * (chunk ^ line % 8); }
    ASSAY_DEVICE static u32 b_place(u32 line, u32 chunk) {
        return A_BYTES + chunk / 8 * PIECE_BYTES + a_place(line, chunk % 8);
    }
};

}  // namespace dense

/// VECTOR: lines of A and of B are multiples of 16 bytes. Dynamic shared memory: STAGES times BYTES, and ALIGNMENT.
template <class Kind, class Element, bool VECTOR>
__global__ void __launch_bounds__(dense::Block<Element>::THREADS, 1)
    gemm_wgmma(Element* c, const Element* a, const Element* b, u32 m, u32 n, u32 k) {
    using namespace dense;
    using Block = dense::Block<Element>;
    ASSAY_DYNAMIC_SHARED(u8, memory);
    u8* const shared = memory + (ALIGNMENT - reinterpret_cast<u64>(memory) % ALIGNMENT) % ALIGNMENT;
    const BatchTile at = tile_in_batch(blockIdx.x, ceil_div(m, Block::ROWS), ceil_div(n, Block::COLUMNS));
    const Tile tile = at.tile;
    const u32 group = threadIdx.x / 128, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    Loader<Block, VECTOR> loader(
        a + at.matrix * m * k, b + at.matrix * k * n, m, n, k, tile.row * Block::ROWS, tile.column * Block::COLUMNS);
    AsyncCopies copies;
#pragma unroll
    for (u32 stage = 0; stage < STAGES - 2; ++stage) {
        loader.next(copies, shared + stage * Block::BYTES);
        copies.commit();
    }
    float sums[128];
#pragma unroll
    for (u32 i = 0; i < 128; ++i) sums[i] = 0;
    GroupMultiplications<Kind> multiplications;
    const u32 turns = ceil_div(k, Block::DEPTH);
#pragma unroll 1
    for (u32 turn = 0; turn < turns; ++turn) {
        u8* const stage = shared + turn % STAGES * Block::BYTES;
        copies.wait<STAGES - 3>();
        publish_shared();
        __syncthreads();
        // A's rows are 64 lines of this group; a step of 16 in K is 32 bytes of each line of A, and 16 lines of B.
        const SharedMatrix left = SharedMatrix::at(stage + group * 64 * LINE, 16, 8 * LINE);
        const SharedMatrix right = SharedMatrix::at(stage + Block::A_BYTES, Block::PIECE_BYTES, 8 * LINE);
        multiplications.begin(sums);
#pragma unroll
        for (u32 step = 0; step < Block::DEPTH / Kind::K; ++step) {
            multiplications.multiply(NMajor(), sums, left.advanced(step * 32), right.advanced(step * 16 * LINE));
        }
        multiplications.commit();
        // The stage of the turn before the last: both groups were done with it at the barrier. Beyond K, zeros.
        loader.next(copies, shared + (turn + STAGES - 2) % STAGES * Block::BYTES);
        copies.commit();
        multiplications.template wait<1>(sums);
    }
    multiplications.template wait<0>(sums);
    copies.wait<0>();
#pragma unroll
    for (u32 half = 0; half < 2; ++half) {
        const u32 row = tile.row * Block::ROWS + group * 64 + warp * 16 + lane / 4 + 8 * half;
        if (row >= m) continue;
#pragma unroll
        for (u32 j = 0; j < Block::COLUMNS / 8; ++j) {
            const u32 column = tile.column * Block::COLUMNS + 8 * j + lane % 4 * 2;
            const float* const two = sums + 4 * j + 2 * half;
            store_two<VECTOR>(c + (at.matrix * m + row) * n + column, two[0], two[1], static_cast<i32>(n - column));
        }
    }
}
