// Means over squares of pixels, of pictures of `side` by `side` pixels with `channels` numbers each, and their gradient; a thread has one
// number at a time.
#include "common/cuda.cuh"

using namespace assay;

// y[n][p][q][c] = scale * sum of x[n][p window + r][q window + s][c], line by line; `len` numbers of y.
__global__ void __launch_bounds__(256) mean_pool(float* y, const float* x, u64 len, u64 side, u64 window, u64 channels, float scale) {
    const u64 out = side / window;
    for (u64 i = grid_thread(); i < len; i += grid_threads()) {
        const u64 c = i % channels, square = i / channels;
        const u64 q = square % out, p = square / out % out, image = square / out / out;
        float sum = 0;
        for (u64 r = 0; r < window; ++r) {
            const float* const line = x + ((image * side + p * window + r) * side + q * window) * channels + c;
            for (u64 s = 0; s < window; ++s) sum += line[s * channels];
        }
        y[i] = __fmul_rn(sum, scale);
    }
}

// dx[n][i][j][c] = scale * dy[n][i / window][j / window][c]; `len` numbers of dx.
__global__ void __launch_bounds__(256) mean_pool_backward(float* dx, const float* dy, u64 len, u64 side, u64 window, u64 channels, float scale) {
    const u64 out = side / window;
    for (u64 i = grid_thread(); i < len; i += grid_threads()) {
        const u64 c = i % channels, pixel = i / channels;
        const u64 q = pixel % side / window, p = pixel / side % side / window, image = pixel / side / side;
        dx[i] = __fmul_rn(dy[((image * out + p) * out + q) * channels + c], scale);
    }
}
