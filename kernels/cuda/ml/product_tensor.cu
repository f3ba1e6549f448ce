// Products of matrices of 16 bits as models need them, on tensor cores, by the instruction of one warp (mma.sync): what
// `ml/product.cu` computes of operands without scales. Sums are f32, each in the order of the common side.
//
// A block of 256 threads computes 128 by 128 elements, each of its warps 64 by 32. Tiles of both operands, 32 deep along the
// common side, come to shared memory in four stages, three of which are under way. While a warp multiplies, the operands of
// its next step come to registers.
#include "common/loader.cuh"
#include "common/tiles.cuh"

using namespace assay;

namespace product {

constexpr u32 THREADS = 256, SIDE = 128, DEPTH = 32, STAGES = 4;
constexpr u32 TILE_BYTES = SIDE * DEPTH * 2, STAGE_BYTES = 2 * TILE_BYTES;
/// Accumulators of a warp, in units of 16 rows and of 8 columns.
constexpr u32 ROW_STEPS = 4, COLUMN_STEPS = 4;

/// Tiles of an operand, one after the other along the common side K: DEPTH of it, of SIDE rows of A (or columns of B). In
/// memory its lines go ALONG_K, or along its other side, and so they do in a tile.
template <class T, bool ALONG_K, bool VECTOR>
class Operand {
  public:
    /// `matrix` is its first element, `stride` the elements between two lines; the tile begins at `first` of `side` rows (or
    /// columns), and there are `k` along K.
    ASSAY_DEVICE Operand(const T* matrix, u32 stride, u32 first, u32 side, u32 k) : matrix_(matrix), stride_(stride) {
        const u32 line = threadIdx.x / CHUNKS, within = threadIdx.x % CHUNKS * PER_CHUNK;
        const u32 place = first + (ALONG_K ? line : within), depth = ALONG_K ? within : line;
        from_ = matrix + (ALONG_K ? u64(place) * stride + depth : u64(depth) * stride + place);
        places_ = static_cast<i32>(side - place);
        left_ = static_cast<i32>(k - depth);
    }

    /// Begins copying the next tile; zeros beyond the matrix.
    ASSAY_DEVICE void next(AsyncCopies& copies, u8* tile) {
#pragma unroll
        for (i32 i = 0; i < 2; ++i) {
            const i32 apart = i * static_cast<i32>(THREADS / CHUNKS);
            const i32 count = (ALONG_K ? places_ : left_) > apart ? (ALONG_K ? left_ : places_) : 0;
            u8* const to = tile + place_of(threadIdx.x / CHUNKS + apart, threadIdx.x % CHUNKS);
            copy_chunk<VECTOR>(copies, to, from_ + u64(apart) * stride_, matrix_, count);
        }
        left_ -= DEPTH;
        from_ += ALONG_K ? DEPTH : u64(DEPTH) * stride_;
    }

    /// The operands of a warp for 16 rows (or columns) from `first` on, as the left side of one instruction has them: r[i] is
    /// of the rows from 8 (i % 2) on, and of K from 8 (i / 2) on.
    ASSAY_DEVICE static void load(u32 (&r)[4], const u8* tile, u32 first, u32 step) {
        const u32 lane = threadIdx.x % 32;
        if (ALONG_K) {
            load_matrices(r, tile + place_of(first + lane % 16, step * 2 + lane / 16));
        } else {
            load_matrices_transposed(r, tile + place_of(step * 16 + lane / 16 * 8 + lane % 8, first / 8 + lane / 8 % 2));
        }
    }

  private:
    static constexpr u32 PER_CHUNK = 16 / sizeof(T), CHUNKS = (ALONG_K ? DEPTH : SIDE) / PER_CHUNK;
    static_assert(sizeof(T) == 2, "16 bits");

    /// Where 16 bytes of a line are, so that eight of them that are read at once take all banks: of lines of 64 bytes, two of
    /// which take all banks, or of lines of 256.
    ASSAY_DEVICE static u32 place_of(u32 line, u32 chunk) {
        return (line * CHUNKS + (chunk ^ (ALONG_K ? line / 2 % 4 : line % 8))) * 16;
    }

    const T *matrix_, *from_;
    u32 stride_;
    /// Rows (or columns) from this thread's first on, and how much of K from the next tile on.
    i32 places_, left_;
};

/// Operands of one step of a warp, in registers.
template <class Kind, class A, class B>
struct Fragments {
    u32 a[ROW_STEPS][4], b[COLUMN_STEPS][2];

    ASSAY_DEVICE void load(const u8* stage, u32 row, u32 column, u32 step) {
#pragma unroll
        for (u32 i = 0; i < ROW_STEPS; ++i) A::load(a[i], stage, row + 16 * i, step);
#pragma unroll
        for (u32 j = 0; j < COLUMN_STEPS; j += 2) {
            u32 both[4];
            B::load(both, stage + TILE_BYTES, column + 8 * j, step);
            b[j][0] = both[0], b[j][1] = both[2], b[j + 1][0] = both[1], b[j + 1][1] = both[3];
        }
    }

