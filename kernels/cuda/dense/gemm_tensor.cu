// C = A B on tensor cores, by the instruction of one warp (mma.sync): row-major, sums in f32; several products as in
// `dense/gemm.cu`.
//
// A block of 256 threads computes 128 by 256 elements, each of its warps 64 by 64. Tiles of A and B, 64 bytes of K deep, come
// to shared memory in four stages, three of which are under way. While a warp multiplies, the operands of its next step
// come to registers.
#include "common/loader.cuh"
#include "common/tiles.cuh"

using namespace assay;

namespace dense {

constexpr u32 STAGES = 4;
/// Accumulators of a warp, in units of 16 rows and of 8 columns.
constexpr u32 ROW_STEPS = 4, COLUMN_STEPS = 8;

/// What a block takes at a time. Lines of A's tile have 64 bytes: two of them take all banks, so that eight lines of a chunk
/// take each once.
struct Block {
    static constexpr u32 THREADS = 256, ROWS = 128, COLUMNS = 256, A_LINE = 64, A_BYTES = ROWS * A_LINE;

    ASSAY_DEVICE static u32 a_place(u32 line, u32 chunk) { return line * A_LINE + 16 * (chunk ^ line / 2 % 4); }
};

/// Elements of 16 bits: B's tile is 32 lines of 512 bytes, and comes to registers transposed.
template <class Kind_, class Element_, class Out_>
struct Narrow : Block {
    using Kind = Kind_;
    using Element = Element_;
    using Out = Out_;
    static constexpr u32 DEPTH = 32, B_LINE = COLUMNS * 2, BYTES = A_BYTES + DEPTH * B_LINE;

    /// Eight lines of a chunk take all banks.
    ASSAY_DEVICE static u32 b_place(u32 line, u32 chunk) { return A_BYTES + line * B_LINE + 16 * (chunk ^ line % 8); }

    ASSAY_DEVICE static void load_a(u32 (&a)[4], const u8* stage, u32 row, u32 step) {
        const u32 lane = threadIdx.x % 32;
        load_matrices(a, stage + a_place(row + lane % 16, step * 2 + lane / 16));
    }

    /// Operands of two units of 8 columns, from `column` on.
    ASSAY_DEVICE static void load_b(u32 (&first)[2], u32 (&second)[2], const u8* stage, u32 column, u32 step) {
        const u32 lane = threadIdx.x % 32;
        u32 both[4];
        load_matrices_transposed(both, stage + b_place(step * 16 + lane % 16, column / 8 + lane / 16));
        first[0] = both[0], first[1] = both[1], second[0] = both[2], second[1] = both[3];
    }
};

/// f32, of which tensor cores take 10 bits of fraction: B's tile is 16 lines of 1 KiB, the beginnings of four of which lie in
/// different banks.
struct Wide : Block {
    using Kind = Tf32Tensor;
    using Element = float;
    using Out = float;
    static constexpr u32 DEPTH = 16, B_LINE = COLUMNS * 4 + 32, BYTES = A_BYTES + DEPTH * B_LINE;

    ASSAY_DEVICE static u32 b_place(u32 line, u32 chunk) { return A_BYTES + line * B_LINE + 16 * chunk; }

    ASSAY_DEVICE static void load_a(u32 (&a)[4], const u8* stage, u32 row, u32 step) {
        const u32 lane = threadIdx.x % 32;
        load_matrices(a, stage + a_place(row + lane % 16, step * 2 + lane / 16));
#pragma unroll
        for (u32 i = 0; i < 4; ++i) a[i] = to_tf32(a[i]);
    }

    ASSAY_DEVICE static void load_b(u32 (&first)[2], u32 (&second)[2], const u8* stage, u32 column, u32 step) {
        const u32 lane = threadIdx.x % 32;
        const u8* const from = stage + b_place(step * 8 + lane % 4, 0) + (column + lane / 4) * 4;
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            first[i] = to_tf32(*reinterpret_cast<const u32*>(from + i * 4 * B_LINE));
            second[i] = to_tf32(*reinterpret_cast<const u32*>(from + i * 4 * B_LINE + 32));
        }
    }
};

/// Operands of one step of a warp, in registers.
template <class Operands>
struct Fragments {
    u32 a[ROW_STEPS][4], b[COLUMN_STEPS][2];

