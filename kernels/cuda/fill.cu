// Fills buffers with inputs: a function of seed, stream and index alone, the same bits as on a CPU (`common/philox.cuh`).
//
// All kernels take a one-dimensional grid of any size. Element `i` of `out` is made of number `first + i` of the stream, so
// that a buffer can be filled in pieces. `word(n)` below is word `n` of the stream.
#include "common/half.cuh"
#include "common/philox.cuh"

using namespace assay;

namespace {

/// Calls `put(i, word(first + i))` for each `i` below `count`, a block of four words at a time.
template <typename Put>
ASSAY_DEVICE void for_each_word(u64 count, u64 seed, u64 stream, u64 first, Put put) {
    if (count == 0) return;
    const Philox random{seed, stream};
    const u64 last_block = (first + (count - 1)) / 4;
    for (u64 block = first / 4 + grid_thread(); block <= last_block; block += grid_threads()) {
        const PhiloxWords four = random.block(block);
#pragma unroll
        for (u32 place = 0; place < 4; ++place) {
            // What lies before `first` wraps round to a number beyond `count`.
            const u64 index = block * 4 + place - first;
            if (index < count) put(index, four.words[place]);
        }
    }
}

}  // namespace

/// `T(signed_unit(word(first + i)))`: uniform on [-1, 1) with 24 random bits; rounded to nearest where T has fewer (so that
/// 1 can occur in f16, bf16 and f8e4m3). T: float, double, f16, bf16, f8e4m3.
template <typename T>
__global__ void fill_signed(T* out, u64 count, u64 seed, u64 stream, u64 first) {
    for_each_word(count, seed, stream, first, [&](u64 index, u32 word) { out[index] = T(signed_unit(word)); });
}

/// `T(unit(word(first + i)))`: uniform on [0, 1), else as `fill_signed`.
template <typename T>
__global__ void fill_unit(T* out, u64 count, u64 seed, u64 stream, u64 first) {
    for_each_word(count, seed, stream, first, [&](u64 index, u32 word) { out[index] = T(unit(word)); });
}

/// `word(first + i)`.
__global__ void fill_words32(u32* out, u64 count, u64 seed, u64 stream, u64 first) {
    for_each_word(count, seed, stream, first, [&](u64 index, u32 word) { out[index] = word; });
}

/// `word(2 * (first + i)) | word(2 * (first + i) + 1) << 32`.
__global__ void fill_words64(u64* out, u64 count, u64 seed, u64 stream, u64 first) {
    const Philox random{seed, stream};
    for (u64 index = grid_thread(); index < count; index += grid_threads()) {
        const u64 pair = first + index;
        const PhiloxWords four = random.block(pair / 2);
        const bool upper = pair % 2 != 0;
        const u32 low = upper ? four.words[2] : four.words[0];
        const u32 high = upper ? four.words[3] : four.words[1];
        out[index] = static_cast<u64>(high) << 32 | low;
    }
}

/// `word(first + i) * bound >> 32`, the product in 64 bits: uniform on 0 .. bound - 1, as far as 2^32 divides evenly.
__global__ void fill_below32(u32* out, u64 count, u64 seed, u64 stream, u64 first, u32 bound) {
    for_each_word(count, seed, stream, first, [&](u64 index, u32 word) { out[index] = below(word, bound); });
}

/// The low byte of `word(first + i)`, as a signed number: uniform on -128 .. 127.
__global__ void fill_words8(i8* out, u64 count, u64 seed, u64 stream, u64 first) {
    for_each_word(count, seed, stream, first, [&](u64 index, u32 word) { out[index] = static_cast<i8>(static_cast<u8>(word)); });
}

/// Every byte the low byte of `value`.
__global__ void fill_bytes(u8* out, u64 count, u32 value) {
    for (u64 index = grid_thread(); index < count; index += grid_threads()) out[index] = static_cast<u8>(value);
}
