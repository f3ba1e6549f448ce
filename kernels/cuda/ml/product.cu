// Products of matrices as models need them, of f32, bf16 or f16, added up in f32: C = A B, C = A B^T and C = A^T B, with C replaced, added to, or begun with a
// bias; matrices may be columns of wider ones, several may be multiplied at once, and of each as few rows (or as little of
// the common side) as a count says. B may be 8-bit integers with a scale for each of its lines, which become numbers on their way to
// shared memory: f32 of the whole of it is nowhere.
//
// Blocks of 256 threads compute 128 by 128 elements. A warp has 32 by 64 of them, a thread 8 by 8: four blocks of 4 by 4, so
// that the lanes of a warp read different banks. Each element is summed in the order of the common side.
#include "common/tiles.cuh"
#include "ml/rows.cuh"

using namespace assay;

namespace product {

constexpr u32 THREADS = 256, SIDE = 128, DEPTH = 16;
/// Lines of a tile begin in different banks of shared memory, at multiples of 16 bytes.
constexpr u32 LINE = SIDE + 4;

/// Four elements from an address on, of which `count` are there, as far as there are any; zeros for the others. VECTOR: all
/// four are there, or none is, and the address is a multiple of their size.
template <bool VECTOR, class T>
ASSAY_DEVICE float4 load_four(const T* from, i32 count) {
    if (VECTOR) {
        Floats<T, 4> four = {};
        if (count > 0) four.load(from, 0);
        return make_float4(four.at[0], four.at[1], four.at[2], four.at[3]);
    }
    const auto at = [&](i32 i) { return i < count ? static_cast<float>(from[i]) : 0.0f; };
    return make_float4(at(0), at(1), at(2), at(3));
}

/// Whether numbers of a type have a scale, one for each line.
template <class T>
constexpr bool HAS_SCALES = false;
template <>
constexpr bool HAS_SCALES<i8> = true;

/// What a thread carries of an operand from global to shared memory: four elements of two lines of a tile. A tile is DEPTH
/// lines along the common side K, of SIDE rows of A (or columns of B) each. In memory the operand's lines go ALONG_K, or
/// along its other side.
template <class T, bool ALONG_K, bool VECTOR>
class Carried {
  public:
    /// `from` is its first element, `stride` the elements between two lines, `scales` those of the lines, if there are any; the tile
    /// begins at `first` of `side` rows (or columns), and there are `k` along K.
    ASSAY_DEVICE Carried(const T* from, const float* scales, u32 stride, u32 first, u32 side, u32 k) : stride_(stride) {
        const u32 t = threadIdx.x;
        const u32 place = first + (ALONG_K ? t / 4 : t % 32 * 4), depth = ALONG_K ? t % 4 * 4 : t / 32;
        from_ = from + (ALONG_K ? u64(place) * stride + depth : u64(depth) * stride + place);
        if (HAS_SCALES<T>) scales_ = scales + (ALONG_K ? place : depth);
        places_ = static_cast<i32>(side - minimum(place, side));
        left_ = static_cast<i32>(k) - static_cast<i32>(depth);
    }

    /// The tile that is next in K.
    ASSAY_DEVICE void load() {
#pragma unroll
        for (i32 i = 0; i < 2; ++i) {
            const i32 apart = i * (ALONG_K ? 64 : 8);
            const bool has_line = (ALONG_K ? places_ : left_) > apart;
            values_[i] = load_four<VECTOR>(from_ + u64(apart) * stride_, has_line ? (ALONG_K ? left_ : places_) : 0);
            if (HAS_SCALES<T> && has_line) {
                const float scale = scales_[apart];
                float4& four = values_[i];
                four = make_float4(__fmul_rn(four.x, scale), __fmul_rn(four.y, scale), __fmul_rn(four.z, scale), __fmul_rn(four.w, scale));
            }
        }
        left_ -= DEPTH;
        from_ += ALONG_K ? DEPTH : u64(DEPTH) * stride_;
        if (HAS_SCALES<T> && !ALONG_K) scales_ += DEPTH;
    }

    ASSAY_DEVICE void store(float (&tile)[DEPTH][LINE]) const {
        const u32 t = threadIdx.x;
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            const float4 four = values_[i];
            if (ALONG_K) {
                const float values[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
                for (u32 j = 0; j < 4; ++j) tile[t % 4 * 4 + j][t / 4 + i * 64] = values[j];
            } else {
                *reinterpret_cast<float4*>(&tile[t / 32 + i * 8][t % 32 * 4]) = four;
            }
        }
    }

  private:
    const T* from_;
    const float* scales_ = nullptr;
    u32 stride_;
    /// Rows (or columns) from this thread's first on, and how much of K from the next tile on.
    i32 places_, left_;
    float4 values_[2];
};

/// Eight values of a line, from two places.
struct Eight {
    float at[8];