    ASSAY_DEVICE void load(const u8* stage, u32 row, u32 column, u32 step) {
#pragma unroll
        for (u32 i = 0; i < ROW_STEPS; ++i) Operands::load_a(a[i], stage, row + 16 * i, step);
#pragma unroll
        for (u32 j = 0; j < COLUMN_STEPS; j += 2) Operands::load_b(b[j], b[j + 1], stage, column + 8 * j, step);
    }

    ASSAY_DEVICE void multiply(float (&c)[ROW_STEPS][COLUMN_STEPS][4]) const {
#pragma unroll
        for (u32 i = 0; i < ROW_STEPS; ++i) {
#pragma unroll
            for (u32 j = 0; j < COLUMN_STEPS; ++j) {
                // To and fro, so that an operand is used twice in a row.
                const u32 column = i % 2 == 0 ? j : COLUMN_STEPS - 1 - j;
                assay::multiply<typename Operands::Kind>(c[i][column], a[i], b[column]);
            }
        }
    }
};

}  // namespace dense

/// VECTOR: lines of A and of B are multiples of 16 bytes. Dynamic shared memory: STAGES times BYTES.
template <class Operands, bool VECTOR>
__global__ void __launch_bounds__(dense::Block::THREADS, 1)
    gemm_tensor(typename Operands::Out* c, const typename Operands::Element* a, const typename Operands::Element* b, u32 m, u32 n,
                u32 k) {
    using namespace dense;
    constexpr u32 STAGE_BYTES = Operands::BYTES;
    ASSAY_DYNAMIC_SHARED(u8, shared);
    const BatchTile at = tile_in_batch(blockIdx.x, ceil_div(m, Block::ROWS), ceil_div(n, Block::COLUMNS));
    const Tile tile = at.tile;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 row = warp % 2 * 64, column = warp / 2 * 64;
    Loader<Operands, VECTOR> loader(
        a + at.matrix * m * k, b + at.matrix * k * n, m, n, k, tile.row * Block::ROWS, tile.column * Block::COLUMNS);
    AsyncCopies copies;
#pragma unroll
    for (u32 stage = 0; stage < STAGES - 1; ++stage) {
        loader.next(copies, shared + stage * STAGE_BYTES);
        copies.commit();
    }
    copies.wait<STAGES - 2>();
    __syncthreads();
    float sums[ROW_STEPS][COLUMN_STEPS][4] = {};
    Fragments<Operands> fragments[2];
    fragments[0].load(shared, row, column, 0);
    u32 stage = 0;
    const u32 turns = ceil_div(k, Operands::DEPTH);
    for (u32 turn = 0; turn < turns; ++turn) {
        fragments[1].load(shared + stage * STAGE_BYTES, row, column, 1);
        // The stage that was multiplied last: no warp reads it behind the last barrier. Beyond K, zeros.
        loader.next(copies, shared + (stage + STAGES - 1) % STAGES * STAGE_BYTES);
        copies.commit();
        fragments[0].multiply(sums);
        stage = (stage + 1) % STAGES;
        copies.wait<STAGES - 2>();
        __syncthreads();
        fragments[0].load(shared + stage * STAGE_BYTES, row, column, 0);
        fragments[1].multiply(sums);
    }
    copies.wait<0>();
#pragma unroll
    for (u32 i = 0; i < ROW_STEPS; ++i) {
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 at_row = tile.row * Block::ROWS + row + 16 * i + 8 * half + lane / 4;
            if (at_row >= m) continue;
#pragma unroll
            for (u32 j = 0; j < COLUMN_STEPS; ++j) {
                const u32 at_column = tile.column * Block::COLUMNS + column + 8 * j + lane % 4 * 2;
                const float* const two = sums[i][j] + 2 * half;
                store_two<VECTOR>(
                    c + (at.matrix * m + at_row) * n + at_column, two[0], two[1], static_cast<i32>(n - at_column));
            }
        }
    }
}

/// The operands by name.
using F16Operands = dense::Narrow<F16Tensor, f16, f16>;
using Bf16Operands = dense::Narrow<Bf16Tensor, bf16, bf16>;
using Tf32Operands = dense::Wide;
