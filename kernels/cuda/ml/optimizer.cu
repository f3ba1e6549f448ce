// Steps of optimizers: parameters and states f32, gradients f32 or bf16. What each does, and the paper that it is from, is
// in `ops/optimizer/rules.rs`; here are the same formulas. A thread takes four parameters, all loaded before the first is
// used; the last ones, that are no whole four, are done by the last block's first threads.
#include "common/block.cuh"
#include "common/half.cuh"

using namespace assay;

namespace optimizer {

constexpr u32 THREADS = 256, STATES = 4, CONSTANTS = 5;
/// Places of the buffer of what changes from step to step.
enum Place { RATE, FIRST, SECOND, UNSCALE, CLIP, PROCEED, STEP };

/// What a step reads of it, with corrections to multiply by.
struct Pace {
    float rate, first, second, factor;
    bool is_first;

    ASSAY_DEVICE explicit Pace(const float* at)
        : rate(at[RATE]), first(1.0f / at[FIRST]), second(1.0f / at[SECOND]), factor(at[UNSCALE] * at[CLIP]),
          is_first(at[STEP] <= 1.0f) {}
};

/// The constants of a rule, in the order in which it names them.
struct Constants {
    float at[CONSTANTS];
};

template <class T>
struct alignas(4 * sizeof(T)) FourOf {
    T at[4];
};

}  // namespace optimizer

struct Sgd {
    static constexpr u32 STATES = 1;
    static __device__ float update(const optimizer::Constants& c, const optimizer::Pace& pace, float p, float g, float* s) {
        const float momentum = c.at[0], decay = c.at[1];
        s[0] = momentum * s[0] - pace.rate * g;
        return p + (s[0] - pace.rate * decay * p);
    }
};

struct AdamW {
    static constexpr u32 STATES = 2;
    static __device__ float update(const optimizer::Constants& c, const optimizer::Pace& pace, float p, float g, float* s) {
        const float alpha = c.at[0], beta1 = c.at[1], beta2 = c.at[2], epsilon = c.at[3], decay = c.at[4];
        s[0] = beta1 * s[0] + (1.0f - beta1) * g;
        s[1] = beta2 * s[1] + (1.0f - beta2) * (g * g);
        const float direction = s[0] * pace.first / (__fsqrt_rn(s[1] * pace.second) + epsilon);
        return p - pace.rate * (alpha * direction + decay * p);
    }
};

struct Lion {
    static constexpr u32 STATES = 1;
    static __device__ float update(const optimizer::Constants& c, const optimizer::Pace& pace, float p, float g, float* s) {
        const float beta1 = c.at[0], beta2 = c.at[1], decay = c.at[2];
        const float mixed = beta1 * s[0] + (1.0f - beta1) * g;
        s[0] = beta2 * s[0] + (1.0f - beta2) * g;
        // What is neither above nor below stays: 0, or no number.
        const float sign = mixed > 0 ? 1.0f : mixed < 0 ? -1.0f : mixed;
        return p - pace.rate * (sign + decay * p);
    }
};

struct Adan {
    static constexpr u32 STATES = 4;
    static __device__ float update(const optimizer::Constants& c, const optimizer::Pace& pace, float p, float g, float* s) {
        const float beta1 = c.at[0], beta2 = c.at[1], beta3 = c.at[2], epsilon = c.at[3], decay = c.at[4];
        if (pace.is_first) {
            // So that the step leaves them as they are, but for rounding.
            s[0] = s[3] = g;
            s[1] = 0.0f;
            s[2] = g * g;
        }
        const float change = g - s[3], ahead = g + (1.0f - beta2) * change;
        s[0] = (1.0f - beta1) * s[0] + beta1 * g;
        s[1] = (1.0f - beta2) * s[1] + beta2 * change;
        s[2] = (1.0f - beta3) * s[2] + beta3 * (ahead * ahead);
        s[3] = g;
        const float rate = pace.rate / (__fsqrt_rn(s[2]) + epsilon);
        return (p - rate * (s[0] + (1.0f - beta2) * s[1])) * (1.0f / (1.0f + decay * pace.rate));
    }
};

struct SophiaG {
    static constexpr u32 STATES = 2;
    static __device__ float update(const optimizer::Constants& c, const optimizer::Pace& pace, float p, float g, float* s) {
        const float beta1 = c.at[0], gamma = c.at[1], epsilon = c.at[2], decay = c.at[3];
        s[0] = beta1 * s[0] + (1.0f - beta1) * g;
        // In this order of comparisons no NaN is lost.
        const float scaled = gamma * s[1];
        const float ratio = s[0] / (scaled < epsilon ? epsilon : scaled);
        const float clipped = ratio > 1.0f ? 1.0f : ratio < -1.0f ? -1.0f : ratio;
        return p - pace.rate * decay * p - pace.rate * clipped;
    }
};