    ASSAY_DEVICE void load(const float* first, const float* second) {
        const float4 low = *reinterpret_cast<const float4*>(first), high = *reinterpret_cast<const float4*>(second);
        at[0] = low.x, at[1] = low.y, at[2] = low.z, at[3] = low.w;
        at[4] = high.x, at[5] = high.y, at[6] = high.z, at[7] = high.w;
    }
};

/// What C holds before: nothing that counts, what is added to, or a bias for each column.
enum Begin : u32 { SET = 0, ADD = 1, BIAS = 2 };

}  // namespace product

/// A is of A, B of B, C of R; `scales` are those of B's lines as it is stored, where B is of i8. A_TURNED: A is stored k by m.
/// B_TURNED: B is stored n by k. Of product number `i` the matrices begin at
/// `i / inner * outer_step + i % inner * inner_step`, for A, B and C. COUNTED: of product `i` there are only `counts[i]` rows of
/// A and C, or, with A_TURNED, only as much of k.
template <class A, class B, class R, bool A_TURNED, bool B_TURNED, bool COUNTED, bool VECTOR>
__global__ void __launch_bounds__(product::THREADS, 2)
    multiply(R* c, const A* a, const B* b, const float* scales, const float* bias, const u32* counts, u32 begin, u32 m, u32 n, u32 k,
             u32 a_stride, u32 b_stride, u32 c_stride, u32 inner, u64 a_outer, u64 a_inner, u64 b_outer, u64 b_inner,
             u64 c_outer, u64 c_inner) {
    using namespace product;
    __shared__ __align__(16) float a_tiles[2][DEPTH][LINE], b_tiles[2][DEPTH][LINE];
    const BatchTile at = tile_in_batch(blockIdx.x, ceil_div(m, SIDE), ceil_div(n, SIDE));
    const u64 outer = at.matrix / inner, within = at.matrix % inner;
    const u32 row = at.tile.row * SIDE, column = at.tile.column * SIDE;
    if (COUNTED) {
        u32& counted = A_TURNED ? k : m;
        counted = minimum(counted, counts[at.matrix]);
        if (row >= m) return;
    }
    a += outer * a_outer + within * a_inner;
    b += outer * b_outer + within * b_inner;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 y = warp / 2 * 32 + lane / 8 * 4, x = warp % 2 * 64 + lane % 8 * 4;
    float sums[8][8] = {};
    Carried<A, !A_TURNED, VECTOR> left(a, nullptr, a_stride, row, m, k);
    Carried<B, B_TURNED, VECTOR> right(b, scales, b_stride, column, n, k);
    left.load();
    right.load();
    left.store(a_tiles[0]);
    right.store(b_tiles[0]);
    __syncthreads();
    u32 turn = 0;
    for (u32 first = 0; first < k; first += DEPTH) {
        const bool has_next = first + DEPTH < k;
        if (has_next) {
            left.load();
            right.load();
        }
#pragma unroll
        for (u32 i = 0; i < DEPTH; ++i) {
            Eight of_a, of_b;
            of_a.load(&a_tiles[turn][i][y], &a_tiles[turn][i][y + 16]);
            of_b.load(&b_tiles[turn][i][x], &b_tiles[turn][i][x + 32]);
#pragma unroll
            for (u32 r = 0; r < 8; ++r) {
#pragma unroll
                for (u32 s = 0; s < 8; ++s) sums[r][s] = __fmaf_rn(of_a.at[r], of_b.at[s], sums[r][s]);
            }
        }
        turn ^= 1;
        // The other tiles were read before the last barrier.
        if (has_next) {
            left.store(a_tiles[turn]);
            right.store(b_tiles[turn]);
        }
        __syncthreads();
    }
    c += outer * c_outer + within * c_inner;
#pragma unroll
    for (u32 r = 0; r < 8; ++r) {
        const u32 at_row = row + y + r / 4 * 16 + r % 4;
        if (at_row >= m) continue;
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 at_column = column + x + half * 32;
            if (at_column >= n) continue;
            const i32 count = static_cast<i32>(n - at_column);
            R* const to = c + u64(at_row) * c_stride + at_column;
            Floats<R, 4> four;
#pragma unroll
            for (u32 s = 0; s < 4; ++s) four.at[s] = sums[r][half * 4 + s];
            if (begin != SET) {
                const float4 before = begin == BIAS ? load_four<VECTOR>(bias + at_column, count) : load_four<VECTOR>(to, count);
                four.at[0] += before.x, four.at[1] += before.y, four.at[2] += before.z, four.at[3] += before.w;
            }
            if (VECTOR) {
                four.store(to, 0);
            } else {
#pragma unroll
                for (i32 s = 0; s < 4; ++s) {
                    if (s < count) to[s] = R(four.at[s]);
                }
            }
        }
    }
}