    ASSAY_DEVICE void multiply(float (&c)[ROW_STEPS][COLUMN_STEPS][4]) const {
#pragma unroll
        for (u32 i = 0; i < ROW_STEPS; ++i) {
#pragma unroll
            for (u32 j = 0; j < COLUMN_STEPS; ++j) {
                // To and fro, so that an operand is used twice in a row.
                const u32 column = i % 2 == 0 ? j : COLUMN_STEPS - 1 - j;
                assay::multiply<Kind>(c[i][column], a[i], b[column]);
            }
        }
    }
};

/// What C holds before: nothing that counts, what is added to, or a bias for each column.
enum Begin : u32 { SET = 0, ADD = 1, BIAS = 2 };

}  // namespace product

/// A and B are of T, C of R. The other parameters are those of `multiply` in `ml/product.cu`; VECTOR: lines of A and B are
/// multiples of 16 bytes. Dynamic shared memory: STAGES times STAGE_BYTES.
template <class Kind, class T, class R, bool A_TURNED, bool B_TURNED, bool COUNTED, bool VECTOR>
__global__ void __launch_bounds__(product::THREADS, 2)
    multiply_tensor(R* c, const T* a, const T* b, const float* bias, const u32* counts, u32 begin, u32 m, u32 n, u32 k,
                    u32 a_stride, u32 b_stride, u32 c_stride, u32 inner, u64 a_outer, u64 a_inner, u64 b_outer, u64 b_inner,
                    u64 c_outer, u64 c_inner) {
    using namespace product;
    using A = Operand<T, !A_TURNED, VECTOR>;
    using B = Operand<T, B_TURNED, VECTOR>;
    ASSAY_DYNAMIC_SHARED(u8, shared);
    const BatchTile at = tile_in_batch(blockIdx.x, ceil_div(m, SIDE), ceil_div(n, SIDE));
    const u64 outer = at.matrix / inner, within = at.matrix % inner;
    const u32 first_row = at.tile.row * SIDE, first_column = at.tile.column * SIDE;
    if (COUNTED) {
        u32& counted = A_TURNED ? k : m;
        counted = minimum(counted, counts[at.matrix]);
        if (first_row >= m) return;
    }
    A left(a + outer * a_outer + within * a_inner, a_stride, first_row, m, k);
    B right(b + outer * b_outer + within * b_inner, b_stride, first_column, n, k);
    AsyncCopies copies;
    const auto next = [&](u32 stage) {
        left.next(copies, shared + stage * STAGE_BYTES);
        right.next(copies, shared + stage * STAGE_BYTES + TILE_BYTES);
        copies.commit();
    };
#pragma unroll
    for (u32 stage = 0; stage < STAGES - 1; ++stage) next(stage);
    copies.wait<STAGES - 2>();
    __syncthreads();
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 row = warp % 2 * 64, column = warp / 2 * 32;
    float sums[ROW_STEPS][COLUMN_STEPS][4] = {};
    Fragments<Kind, A, B> fragments[2];
    fragments[0].load(shared, row, column, 0);
    u32 stage = 0;
    const u32 turns = ceil_div(k, DEPTH);
    for (u32 turn = 0; turn < turns; ++turn) {
        fragments[1].load(shared + stage * STAGE_BYTES, row, column, 1);
        // The stage that was multiplied last: no warp reads it behind the last barrier. Beyond K, zeros.
        next((stage + STAGES - 1) % STAGES);
        fragments[0].multiply(sums);
        stage = (stage + 1) % STAGES;
        copies.wait<STAGES - 2>();
        __syncthreads();
        fragments[0].load(shared + stage * STAGE_BYTES, row, column, 0);
        fragments[1].multiply(sums);
    }
    copies.wait<0>();
    c += outer * c_outer + within * c_inner;
#pragma unroll
    for (u32 i = 0; i < ROW_STEPS; ++i) {
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 at_row = first_row + row + 16 * i + 8 * half + lane / 4;
            if (at_row >= m) continue;
#pragma unroll
            for (u32 j = 0; j < COLUMN_STEPS; ++j) {
                const u32 at_column = first_column + column + 8 * j + lane % 4 * 2;
                const i32 count = static_cast<i32>(n - at_column);
                R* const to = c + u64(at_row) * c_stride + at_column;
                float two[2] = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
                if (begin != SET) {
#pragma unroll
                    for (i32 s = 0; s < 2; ++s) {
                        if (s < count) two[s] += begin == BIAS ? bias[at_column + s] : static_cast<float>(to[s]);
                    }
                }
                store_two<VECTOR>(to, two[0], two[1], count);
            }
        }
    }
}
