// What every source includes first, so that it is the same for NVRTC, for nvcc and for the emulation on a CPU.
//
// NVRTC compiles without any header, so the types of fixed width are our own. All names here and in the other files of
// this folder are in `assay`; a source says `using namespace assay;` below its includes.
#pragma once

/// The beginning of every function that a kernel calls.
#define ASSAY_DEVICE __device__ __forceinline__

#ifndef ASSAY_EMULATION
/// Declares `name`, a pointer to the shared memory whose size the launch gives. It is aligned to 16 bytes. One type of
/// pointer in a kernel: parts of other types are cast from it.
#define ASSAY_DYNAMIC_SHARED(type, name)                                       \
    extern __shared__ __align__(16) unsigned char assay_dynamic_shared[];      \
    type* const name = reinterpret_cast<type*>(assay_dynamic_shared)
#endif

namespace assay {

using i8 = signed char;
using u8 = unsigned char;
using i16 = short;
using u16 = unsigned short;
using i32 = int;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;

static_assert(sizeof(u16) == 2 && sizeof(u32) == 4 && sizeof(u64) == 8, "types of fixed width");

/// Also for constants and for types that the functions `min` and `max` do not know.
template <typename T>
__device__ constexpr T minimum(T a, T b) {
    return b < a ? b : a;
}

template <typename T>
__device__ constexpr T maximum(T a, T b) {
    return a < b ? b : a;
}

/// How many pieces of `size` cover `count`.
template <typename T>
__device__ constexpr T ceil_div(T count, T size) {
    return count / size + (count % size != 0 ? 1 : 0);
}

/// This thread's number in the whole grid, and the number of threads in it (both in x).
ASSAY_DEVICE u64 grid_thread() { return static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x; }
ASSAY_DEVICE u64 grid_threads() { return static_cast<u64>(gridDim.x) * blockDim.x; }

/// The device's clock in nanoseconds. It may advance in steps of a microsecond or more.
ASSAY_DEVICE u64 globaltimer_ns() {
#ifndef ASSAY_EMULATION
    u64 now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now)::"memory");
    return now;
#else
    return emulation::globaltimer_ns();
#endif
}

/// The bits of a number, and the number of bits.
ASSAY_DEVICE u32 to_bits(float value) { return __float_as_uint(value); }
ASSAY_DEVICE float from_bits(u32 bits) { return __uint_as_float(bits); }

/// Stores 16 bytes at once, whatever the value was made of: the compiler takes an ordinary store apart again where the four
/// were loaded one by one.
ASSAY_DEVICE void store_vector(float* to, float4 value) {
#ifndef ASSAY_EMULATION
    asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w) : "memory");
#else
    *reinterpret_cast<float4*>(to) = value;
#endif
}

}  // namespace assay
