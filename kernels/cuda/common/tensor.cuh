// Tensor cores: what a warp multiplies at once, and how operands come to it.
//
// One instruction multiplies A of 16 by K by B of K by 8 and adds the product to 16 by 8 accumulators. Operands lie in
// registers of 32 bits as the PTX ISA has it ("Matrix fragments for mma.m16n8k*"): with P elements a register, group g =
// lane / 4 and t = lane % 4,
//
// | register | holds                                            |
// | a[i]     | A[g + 8 (i % 2)][P t + 4 P (i / 2) + 0 .. P - 1] |
// | b[i]     | B[P t + 4 P i + 0 .. P - 1][g]                   |
// | c[i]     | C[g + 8 (i / 2)][2 t + i % 2]                    |
//
// Under emulation all of this is written out: the lanes lay down their registers, and each computes its accumulators from
// the same table. Sums are cut off after 24 bits there, as tensor cores are known to do and a device need not.
#pragma once

#include "common/half.cuh"

namespace assay {

/// Kinds of operands. K is the depth of one instruction; PER_REGISTER is P above.
struct F16Tensor {
    using Accumulator = float;
    static constexpr u32 K = 16, PER_REGISTER = 2;
};
struct Bf16Tensor {
    using Accumulator = float;
    static constexpr u32 K = 16, PER_REGISTER = 2;
};
/// `float` of which 10 bits of fraction count: see `to_tf32`.
struct Tf32Tensor {
    using Accumulator = float;
    static constexpr u32 K = 8, PER_REGISTER = 1;
};
/// Since sm_89.
struct F8Tensor {
    using Accumulator = float;
    static constexpr u32 K = 32, PER_REGISTER = 4;
};
struct I8Tensor {
    using Accumulator = i32;
    static constexpr u32 K = 32, PER_REGISTER = 4;
};

/// Rounds to 10 bits of fraction, to nearest, ties away from zero, as `cvt.rna.tf32.f32` does.
ASSAY_DEVICE u32 to_tf32(u32 bits) {
#ifndef ASSAY_EMULATION
    u32 rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
    return rounded;
#else
    return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & 0xFFFFE000u;
#endif
}

#ifdef ASSAY_EMULATION
namespace emulated {

ASSAY_DEVICE double value(F16Tensor, u32 bits, u32 place) { return f16_value_of(static_cast<u16>(bits >> (16 * place))); }
ASSAY_DEVICE double value(Bf16Tensor, u32 bits, u32 place) { return bf16_value_of(static_cast<u16>(bits >> (16 * place))); }
ASSAY_DEVICE double value(Tf32Tensor, u32 bits, u32) { return from_bits(bits & 0xFFFFE000u); }
ASSAY_DEVICE double value(F8Tensor, u32 bits, u32 place) { return f8e4m3_value_of(static_cast<u8>(bits >> (8 * place))); }
ASSAY_DEVICE double value(I8Tensor, u32 bits, u32 place) { return static_cast<i8>(static_cast<u8>(bits >> (8 * place))); }

/// The nearest number towards zero.
ASSAY_DEVICE float cut(float, double exact) {
    const float nearest = static_cast<float>(exact);
    const bool beyond = exact < 0 ? nearest < exact : nearest > exact;
    return beyond ? from_bits(to_bits(nearest) - 1) : nearest;
}
ASSAY_DEVICE i32 cut(i32, double exact) { return static_cast<i32>(static_cast<u32>(static_cast<i64>(exact))); }

/// What lanes hand each other within an instruction is no memory that a kernel could get wrong: nobody watches it. And it is most of
/// what such kernels do: it is optimised where they are not.
#define ASSAY_UNSEEN __attribute__((noinline, optimize("O2"), no_sanitize("address", "undefined", "thread"))) inline

/// Waits for all lanes of the warp. Their memory is in no order by that, as instructions of tensor cores put it in none.
ASSAY_DEVICE void meet() { __any_sync(0xFFFFFFFF, 1); }

/// Operands of the lanes of each warp of a block.
struct Operands {
    u32 a[4], b[2];
};

template <class Kind>
ASSAY_UNSEEN void multiply(typename Kind::Accumulator (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    __shared__ Operands lanes[1024];
    constexpr u32 P = Kind::PER_REGISTER;
    Operands* const warp = lanes + threadIdx.x / 32 * 32;
    const u32 lane = threadIdx.x % 32;
    for (u32 i = 0; i < 4; ++i) warp[lane].a[i] = a[i];
    for (u32 i = 0; i < 2; ++i) warp[lane].b[i] = b[i];
    meet();
    // Two rows of A and two columns of B, register by register.
    double left[2][Kind::K], right[2][Kind::K];
    for (u32 t = 0; t < 4; ++t) {
        for (u32 half = 0; half < 2; ++half) {
            for (u32 i = 0; i < 2; ++i) {
                const u32 of_a = warp[lane / 4 * 4 + t].a[i + 2 * half], of_b = warp[(lane % 4 * 2 + i) * 4 + t].b[half];
                for (u32 place = 0; place < P; ++place) {
                    left[i][half * 4 * P + t * P + place] = value(Kind(), of_a, place);
                    right[i][half * 4 * P + t * P + place] = value(Kind(), of_b, place);
                }
            }
        }
    }
    for (u32 i = 0; i < 4; ++i) {
        double sum = c[i];
        for (u32 k = 0; k < Kind::K; ++k) sum += left[i / 2][k] * right[i % 2][k];
        c[i] = cut(c[i], sum);
    }
    meet();
}

/// The rows that lanes of these numbers name.
template <u32 COUNT>
ASSAY_UNSEEN void rows_of(const void* (&rows)[COUNT], const u32 (&sources)[COUNT], const void* own) {
    __shared__ const void* all[1024];
    if (reinterpret_cast<u64>(own) % 16 != 0) __trap();
    const void** const warp = all + threadIdx.x / 32 * 32;
    warp[threadIdx.x % 32] = own;
    meet();
    for (u32 i = 0; i < COUNT; ++i) rows[i] = warp[sources[i]];
    meet();
}

}  // namespace emulated

template <class Kind>
ASSAY_DEVICE void multiply(typename Kind::Accumulator (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emulated::multiply<Kind>(c, a, b);
}
#else
#define ASSAY_MULTIPLY(kind, instruction, constraint)                                                            \
    ASSAY_DEVICE void multiply(kind, kind::Accumulator(&c)[4], const u32(&a)[4], const u32(&b)[2]) {             \
        asm(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"              \
                     : "+" constraint(c[0]), "+" constraint(c[1]), "+" constraint(c[2]), "+" constraint(c[3])    \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                        \
    }
ASSAY_MULTIPLY(F16Tensor, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "f")
ASSAY_MULTIPLY(Bf16Tensor, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "f")
ASSAY_MULTIPLY(Tf32Tensor, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", "f")
ASSAY_MULTIPLY(F8Tensor, "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32", "f")
ASSAY_MULTIPLY(I8Tensor, "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", "r")
#undef ASSAY_MULTIPLY

/// c += a b, by all lanes of a warp.
template <class Kind>
ASSAY_DEVICE void multiply(typename Kind::Accumulator (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    multiply(Kind(), c, a, b);
}
#endif

/// Loads four matrices of 8 rows of 16 bytes from shared memory: the address that lane `l` gives is row `l % 8` of matrix
/// `l / 8`. r[i] gets word `lane % 4` of row `lane / 4` of matrix `i`.
ASSAY_DEVICE void load_matrices(u32 (&r)[4], const void* row) {
#ifndef ASSAY_EMULATION
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<u32>(__cvta_generic_to_shared(row)))
                 : "memory");
#else
    const void* rows[4];
    const u32 lane = threadIdx.x % 32;
    emulated::rows_of<4>(rows, {lane / 4, lane / 4 + 8, lane / 4 + 16, lane / 4 + 24}, row);
    for (u32 i = 0; i < 4; ++i) r[i] = static_cast<const u32*>(rows[i])[lane % 4];
#endif
}

/// The same, each matrix of 8 by 8 elements of 16 bits transposed: r[i] gets elements `lane / 4` of rows `2 (lane % 4)` and
/// `2 (lane % 4) + 1` of matrix `i`.
ASSAY_DEVICE void load_matrices_transposed(u32 (&r)[4], const void* row) {
#ifndef ASSAY_EMULATION
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<u32>(__cvta_generic_to_shared(row)))
                 : "memory");
#else
    const void* rows[8];
    const u32 lane = threadIdx.x % 32, first = lane % 4 * 2;
    emulated::rows_of<8>(
        rows, {first, first + 1, first + 8, first + 9, first + 16, first + 17, first + 24, first + 25}, row);
    for (u32 i = 0; i < 4; ++i) {
        const auto at = [&](u32 which) { return static_cast<u32>(static_cast<const u16*>(rows[which])[lane / 4]); };
        r[i] = at(2 * i) | at(2 * i + 1) << 16;
    }
#endif
}

/// Copies of a thread from global to shared memory that run while it goes on, in groups that end in the order in which they
/// were begun. What a copy writes is there for the thread once its group was waited for, for others after a barrier more.
///
/// Under emulation nothing but garbage is there before that.
class AsyncCopies {
  public:
    /// Begins copying 16 bytes, of which `valid` are read and the others 0. Both addresses are multiples of 16.
    ASSAY_DEVICE void copy16(void* to, const void* from, u32 valid) {
#ifndef ASSAY_EMULATION
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<u32>(__cvta_generic_to_shared(to))),
                     "l"(from), "r"(valid)
                     : "memory");
#else
        begin(to, from, 16, valid);
#endif
    }

