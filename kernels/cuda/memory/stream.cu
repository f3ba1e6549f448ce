// STREAM and BabelStream's element-wise kernels. Each thread moves `PER_THREAD` items, a block's width apart, all loaded
// before the first is used; an item is an element (scalar) or 16 bytes (vector). The tail that is no whole
// item is done by the last block's first threads.
#include "common/cuda.cuh"

using namespace assay;

namespace stream {

constexpr int PER_THREAD = 4;

template <class T>
struct Copy {
    static __device__ T apply(T, T first, T, T) { return first; }
    static constexpr bool SECOND = false, OUT = false;
};
template <class T>
struct Mul {
    static __device__ T apply(T, T first, T, T scalar) { return scalar * first; }
    static constexpr bool SECOND = false, OUT = false;
};
template <class T>
struct Add {
    static __device__ T apply(T, T first, T second, T) { return first + second; }
    static constexpr bool SECOND = true, OUT = false;
};
template <class T>
struct Triad {
    static __device__ T apply(T, T first, T second, T scalar) { return first + scalar * second; }
    static constexpr bool SECOND = true, OUT = false;
};
template <class T>
struct Nstream {
    static __device__ T apply(T out, T first, T second, T scalar) { return out + (first + scalar * second); }
    static constexpr bool SECOND = true, OUT = true;
};

// 16 bytes of T.
template <class T>
struct alignas(16) Pack {
    T at[16 / sizeof(T)];
};

template <class Op, class T>
__device__ Pack<T> apply(const Pack<T>& out, const Pack<T>& first, const Pack<T>& second, T scalar) {
    Pack<T> result;
#pragma unroll
    for (int i = 0; i < int(16 / sizeof(T)); ++i) {
        result.at[i] = Op::apply(out.at[i], first.at[i], second.at[i], scalar);
    }
    return result;
}

template <class Op, class T>
__device__ T apply(T out, T first, T second, T scalar) {
    return Op::apply(out, first, second, scalar);
}

// Items of type Item, `count` of them.
template <class Op, class T, class Item>
__device__ void items(Item* out, const Item* first, const Item* second, T scalar, u64 count) {
    const u64 base = u64(blockIdx.x) * blockDim.x * PER_THREAD + threadIdx.x;
    Item a[PER_THREAD] = {}, b[PER_THREAD] = {}, o[PER_THREAD] = {};
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < count) {
            a[k] = first[i];
            if (Op::SECOND) b[k] = second[i];
            if (Op::OUT) o[k] = out[i];
        }
    }
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < count) out[i] = apply<Op>(o[k], a[k], b[k], scalar);
    }
}

}  // namespace stream

// out[i] = Op(out[i], first[i], second[i]), i < n
template <class Op, class T>
__global__ void stream_scalar(T* out, const T* first, const T* second, T scalar, u64 n) {
    stream::items<Op, T, T>(out, first, second, scalar, n);
}

template <class Op, class T>
__global__ void stream_vector(T* out, const T* first, const T* second, T scalar, u64 n) {
    using Pack = stream::Pack<T>;
    const u64 width = 16 / sizeof(T), packs = n / width;
    stream::items<Op, T, Pack>(
        reinterpret_cast<Pack*>(out), reinterpret_cast<const Pack*>(first), reinterpret_cast<const Pack*>(second), scalar, packs);
    const u64 i = packs * width + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) {
        out[i] = Op::apply(Op::OUT ? out[i] : T(), first[i], Op::SECOND ? second[i] : T(), scalar);
    }
}
