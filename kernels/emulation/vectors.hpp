// The vector types that CUDA C++ has built in, with CUDA's sizes and alignments.
#pragma once

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define ASSAY_VECTORS(name, type, align2, align4)                                              \
    struct name##1 {                                                                           \
        type x;                                                                                \
    };                                                                                         \
    struct alignas(align2) name##2 {                                                           \
        type x, y;                                                                             \
    };                                                                                         \
    struct name##3 {                                                                           \
        type x, y, z;                                                                          \
    };                                                                                         \
    struct alignas(align4) name##4 {                                                           \
        type x, y, z, w;                                                                       \
    };                                                                                         \
    inline constexpr name##1 make_##name##1(type x) { return {x}; }                            \
    inline constexpr name##2 make_##name##2(type x, type y) { return {x, y}; }                 \
    inline constexpr name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }      \
    inline constexpr name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

ASSAY_VECTORS(char, signed char, 2, 4)
ASSAY_VECTORS(uchar, unsigned char, 2, 4)
ASSAY_VECTORS(short, short, 4, 8)
ASSAY_VECTORS(ushort, unsigned short, 4, 8)
ASSAY_VECTORS(int, int, 8, 16)
ASSAY_VECTORS(uint, unsigned int, 8, 16)
ASSAY_VECTORS(longlong, long long, 16, 16)
ASSAY_VECTORS(ulonglong, unsigned long long, 16, 16)
ASSAY_VECTORS(float, float, 8, 16)
ASSAY_VECTORS(double, double, 16, 16)

#undef ASSAY_VECTORS
