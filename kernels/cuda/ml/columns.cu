// Columns of gradients, f32: a block has 32 columns of a unit and eight rows at a time, and goes on to further units.
#include "common/cuda.cuh"

using namespace assay;

namespace columns {

constexpr u32 WIDE = 32, TALL = 8;

/// The sum over the rows of a block of threads, of each column, in every thread: one row after the other.
ASSAY_DEVICE float over_rows(float value, float (*parts)[WIDE]) {
    parts[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (u32 y = 0; y < TALL; ++y) sum += parts[y][threadIdx.x];
    __syncthreads();
    return sum;
}

}  // namespace columns

// CLIP: a column of g is multiplied by clipping max(|w|, epsilon) / |g| where that is below 1. Else it loses its mean.
template <bool CLIP>
__global__ void __launch_bounds__(columns::WIDE* columns::TALL)
    change_columns(float* g, const float* w, u64 rows, u64 cols, u64 of_unit, float clipping, float epsilon) {
    using namespace columns;
    __shared__ float parts[TALL][WIDE];
    const u64 col = u64(blockIdx.x) * WIDE + threadIdx.x;
    const bool is_in = col < cols;
    for (u64 first = u64(blockIdx.y) * of_unit; first < rows; first += u64(gridDim.y) * of_unit) {
        float of_gradients = 0, of_parameters = 0;
        for (u64 row = first + threadIdx.y; is_in && row < first + of_unit; row += TALL) {
            const float x = g[row * cols + col];
            of_gradients += CLIP ? x * x : x;
            if (CLIP) of_parameters += w[row * cols + col] * w[row * cols + col];
        }
        of_gradients = over_rows(of_gradients, parts);
        if (CLIP) of_parameters = over_rows(of_parameters, parts);
        const float own = __fsqrt_rn(of_gradients), norm = __fsqrt_rn(of_parameters);
        const float most = clipping * (norm < epsilon ? epsilon : norm);
        // A norm that is no number makes the column none.
        const float factor = own <= most ? 1.0f : __fdiv_rn(most, own);
        const float mean = __fdiv_rn(of_gradients, float(of_unit));
        for (u64 row = first + threadIdx.y; is_in && row < first + of_unit; row += TALL) {
            float& x = g[row * cols + col];
            x = CLIP ? __fmul_rn(x, factor) : __fsub_rn(x, mean);
        }
    }
}
