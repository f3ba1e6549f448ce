// Codes of rows, drawn from the normal distributions that an encoder gives, and their gradient (`kernels/src/ml/latent.rs`).
#include "common/philox.cuh"

using namespace assay;

namespace latent {

/// Words of a row, as a power of two.
constexpr u32 WORDS_PER_ROW = 22;

// Coefficients of M. J. Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37(3), 1988,
// routine PPND16: those above and below, low powers first.
__device__ constexpr double CENTRE[2][8] = {
    {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
     4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3},
    {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
     2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3},
};
__device__ constexpr double NEAR[2][8] = {
    {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4},
    {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9},
};
__device__ constexpr double FAR[2][8] = {
    {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7},
    {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15},
};

ASSAY_DEVICE double rational(const double (&of)[2][8], double x) {
    double above = of[0][7], below = of[1][7];
#pragma unroll
    for (int i = 6; i >= 0; --i) {
        above = above * x + of[0][i];
        below = below * x + of[1][i];
    }
    return above / below;
}

/// What a standard normal variable stays below with probability p, which lies between 0 and 1.
ASSAY_DEVICE double quantile(double p) {
    const double q = p - 0.5;
    if (fabs(q) <= 0.425) return q * rational(CENTRE, 0.180625 - q * q);
    const double r = sqrt(-log(q < 0 ? p : 1.0 - p));
    const double magnitude = r <= 5.0 ? rational(NEAR, r - 1.6) : rational(FAR, r - 5.0);
    return q < 0 ? -magnitude : magnitude;
}

/// Number `place` of a row of normal numbers.
ASSAY_DEVICE double normal(Philox random, u64 row, u64 place) {
    const u64 first = (row << WORDS_PER_ROW) + 2 * place;
    const u64 bits = u64(random.word(first)) | u64(random.word(first + 1)) << 32;
    return quantile((double(bits >> 11) + 0.5) * (1.0 / 9007199254740992.0));
}

}  // namespace latent

// noise, z[b][i] = mu + e^(v / 2) noise, divergences[b] = sum_i (mu^2 + e^v - 1 - v) / 2, of heads: mu of a row and behind that v. A
// thread has one row at a time.
__global__ void __launch_bounds__(128) codes(float* noise, float* z, float* divergences, const float* heads, const u64* turn, u64 batch,
                                             u64 code, u64 seed, u64 stream) {
    for (u64 b = grid_thread(); b < batch; b += grid_threads()) {
        const float *const mu = heads + 2 * b * code, *const v = mu + code;
        const u64 row = *turn * batch + b;
        float sum = 0;
        for (u64 i = 0; i < code; ++i) {
            const float eps = static_cast<float>(latent::normal(Philox{seed, stream}, row, i));
            noise[b * code + i] = eps;
            z[b * code + i] = mu[i] + expf(0.5f * v[i]) * eps;
            sum += 0.5f * (mu[i] * mu[i] + expf(v[i]) - 1.0f - v[i]);
        }
        divergences[b] = sum;
    }
}

// d_mu = dz + scale mu, d_v = dz e^(v / 2) noise / 2 + scale (e^v - 1) / 2; a thread has one number of a code at a time.
__global__ void __launch_bounds__(128)
    codes_backward(float* d_heads, const float* heads, const float* noise, const float* dz, u64 batch, u64 code, float scale) {
    for (u64 i = grid_thread(); i < batch * code; i += grid_threads()) {
        const u64 at = i / code * 2 * code + i % code;
        const float mu = heads[at], v = heads[at + code];
        d_heads[at] = dz[i] + scale * mu;
        d_heads[at + code] = 0.5f * dz[i] * expf(0.5f * v) * noise[i] + 0.5f * scale * (expf(v) - 1.0f);
    }
}
