// Fills buffers with inputs: a function of seed, stream and index alone, the same bits as `kernels/src/fill.rs` makes on a
// CPU (`common/philox.cuh`).
//
// All kernels take a one-dimensional grid of any size. `word(n)` below is word `n` of the stream.
#include "common/half.cuh"
#include "common/philox.cuh"

using namespace assay;

namespace {

/// Calls `put(i, word(i))` for each `i` below `count`, a block of four words at a time.
template <typename Put>
ASSAY_DEVICE void for_each_word(u64 count, u64 seed, u64 stream, Put put) {
    const Philox random{seed, stream};
    const u64 blocks = ceil_div<u64>(count, 4);
    for (u64 block = grid_thread(); block < blocks; block += grid_threads()) {
        const PhiloxWords four = random.block(block);
#pragma unroll
        for (u32 place = 0; place < 4; ++place) {
            const u64 index = block * 4 + place;
            if (index < count) put(index, four.words[place]);
        }
    }
}

}  // namespace

/// `T(scale * signed_unit(word(i)))`: uniform on [-scale, scale) with 24 random bits; rounded to nearest where T has fewer.
/// `scale` is a power of two. T: float, double, f16, bf16.
template <typename T>
__global__ void fill_signed(T* out, u64 count, u64 seed, u64 stream, float scale) {
    for_each_word(count, seed, stream, [&](u64 index, u32 word) { out[index] = T(scale * signed_unit(word)); });
}

/// `T(unit(word(i)))`: uniform on [0, 1), else as `fill_signed`.
template <typename T>
__global__ void fill_unit(T* out, u64 count, u64 seed, u64 stream) {
    for_each_word(count, seed, stream, [&](u64 index, u32 word) { out[index] = T(unit(word)); });
}

/// The low bits of `word(i)`, as many as T has: 32 or 8.
template <typename T>
__global__ void fill_words(T* out, u64 count, u64 seed, u64 stream) {
    for_each_word(count, seed, stream, [&](u64 index, u32 word) { out[index] = static_cast<T>(word); });
}

/// `word(2 i) | word(2 i + 1) << 32`.
__global__ void fill_wide_words(u64* out, u64 count, u64 seed, u64 stream) {
    const Philox random{seed, stream};
    for (u64 index = grid_thread(); index < count; index += grid_threads()) {
        const PhiloxWords four = random.block(index / 2);
        const bool upper = index % 2 != 0;
        const u32 low = upper ? four.words[2] : four.words[0];
        const u32 high = upper ? four.words[3] : four.words[1];
        out[index] = static_cast<u64>(high) << 32 | low;
    }
}

/// `word(i) * bound >> 32`, the product in 64 bits: uniform on 0 .. bound - 1, as far as 2^32 divides evenly.
__global__ void fill_below(u32* out, u64 count, u64 seed, u64 stream, u32 bound) {
    for_each_word(count, seed, stream, [&](u64 index, u32 word) { out[index] = below(word, bound); });
}