    /// The same of 4 bytes, at multiples of 4.
    ASSAY_DEVICE void copy4(void* to, const void* from, u32 valid) {
#ifndef ASSAY_EMULATION
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(static_cast<u32>(__cvta_generic_to_shared(to))),
                     "l"(from), "r"(valid)
                     : "memory");
#else
        begin(to, from, 4, valid);
#endif
    }

    /// Ends a group.
    ASSAY_DEVICE void commit() {
#ifndef ASSAY_EMULATION
        asm volatile("cp.async.commit_group;" ::: "memory");
#else
        ++group_;
#endif
    }

    /// Waits until at most `LATER` groups are under way.
    template <u32 LATER>
    ASSAY_DEVICE void wait() {
#ifndef ASSAY_EMULATION
        asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory");
#else
        for (; done_ != begun_ && pending_[done_ % MOST].group + LATER < group_; ++done_) {
            const Copy& copy = pending_[done_ % MOST];
            for (u32 i = 0; i < copy.bytes; ++i) copy.to[i] = i < copy.valid ? copy.from[i] : 0;
        }
#endif
    }

#ifdef ASSAY_EMULATION
  private:
    struct Copy {
        u8* to;
        const u8* from;
        u32 bytes, valid, group;
    };

    void begin(void* to, const void* from, u32 bytes, u32 valid) {
        if ((reinterpret_cast<u64>(to) | reinterpret_cast<u64>(from)) % bytes != 0) __trap();
        pending_[begun_++ % MOST] = {static_cast<u8*>(to), static_cast<const u8*>(from), bytes, valid, group_};
        for (u32 i = 0; i < bytes; ++i) static_cast<u8*>(to)[i] = 0xFF;
    }

    static constexpr u32 MOST = 128;
    Copy pending_[MOST];
    u32 begun_ = 0, done_ = 0, group_ = 0;
#endif
};

}  // namespace assay
