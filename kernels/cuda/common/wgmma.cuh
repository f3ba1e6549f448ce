// Tensor cores of sm_90a: four warps multiply matrices that lie in shared memory, while they go on.
//
// One instruction multiplies A of 64 by K by B of K by 256 and adds the product to accumulators in the registers of a warp
// group, 128 threads that begin at a multiple of 128. Thread `t` of the group has c[i] = C[row][column] with
// row = 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2) and column = 8 (i / 4) + 2 (t % 4) + i % 2.
//
// Sources: PTX ISA, "Asynchronous warpgroup level matrix instructions", for the registers and descriptors; for the
// strides, the canonical layouts in CUTLASS, `cute/atom/mma_traits_sm90_gmma.hpp`.
#pragma once

#include "common/tensor.cuh"

namespace assay {

/// Where an operand lies in shared memory, swizzled over 128 bytes: the 16 bytes with number `c` of 8 in line `l` of 128 bytes
/// are stored as number `c ^ l % 8`. Lines are counted from an address that is a multiple of 1024.
///
/// K-major: line `r` of 8 is row (of A) or column (of B) `r`, along K; 8 rows more are `stride` bytes on.
/// N-major (B alone, of 16 bits): line `k` of 8 is 64 columns of row `k`; 8 rows more are `stride` bytes on, 64 columns more
/// `leading` bytes.
struct SharedMatrix {
#ifndef ASSAY_EMULATION
    u64 descriptor;

    ASSAY_DEVICE static SharedMatrix at(const void* start, u32 leading, u32 stride) {
        const u64 address = static_cast<u32>(__cvta_generic_to_shared(start));
        const u64 swizzle_128 = 1;
        return {(address & 0x3FFFF) >> 4 | u64(leading >> 4) << 16 | u64(stride >> 4) << 32 | swizzle_128 << 62};
    }

    /// The operand that begins so many bytes later: further along K.
    ASSAY_DEVICE SharedMatrix advanced(u32 bytes) const { return {descriptor + (bytes >> 4)}; }
#else
    const u8* start;
    u32 leading, stride;

    ASSAY_DEVICE static SharedMatrix at(const void* start, u32 leading, u32 stride) {
        return {static_cast<const u8*>(start), leading, stride};
    }
    ASSAY_DEVICE SharedMatrix advanced(u32 bytes) const { return {start + bytes, leading, stride}; }