// One step of n parameters, unless it is to be skipped. States that the rule has not are not looked at.
template <class Rule, class G>
__global__ void __launch_bounds__(optimizer::THREADS)
    optimizer_step(float* p, const G* g, float* s0, float* s1, float* s2, float* s3, const float* pace_at, float c0, float c1,
                   float c2, float c3, float c4, u64 n) {
    using namespace optimizer;
    if (pace_at[PROCEED] == 0) return;
    const Pace pace(pace_at);
    const Constants constants = {{c0, c1, c2, c3, c4}};
    float* const states[STATES] = {s0, s1, s2, s3};
    const u64 fours = n / 4, four = grid_thread();
    if (four < fours) {
        FourOf<float> values = reinterpret_cast<const FourOf<float>*>(p)[four];
        const FourOf<G> gradients = reinterpret_cast<const FourOf<G>*>(g)[four];
        FourOf<float> of_states[Rule::STATES];
#pragma unroll
        for (u32 k = 0; k < Rule::STATES; ++k) of_states[k] = reinterpret_cast<const FourOf<float>*>(states[k])[four];
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            float own[Rule::STATES];
#pragma unroll
            for (u32 k = 0; k < Rule::STATES; ++k) own[k] = of_states[k].at[j];
            values.at[j] = Rule::update(constants, pace, values.at[j], pace.factor * float(gradients.at[j]), own);
#pragma unroll
            for (u32 k = 0; k < Rule::STATES; ++k) of_states[k].at[j] = own[k];
        }
        reinterpret_cast<FourOf<float>*>(p)[four] = values;
#pragma unroll
        for (u32 k = 0; k < Rule::STATES; ++k) reinterpret_cast<FourOf<float>*>(states[k])[four] = of_states[k];
    }
    const u64 i = fours * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) {
        float own[Rule::STATES];
#pragma unroll
        for (u32 k = 0; k < Rule::STATES; ++k) own[k] = states[k][i];
        p[i] = Rule::update(constants, pace, p[i], pace.factor * float(g[i]), own);
#pragma unroll
        for (u32 k = 0; k < Rule::STATES; ++k) states[k][i] = own[k];
    }
}

// h = beta2 h + (1 - beta2) batch g^2 of n parameters, unless the step is to be skipped
template <class G>
__global__ void __launch_bounds__(optimizer::THREADS)
    optimizer_curvature(float* h, const G* g, const float* pace_at, float beta2, float batch, u64 n) {
    using namespace optimizer;
    if (pace_at[PROCEED] == 0) return;
    const float factor = Pace(pace_at).factor;
    const auto update = [=](float before, float gradient) {
        return beta2 * before + (1.0f - beta2) * (batch * (gradient * gradient));
    };
    const u64 fours = n / 4, four = grid_thread();
    if (four < fours) {
        FourOf<float> values = reinterpret_cast<const FourOf<float>*>(h)[four];
        const FourOf<G> gradients = reinterpret_cast<const FourOf<G>*>(g)[four];
#pragma unroll
        for (u32 j = 0; j < 4; ++j) values.at[j] = update(values.at[j], factor * float(gradients.at[j]));
        reinterpret_cast<FourOf<float>*>(h)[four] = values;
    }
    const u64 i = fours * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) h[i] = update(h[i], factor * float(g[i]));
}

// How the rate rises and falls, as shares of its peak: `Shape` of `optimizer/schedule.rs`, in its order.
enum Shape : u32 { COSINE, POLYNOMIAL, ONE_CYCLE };

ASSAY_DEVICE double rise(u32 shape, double share) {
    if (shape != ONE_CYCLE) return share;
    const double least = 1.0 / 25.0;
    return least + (1.0 - least) * (0.5 - 0.5 * cospi(share));
}

ASSAY_DEVICE double fall(u32 shape, double power, double share) {
    return shape == POLYNOMIAL ? pow(1.0 - share, power) : 0.5 + 0.5 * cospi(share);
}

// Counts a step that is not skipped, and writes its learning rate and corrections: one thread
__global__ void clock_advance(double* clock, float* pace, double beta1, double beta2, float peak, float floor, u32 warmup,
                              u32 steps, u32 shape, double power) {
    using namespace optimizer;
    if (pace[PROCEED] == 0) return;
    const double step = clock[0] + 1.0;
    clock[0] = step;
    clock[1] = __dmul_rn(clock[1], beta1);
    clock[2] = __dmul_rn(clock[2], beta2);
    double rate = peak;
    if (step < warmup) {
        rate = peak * rise(shape, step / warmup);
    } else if (steps != 0) {
        const double low = floor;
        rate = step >= steps ? low : low + (peak - low) * fall(shape, power, (step - warmup) / (double(steps) - warmup));
    }
    pace[RATE] = float(rate);
    pace[FIRST] = float(1.0 - clock[1]);
    pace[SECOND] = float(1.0 - clock[2]);
    pace[STEP] = float(step);
}
