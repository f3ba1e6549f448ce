// Dropout by a mask that is a function of place; a thread has the four elements of a block of random words.
#include "common/philox.cuh"
#include "ml/rows.cuh"

using namespace assay;

// out[i] = x[i] (word(i) < threshold ? 0 : factor), i < n, with the words of stream `stream + *counter`
template <class T>
__global__ void dropout(T* out, const T* x, const u64* counter, u64 n, u64 seed, u64 stream, u32 threshold, float factor) {
    const u64 i = grid_thread();
    if (4 * i >= n) return;
    const PhiloxWords random = Philox{seed, stream + *counter}.block(i);
    if (4 * i + 4 <= n) {
        Floats<T, 4> values;
        values.load(x, i);
#pragma unroll
        for (int j = 0; j < 4; ++j) values.at[j] *= random.words[j] < threshold ? 0.0f : factor;
        values.store(out, i);
    } else {
        for (u32 j = 0; 4 * i + j < n; ++j) {
            out[4 * i + j] = T(static_cast<float>(x[4 * i + j]) * (random.words[j] < threshold ? 0.0f : factor));
        }
    }
}