    /// The register-sized word that holds byte `byte` from the start, as if nothing were swizzled.
    ASSAY_DEVICE u32 word(u32 byte) const {
        const u64 plain = reinterpret_cast<u64>(start) + byte / 4 * 4;
        return *reinterpret_cast<const u32*>(plain ^ (plain >> 7 & 7) << 4);
    }
    /// The word with element (`major`, `k`) of `size` bytes, `major` being the row of A or the column of B.
    ASSAY_DEVICE u32 k_major(u32 major, u32 k, u32 size) const { return word(major / 8 * stride + major % 8 * 128 + k * size); }
    ASSAY_DEVICE u32 n_major(u32 column, u32 k) const {
        return word(column / 64 * leading + k / 8 * stride + k % 8 * 128 + column % 64 * 2);
    }
#endif
};

#ifndef ASSAY_EMULATION
#define ASSAY_128_OPERANDS \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
    "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, " \
    "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, " \
    "%62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
    "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, " \
    "%101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, " \
    "%117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define ASSAY_8_ACCUMULATORS(constraint, i)                                                                               \
    "+" constraint(c[i]), "+" constraint(c[i + 1]), "+" constraint(c[i + 2]), "+" constraint(c[i + 3]),                   \
        "+" constraint(c[i + 4]), "+" constraint(c[i + 5]), "+" constraint(c[i + 6]), "+" constraint(c[i + 7])
#define ASSAY_32_ACCUMULATORS(constraint, i)                                               \
    ASSAY_8_ACCUMULATORS(constraint, i), ASSAY_8_ACCUMULATORS(constraint, i + 8),          \
        ASSAY_8_ACCUMULATORS(constraint, i + 16), ASSAY_8_ACCUMULATORS(constraint, i + 24)
/// `modes`: whether to add to the accumulators (always), signs of A and B, and where they can be, whether each is transposed.
#define ASSAY_MULTIPLY(kind, layout, instruction, modes, constraint)                                                       \
    ASSAY_DEVICE void multiply_group(kind, layout, kind::Accumulator(&c)[128], SharedMatrix a, SharedMatrix b) {           \
        asm volatile("{ .reg .pred add; setp.eq.u32 add, 0, 0; " instruction " {" ASSAY_128_OPERANDS "}, %128, %129, " modes \
                     "; }"                                                                                                 \
                     : ASSAY_32_ACCUMULATORS(constraint, 0), ASSAY_32_ACCUMULATORS(constraint, 32),                        \
                       ASSAY_32_ACCUMULATORS(constraint, 64), ASSAY_32_ACCUMULATORS(constraint, 96)                        \
                     : "l"(a.descriptor), "l"(b.descriptor)                                                                \
                     : "memory");                                                                                          \
    }
#endif

/// How B lies in shared memory; A is always K-major.
struct KMajor {};
struct NMajor {};

#ifndef ASSAY_EMULATION
ASSAY_MULTIPLY(F16Tensor, KMajor, "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16", "add, 1, 1, 0, 0", "f")
ASSAY_MULTIPLY(F16Tensor, NMajor, "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16", "add, 1, 1, 0, 1", "f")
ASSAY_MULTIPLY(Bf16Tensor, KMajor, "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16", "add, 1, 1, 0, 0", "f")
ASSAY_MULTIPLY(Bf16Tensor, NMajor, "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16", "add, 1, 1, 0, 1", "f")
ASSAY_MULTIPLY(Tf32Tensor, KMajor, "wgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32", "add, 1, 1", "f")
ASSAY_MULTIPLY(F8Tensor, KMajor, "wgmma.mma_async.sync.aligned.m64n256k32.f32.e4m3.e4m3", "add, 1, 1", "f")
ASSAY_MULTIPLY(I8Tensor, KMajor, "wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8", "add", "r")
#undef ASSAY_MULTIPLY
#undef ASSAY_128_OPERANDS
#undef ASSAY_8_ACCUMULATORS
#undef ASSAY_32_ACCUMULATORS
#endif

/// Multiplications of a warp group that run while it goes on: between `begin` and `wait` its accumulators belong to them, and
/// shared memory that they read must stay as it is. All threads of the group call everything together.
///
/// Under emulation products are taken when they are waited for, and it is an error if operands were not there from the
/// beginning.
template <class Kind>
class GroupMultiplications {
  public:
    using Accumulator = typename Kind::Accumulator;

    /// To be called before each group: what was done to accumulators is done.
    ASSAY_DEVICE void begin(Accumulator (&c)[128]) {
#ifndef ASSAY_EMULATION
        keep_in_place(c);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
    }

    /// c += a b.
    template <class Layout>
    ASSAY_DEVICE void multiply(Layout layout, Accumulator (&c)[128], SharedMatrix a, SharedMatrix b) {
#ifndef ASSAY_EMULATION
        multiply_group(Kind(), layout, c, a, b);
#else
        pending_[begun_++ % MOST] = {c, a, b, is_n_major(layout), seen(a, b, is_n_major(layout)), group_};
#endif
    }

    /// Ends a group of multiplications.
    ASSAY_DEVICE void commit() {
#ifndef ASSAY_EMULATION
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
        ++group_;
#endif
    }

    /// Waits until at most `LATER` groups are under way; with none, accumulators can be read.
    template <u32 LATER>
    ASSAY_DEVICE void wait(Accumulator (&c)[128]) {
#ifndef ASSAY_EMULATION
        asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LATER) : "memory");
        keep_in_place(c);
#else
        for (; done_ != begun_ && pending_[done_ % MOST].group + LATER < group_; ++done_) {
            const Product& product = pending_[done_ % MOST];
            if (product.seen != seen(product.a, product.b, product.n_major)) __trap();
            take(product);
        }
#endif
    }

  private:
#ifndef ASSAY_EMULATION
    /// Keeps the compiler from moving what touches accumulators across: it does not know that they change later.
    ASSAY_DEVICE static void keep_in_place(float (&c)[128]) {
#pragma unroll
        for (u32 i = 0; i < 128; ++i) asm volatile("" : "+f"(c[i])::"memory");
    }
    ASSAY_DEVICE static void keep_in_place(i32 (&c)[128]) {
#pragma unroll
        for (u32 i = 0; i < 128; ++i) asm volatile("" : "+r"(c[i])::"memory");
    }
#else
    struct Product {
        Accumulator* c;
        SharedMatrix a, b;
        bool n_major;
        u64 seen;
        u32 group;
    };
    static constexpr u32 MOST = 64, P = Kind::PER_REGISTER, SIZE = 4 / P;

    static bool is_n_major(KMajor) { return false; }
    static bool is_n_major(NMajor) { return true; }
    static u32 right(const SharedMatrix& b, bool n_major, u32 k, u32 column) {
        return n_major ? b.n_major(column, k) : b.k_major(column, k, SIZE);
    }

    /// A digest of what this thread needs of both operands: its two rows, and two of 256 columns.
    static u64 seen(const SharedMatrix& a, const SharedMatrix& b, bool n_major) {
        const u32 thread = threadIdx.x % 128, row = thread / 32 * 16 + thread % 32 / 4;
        u64 digest = 0;
        for (u32 k = 0; k < Kind::K; ++k) {
            digest = (digest + a.k_major(row, k, SIZE)) * 0x9E3779B97F4A7C15u;
            digest = (digest + a.k_major(row + 8, k, SIZE)) * 0x9E3779B97F4A7C15u;
            digest = (digest + right(b, n_major, k, 2 * thread)) * 0x9E3779B97F4A7C15u;
            digest = (digest + right(b, n_major, k, 2 * thread + 1)) * 0x9E3779B97F4A7C15u;
        }
        return digest;
    }

    static void take(const Product& product) {
        const u32 thread = threadIdx.x % 128;
        const u32 row = thread / 32 * 16 + thread % 32 / 4;
        double left[2][Kind::K];
        for (u32 k = 0; k < Kind::K; ++k) {
            for (u32 i = 0; i < 2; ++i) left[i][k] = emulated::value(Kind(), product.a.k_major(row + 8 * i, k, SIZE), k % P);
        }
        for (u32 i = 0; i < 128; i += 4) {
            const u32 column = 2 * i + thread % 4 * 2;
            double sums[2][2];
            for (u32 j = 0; j < 4; ++j) sums[j / 2][j % 2] = product.c[i + j];
            for (u32 k = 0; k < Kind::K; ++k) {
                // N-major, both columns are in one word.
                const u32 first = right(product.b, product.n_major, k, column);
                const u32 second = product.n_major ? first : right(product.b, product.n_major, k, column + 1);
                const double b[2] = {emulated::value(Kind(), first, product.n_major ? 0 : k % P),
                                     emulated::value(Kind(), second, product.n_major ? 1 : k % P)};
                for (u32 j = 0; j < 4; ++j) sums[j / 2][j % 2] += left[j / 2][k] * b[j % 2];
            }
            for (u32 j = 0; j < 4; ++j) product.c[i + j] = emulated::cut(Accumulator(), sums[j / 2][j % 2]);
        }
    }

    Product pending_[MOST];
    u32 begun_ = 0, done_ = 0, group_ = 0;
#endif
};

/// Makes what this thread wrote to shared memory visible to tensor cores and copy engines; a barrier follows.
ASSAY_DEVICE void publish_shared() {
#ifndef ASSAY_EMULATION
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

}  // namespace assay
