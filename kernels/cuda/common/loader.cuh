// Brings tiles of two matrices to shared memory, 16 bytes at a time, while threads do other things.
#pragma once

#include "common/tensor.cuh"

namespace assay {

/// 16 bytes of a line of a matrix, `count` of whose elements are there from `from` on, to shared memory; zeros for the
/// others. VECTOR: all are there, or none is, and `from` is a multiple of 16.
template <bool VECTOR, class Element>
ASSAY_DEVICE void copy_chunk(AsyncCopies& copies, u8* to, const Element* from, const Element* matrix, i32 count) {
    constexpr i32 ELEMENTS = 16 / sizeof(Element);
    if (VECTOR) {
        copies.copy16(to, count > 0 ? from : matrix, count > 0 ? 16 : 0);
    } else {
#pragma unroll
        for (i32 i = 0; i < ELEMENTS; ++i) reinterpret_cast<Element*>(to)[i] = i < count ? from[i] : Element();
    }
}

/// Tiles of A of m by k and of B of k by n, row-major, one after the other along K; zeros beyond the matrices. A thread
/// copies the same chunks of each. `Layout` says how large tiles are (ROWS of A, COLUMNS of B, DEPTH in K), how many THREADS
/// there are, and where a chunk of a line lies in a stage (a_place, b_place).
template <class Layout, bool VECTOR>
class Loader {
  public:
    using Element = typename Layout::Element;

    ASSAY_DEVICE Loader(const Element* a, const Element* b, u32 m, u32 n, u32 k, u32 row, u32 column)
        : a_(a), b_(b), n_(n), k_(k) {
        const u32 t = threadIdx.x;
        const u32 a_row = row + t / A_CHUNKS, a_column = t % A_CHUNKS * PER_CHUNK;
        const u32 b_row = t / B_CHUNKS, b_column = column + t % B_CHUNKS * PER_CHUNK;
        a_from_ = a + u64(a_row) * k + a_column;
        b_from_ = b + u64(b_row) * n + b_column;
        a_rows_ = static_cast<i32>(m - a_row);
        a_left_ = static_cast<i32>(k - a_column);
        b_columns_ = static_cast<i32>(n - b_column);
        b_left_ = static_cast<i32>(k - b_row);
    }

    /// Begins copying the next tiles to a stage.
    ASSAY_DEVICE void next(AsyncCopies& copies, u8* stage) {
        const u32 t = threadIdx.x;
#pragma unroll
        for (u32 i = 0; i < A_COPIES; ++i) {
            const i32 count = a_rows_ > static_cast<i32>(i * A_STEP) ? a_left_ : 0;
            u8* const to = stage + Layout::a_place(t / A_CHUNKS + i * A_STEP, t % A_CHUNKS);
            copy_chunk<VECTOR>(copies, to, a_from_ + u64(i * A_STEP) * k_, a_, count);
        }
#pragma unroll
        for (u32 i = 0; i < B_COPIES; ++i) {
            const i32 count = b_left_ > static_cast<i32>(i * B_STEP) ? b_columns_ : 0;
            u8* const to = stage + Layout::b_place(t / B_CHUNKS + i * B_STEP, t % B_CHUNKS);
            copy_chunk<VECTOR>(copies, to, b_from_ + u64(i * B_STEP) * n_, b_, count);
        }
        a_from_ += Layout::DEPTH;
        a_left_ -= Layout::DEPTH;
        b_from_ += u64(Layout::DEPTH) * n_;
        b_left_ -= Layout::DEPTH;
    }

  private:
    static constexpr u32 PER_CHUNK = 16 / sizeof(Element);
    static constexpr u32 A_CHUNKS = Layout::DEPTH / PER_CHUNK, B_CHUNKS = Layout::COLUMNS / PER_CHUNK;
    /// Lines between two copies of a thread.
    static constexpr u32 A_STEP = Layout::THREADS / A_CHUNKS, B_STEP = Layout::THREADS / B_CHUNKS;
    static constexpr u32 A_COPIES = Layout::ROWS / A_STEP, B_COPIES = Layout::DEPTH / B_STEP;
    static_assert(Layout::THREADS % A_CHUNKS == 0 && Layout::THREADS % B_CHUNKS == 0, "whole lines at a time");
    static_assert(Layout::ROWS % A_STEP == 0 && Layout::DEPTH % B_STEP == 0, "all lines");

    const Element *a_, *b_, *a_from_, *b_from_;
    u32 n_, k_;
    /// How many rows and columns there are from this thread's first on, and how much of K from the next tile on.
    i32 a_rows_, a_left_, b_columns_, b_left_;
};

/// Two elements of a line next to each other, of which `count` are there. VECTOR: both are, or neither.
template <bool VECTOR, class Out>
ASSAY_DEVICE void store_two(Out* to, float first, float second, i32 count) {
    struct alignas(2 * sizeof(Out)) Two {
        Out at[2];
    };
    if (VECTOR) {
        if (count > 0) *reinterpret_cast<Two*>(to) = {{Out(first), Out(second)}};
    } else {
        if (count > 0) to[0] = Out(first);
        if (count > 1) to[1] = Out(second);
    }
}

}  // namespace assay
