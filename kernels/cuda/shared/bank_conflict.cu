// Shared memory, accessed by a warp with a stride: lanes whose words lie in the same of its 32 banks wait for each other.
// A thread makes `count` accesses, in batches whose addresses differ.
#include "common/cuda.cuh"

using namespace assay;

namespace bank {

constexpr u32 THREADS = 256;
constexpr u32 BATCH = 16;
// Places where a batch may begin.
constexpr u32 STARTS = 512;
// 31 lanes of at most 32 words further on each, the last start, and 15 accesses of 32 words further on each.
constexpr u32 WORDS = 2048;
static_assert(31 * 32 + (STARTS - 1) + (BATCH - 1) * 32 < WORDS, "the farthest word");

}  // namespace bank

// out[thread]: the wrapping sum of all words that the thread read.
__global__ void bank_read(u32* out, const u32* data, u32 stride, u32 count) {
    using namespace bank;
    __shared__ u32 words[WORDS];
    for (u32 i = threadIdx.x; i < WORDS; i += THREADS) words[i] = data[i];
    __syncthreads();
    const u32* lane = words + threadIdx.x % 32 * stride;
    u32 start = static_cast<u32>(grid_thread() / 32 % STARTS);
    u32 sum = 0;
    for (; count >= BATCH; count -= BATCH) {
#pragma unroll
        for (u32 k = 0; k < BATCH; ++k) sum += lane[start + 32 * k];
        start = (start + 1) % STARTS;
    }
    for (u32 k = 0; k < count; ++k) sum += lane[start + 32 * k];
    out[grid_thread()] = sum;
}

// Each lane writes to `stride` words of its own, a batch to each in turn. out[thread]: the wrapping sum of what its words
// hold in the end.
__global__ void bank_write(u32* out, u32 stride, u32 count) {
    using namespace bank;
    // Volatile, since most of what is written is overwritten without being read.
    ASSAY_DYNAMIC_SHARED(volatile u32, words);
    volatile u32* const own = words + threadIdx.x * stride;
    u32 value = static_cast<u32>(grid_thread()) * 0x9e3779b1u;
    u32 place = 0, written = 0;
    while (count > 0) {
        if (count >= BATCH) {
#pragma unroll
            for (u32 k = 0; k < BATCH; ++k) own[place] = value + k;
        } else {
            for (u32 k = 0; k < count; ++k) own[place] = value + k;
        }
        count -= minimum(count, BATCH);
        value += BATCH;
        place = place + 1 == stride ? 0 : place + 1;
        written = minimum(written + 1, stride);
    }
    // So that one who wrote to another's words is found out.
    __syncthreads();
    u32 sum = 0;
    for (u32 i = 0; i < written; ++i) sum += own[i];
    out[grid_thread()] = sum;
}
