// Gradients of a convolution, a thread for each element (`kernels/src/ops/conv2d/gradients.rs`): plain sums in the order of their
// indices, without tiles.
#include "common/cuda.cuh"

using namespace assay;

// dx[n, h, w, c] = sum over r, s, k of dy[n, p, q, k] f[r, s, c, k], where p stride + r = h + padding, and q likewise
__global__ void conv2d_backward_input(float* dx, const float* dy, const float* f, u32 batch, u32 channels, u32 filters, u32 height,
                                      u32 width, u32 kernel, u32 stride, u32 padding, u32 out_height, u32 out_width) {
    const u64 count = u64(batch) * height * width * channels;
    for (u64 i = grid_thread(); i < count; i += grid_threads()) {
        const u32 c = static_cast<u32>(i % channels), w = static_cast<u32>(i / channels % width);
        const u32 h = static_cast<u32>(i / channels / width % height);
        const u64 n = i / channels / width / height;
        float sum = 0.0f;
        for (u32 r = 0; r < kernel; ++r) {
            // Beyond the border, they are very large.
            const u32 top = h + padding - r;
            if (h + padding < r || top % stride != 0 || top / stride >= out_height) continue;
            for (u32 s = 0; s < kernel; ++s) {
                const u32 left = w + padding - s;
                if (w + padding < s || left % stride != 0 || left / stride >= out_width) continue;
                const float* const of_pixel = dy + ((n * out_height + top / stride) * out_width + left / stride) * filters;
                const float* const of_place = f + (u64(r * kernel + s) * channels + c) * filters;
                for (u32 k = 0; k < filters; ++k) sum = __fmaf_rn(of_pixel[k], of_place[k], sum);
            }
        }
        dx[i] = sum;
    }
}

// df[r, s, c, k] = sum over n, p, q of x[n, p stride + r - padding, q stride + s - padding, c] dy[n, p, q, k], or added to df
__global__ void conv2d_backward_filters(float* df, const float* x, const float* dy, u32 batch, u32 channels, u32 filters, u32 height,
                                        u32 width, u32 kernel, u32 stride, u32 padding, u32 out_height, u32 out_width, u32 adds) {
    const u64 count = u64(kernel) * kernel * channels * filters;
    for (u64 i = grid_thread(); i < count; i += grid_threads()) {
        const u32 k = static_cast<u32>(i % filters), c = static_cast<u32>(i / filters % channels);
        const u32 place = static_cast<u32>(i / filters / channels), r = place / kernel, s = place % kernel;
        float sum = 0.0f;
        for (u64 n = 0; n < batch; ++n) {
            for (u32 p = 0; p < out_height; ++p) {
                const u32 h = p * stride + r;
                if (h < padding || h - padding >= height) continue;
                for (u32 q = 0; q < out_width; ++q) {
                    const u32 w = q * stride + s;
                    if (w < padding || w - padding >= width) continue;
                    const float seen = x[((n * height + h - padding) * width + w - padding) * channels + c];
                    sum = __fmaf_rn(seen, dy[((n * out_height + p) * out_width + q) * filters + k], sum);
                }
            }
        }
        df[i] = adds ? df[i] + sum : sum;
    }
}
