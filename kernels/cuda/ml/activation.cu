// Activations element by element, of what is there or of that and a bias, and their gradients; a thread has one pack.
#include "ml/rows.cuh"

using namespace assay;

/// Beyond it the derivatives' second terms are 0, and are computed from this.
constexpr float FLAT = 20.0f;

/// What is no number stays none.
ASSAY_DEVICE float clamped(float x) {
    const float below = x > FLAT ? FLAT : x;
    return below < -FLAT ? -FLAT : below;
}

ASSAY_DEVICE float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

/// `x P(x)`, with the normal distribution.
struct GeluErf {
    static constexpr bool BINARY = false;

    static ASSAY_DEVICE float below(float x) { return 0.5f * (1.0f + erff(x * 0.70710678f)); }
    static ASSAY_DEVICE float forward(float x, float) { return x * below(x); }
    static ASSAY_DEVICE void backward(float x, float, float dy, float& dx, float&) {
        const float near = clamped(x);
        dx = dy * (below(x) + near * 0.3989423f * expf(-0.5f * near * near));
    }
};

/// The form with the hyperbolic tangent, `(1 + tanh z) / 2` being the logistic function of `2 z`.
struct GeluTanh {
    static constexpr bool BINARY = false;
    static constexpr float SLOPE = 2.0f * 0.7978846f, CUBE = 0.044715f;

    static ASSAY_DEVICE float below(float x) { return logistic(SLOPE * x * (1.0f + CUBE * x * x)); }
    static ASSAY_DEVICE float forward(float x, float) { return x * below(x); }
    static ASSAY_DEVICE void backward(float x, float, float dy, float& dx, float&) {
        const float near = clamped(x), share = below(x);
        dx = dy * (share + near * share * (1.0f - share) * (SLOPE * (1.0f + 3.0f * CUBE * near * near)));
    }
};

/// `a / (1 + e^-a) b`
struct SwiGlu {
    static constexpr bool BINARY = true;

    static ASSAY_DEVICE float forward(float gate, float up) { return gate * logistic(gate) * up; }
    static ASSAY_DEVICE void backward(float gate, float up, float dout, float& dgate, float& dup) {
        const float share = logistic(gate);
        dgate = dout * up * (share + gate * share * (1.0f - share));
        dup = dout * gate * share;
    }
};

/// No activation.
struct Same {
    static ASSAY_DEVICE float forward(float x, float) { return x; }
};

// out[i] = F(a[i], b[i]), i < n; W divides n.
template <class F, class T, int W>
__global__ void activation(u64 n, T* out, const T* a, const T* b) {
    const u64 i = grid_thread();
    if (i >= n / W) return;
    Floats<T, W> left, right = {};
    left.load(a, i);
    if (F::BINARY) right.load(b, i);
#pragma unroll
    for (int j = 0; j < W; ++j) left.at[j] = F::forward(left.at[j], right.at[j]);
    left.store(out, i);
}

// da[i], db[i] = dout[i] times the derivatives of F(a[i], b[i]); db is not written where F has one argument.
template <class F, class T, int W>
__global__ void activation_backward(u64 n, T* da, T* db, const T* a, const T* b, const T* dout) {
    const u64 i = grid_thread();
    if (i >= n / W) return;
    Floats<T, W> left, right = {}, gradient;
    left.load(a, i);
    if (F::BINARY) right.load(b, i);
    gradient.load(dout, i);
#pragma unroll
    for (int j = 0; j < W; ++j) {
        float of_left, of_right = 0.0f;
        F::backward(left.at[j], right.at[j], gradient.at[j], of_left, of_right);
        left.at[j] = of_left;
        right.at[j] = of_right;
    }
    left.store(da, i);
    if (F::BINARY) right.store(db, i);
}

// out[i] = F(x[i] + bias[i % cols]), i < n; W divides cols.
template <class F, class T, int W>
__global__ void bias_forward(u64 n, T* out, const T* x, const float* bias, u64 cols) {
    const u64 i = grid_thread();
    if (i >= n / W) return;
    Floats<T, W> values;
    Floats<float, W> added;
    values.load(x, i);
    added.load(bias, i % (cols / W));
#pragma unroll
    for (int j = 0; j < W; ++j) values.at[j] = F::forward(values.at[j] + added.at[j], 0.0f);
    values.store(out, i);
}

// dx[i] = dy[i] F'(x[i] + bias[i % cols])
template <class F, class T, int W>
__global__ void bias_backward(u64 n, T* dx, const T* x, const float* bias, const T* dy, u64 cols) {
    const u64 i = grid_thread();
    if (i >= n / W) return;
    Floats<T, W> values, gradient;
    Floats<float, W> added;
    values.load(x, i);
    gradient.load(dy, i);
    added.load(bias, i % (cols / W));
#pragma unroll
    for (int j = 0; j < W; ++j) {
        float unused;
        F::backward(values.at[j] + added.at[j], 0.0f, gradient.at[j], values.at[j], unused);
    }
    values.store(dx, i);
}
