// What the frame launches beside a case: a gate, a look at the clock, and a sweep that fills the L2 with clean lines.
#include "common/cuda.cuh"

using namespace assay;

// Waits until `*open` is not 0, which the host sets; after `timeout_ns` it goes on by itself and says so.
__global__ void gate(volatile u32* open, volatile u32* expired, u64 timeout_ns) {
    const u64 begin = globaltimer_ns();
    while (*open == 0) {
        if (globaltimer_ns() - begin > timeout_ns) {
            *expired = 1;
            break;
        }
    }
    __threadfence_system();
}

// Nanoseconds and cycles of one multiprocessor over a window of at least `window_ns`.
__global__ void clock_window(volatile u64* out, u64 window_ns) {
    // From one tick of the timer to another: it may tick as seldom as once a microsecond.
    const u64 before = globaltimer_ns();
    u64 begin = before;
    while (begin == before) begin = globaltimer_ns();
    const long long first = clock64();
    u64 end = begin;
    while (end - begin < window_ns) end = globaltimer_ns();
    const long long last = clock64();
    out[0] = end - begin;
    out[1] = u64(last - first);
}

// Reads `count` times 16 bytes; the sum is kept where it can never be what it is compared with by chance alone, so that
// the reads are not left out.
__global__ void read_sweep(const uint4* data, u64 count, u32* sink) {
    u32 sum = 0;
    const u64 stride = u64(gridDim.x) * blockDim.x;
    for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
        const uint4 word = data[i];
        sum += word.x ^ word.y ^ word.z ^ word.w;
    }
    if (sum == 0x9e3779b9u) *sink = sum;
}
