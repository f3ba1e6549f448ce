// Layer normalisation (CENTRED) and root-mean-square normalisation of rows, one block a row, and their gradients.
#include "ml/rows.cuh"

using namespace assay;

namespace rows_of {

/// What a row keeps of itself: its mean, if it is centred, and the reciprocal of its deviation.
template <bool CENTRED>
constexpr u32 KEEPS = CENTRED ? 2 : 1;

/// The square of a row's elements less `mean`, summed over the block's threads.
template <class T, int W>
ASSAY_DEVICE float squares(Row<T, W>& row, float mean, float* parts) {
    float sum = 0.0f;
    row.each([&](u64, Floats<T, W>& x) {
#pragma unroll
        for (int j = 0; j < W; ++j) sum += (x.at[j] - mean) * (x.at[j] - mean);
    });
    return block_all<Sum>(sum, parts);
}

template <bool CENTRED, class T, int W>
ASSAY_DEVICE void forward(u64 rows, u64 cols, T* out, float* statistics, const T* in, const float* parameters, float epsilon) {
    __shared__ float parts[WARP];
    for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
        Row<T, W> row(in + r * cols, cols);
        float mean = 0.0f;
        if (CENTRED) {
            row.each([&](u64, Floats<T, W>& x) {
#pragma unroll
                for (int j = 0; j < W; ++j) mean += x.at[j];
            });
            mean = block_all<Sum>(mean, parts) / static_cast<float>(cols);
        }
        const float variance = squares(row, mean, parts) / static_cast<float>(cols);
        const float scale = 1.0f / sqrtf(variance + epsilon);
        row.each([&](u64 i, Floats<T, W>& x) {
            Floats<float, W> gain, shift = {};
            gain.load(parameters, i);
            if (CENTRED) shift.load(parameters + cols, i);
#pragma unroll
            for (int j = 0; j < W; ++j) x.at[j] = (x.at[j] - mean) * scale * gain.at[j] + shift.at[j];
            x.store(out + r * cols, i);
        });
        if (threadIdx.x == 0) {
            if (CENTRED) statistics[KEEPS<CENTRED> * r] = mean;
            statistics[KEEPS<CENTRED> * r + KEEPS<CENTRED> - 1] = scale;
        }
    }
}

template <bool CENTRED, class T, int W>
ASSAY_DEVICE void backward(u64 rows, u64 cols, T* dx, const T* in, const float* parameters, const float* statistics, const T* dy) {
    __shared__ float parts[WARP];
    for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
        Row<T, W> row(in + r * cols, cols), gradient(dy + r * cols, cols);
        const float mean = CENTRED ? statistics[KEEPS<CENTRED> * r] : 0.0f;
        const float scale = statistics[KEEPS<CENTRED> * r + KEEPS<CENTRED> - 1];
        float along = 0.0f, level = 0.0f;
        each_pair(row, gradient, [&](u64 i, Floats<T, W>& x, Floats<T, W>& dy) {
            Floats<float, W> gain;
            gain.load(parameters, i);
#pragma unroll
            for (int j = 0; j < W; ++j) {
                const float wanted = dy.at[j] * gain.at[j];
                along += wanted * ((x.at[j] - mean) * scale);
                if (CENTRED) level += wanted;
            }
        });
        along = block_all<Sum>(along, parts) / static_cast<float>(cols);
        if (CENTRED) level = block_all<Sum>(level, parts) / static_cast<float>(cols);
        each_pair(row, gradient, [&](u64 i, Floats<T, W>& x, Floats<T, W>& dy) {
            Floats<float, W> gain;
            gain.load(parameters, i);
#pragma unroll
            for (int j = 0; j < W; ++j) {
                const float normal = (x.at[j] - mean) * scale;
                x.at[j] = scale * (dy.at[j] * gain.at[j] - level - normal * along);
            }
            x.store(dx + r * cols, i);
        });
    }
}

/// Columns and rows that a block sums side by side.
constexpr u32 WIDE = 32, TALL = 8;

}  // namespace rows_of

template <class T, int W>
__global__ void layer_norm(u64 rows, u64 cols, T* out, float* statistics, const T* in, const float* parameters, float epsilon) {
    rows_of::forward<true, T, W>(rows, cols, out, statistics, in, parameters, epsilon);
}

template <class T, int W>
__global__ void rms_norm(u64 rows, u64 cols, T* out, float* statistics, const T* in, const float* parameters, float epsilon) {
    rows_of::forward<false, T, W>(rows, cols, out, statistics, in, parameters, epsilon);
}

template <class T, int W>
__global__ void layer_norm_backward(u64 rows, u64 cols, T* dx, const T* in, const float* parameters, const float* statistics, const T* dy) {
    rows_of::backward<true, T, W>(rows, cols, dx, in, parameters, statistics, dy);
}

template <class T, int W>
__global__ void rms_norm_backward(u64 rows, u64 cols, T* dx, const T* in, const float* parameters, const float* statistics, const T* dy) {
    rows_of::backward<false, T, W>(rows, cols, dx, in, parameters, statistics, dy);
}

// partials[block][c] = sum over the block's rows of dy[r][c] normal[r][c], and, CENTRED, partials[block][cols + c] = sum of dy[r][c]
template <class T, bool CENTRED>
__global__ void norm_parameters(float* partials, const T* in, const float* statistics, const T* dy, u64 rows, u64 cols, u64 rows_per_block) {
    __shared__ float gains[rows_of::TALL][rows_of::WIDE], shifts[rows_of::TALL][rows_of::WIDE];
    const u64 c = u64(blockIdx.x) * rows_of::WIDE + threadIdx.x;
    const u64 end = minimum<u64>((blockIdx.y + u64(1)) * rows_per_block, rows);
    float gain = 0.0f, shift = 0.0f;
    if (c < cols) {
#pragma unroll 4
        for (u64 r = blockIdx.y * rows_per_block + threadIdx.y; r < end; r += rows_of::TALL) {
            const float mean = CENTRED ? statistics[2 * r] : 0.0f;
            const float scale = statistics[CENTRED ? 2 * r + 1 : r];
            const float gradient = static_cast<float>(dy[r * cols + c]);
            gain += gradient * ((static_cast<float>(in[r * cols + c]) - mean) * scale);
            shift += gradient;
        }
    }
    gains[threadIdx.y][threadIdx.x] = gain;
    shifts[threadIdx.y][threadIdx.x] = shift;
    __syncthreads();
    if (threadIdx.y != 0 || c >= cols) return;
    for (u32 t = 1; t < rows_of::TALL; ++t) {
        gain += gains[t][threadIdx.x];
        shift += shifts[t][threadIdx.x];
    }
    const u64 width = CENTRED ? 2 * cols : cols;
    partials[blockIdx.y * width + c] = gain;
    if (CENTRED) partials[blockIdx.y * width + cols + c] = shift;
}
