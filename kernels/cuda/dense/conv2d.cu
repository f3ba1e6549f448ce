// Convolution, forward, f32: images x NHWC, filters f RSCK, output y NPQK; zeros outside of an image.
//
// | kernel          | a block computes                            | a thread computes          |
// | conv2d_implicit | 128 pixels by 128 filters, as of a product  | 8 pixels by 8 filters      |
// | conv2d_direct   | 8 lines of 16 pixels by 64 filters          | 4 pixels by 8 filters      |
//
// Implicit: y is the product of a matrix whose rows are the windows of all pixels of the output, R S C elements each, and of
// the filters as they lie. That matrix is nowhere: tiles of it are looked up in the image on their way to shared memory.
// Each thread keeps where its pixels' windows begin, and steps its place in the window forward without a division.
//
// Direct: the part of the image that the windows of a block cover is in shared memory, some channels at a time, and of
// the filters one line of the window.
#include "common/tiles.cuh"

using namespace assay;

namespace convolution {

constexpr u32 THREADS = 256;

/// Sizes. None of their products that count pixels of the output or elements of a window is beyond 31 bits.
struct Shape {
    u32 batch, channels, filters, height, width, kernel, stride, padding, out_height, out_width;

    /// Whether a pixel, counted from an image's upper left one, is in the image. What is negative is a very large one.
    ASSAY_DEVICE bool has(i32 line, i32 column) const {
        return static_cast<u32>(line) < height && static_cast<u32>(column) < width;
    }

    /// The first element of a pixel, also of one that is not there.
    ASSAY_DEVICE i64 at(u32 image, i32 line, i32 column) const {
        return ((i64(image) * height + line) * width + column) * channels;
    }
};

/// Eight values of a line, from two places.
struct Eight {
    float at[8];

    ASSAY_DEVICE void load(const float* first, const float* second) {
        const float4 low = *reinterpret_cast<const float4*>(first), high = *reinterpret_cast<const float4*>(second);
        at[0] = low.x, at[1] = low.y, at[2] = low.z, at[3] = low.w;
        at[4] = high.x, at[5] = high.y, at[6] = high.z, at[7] = high.w;
    }
};

/// Stores four values of which `count` have a place. VECTOR: all four have, or none, and the address is a multiple of 16.
ASSAY_DEVICE void store_four(bool vector, float* to, const float* from, i32 count) {
    if (vector) {
        if (count > 0) *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
    } else {
#pragma unroll
        for (i32 i = 0; i < 4; ++i) {
            if (i < count) to[i] = from[i];
        }
    }
}

constexpr u32 ROWS = 128, COLUMNS = 128, DEPTH = 16;
/// Lines of the windows' tile, which lies transposed, begin in different banks of shared memory.
constexpr u32 WINDOW_LINE = ROWS + 4;

/// Tiles of windows, transposed, and of filters.
struct Tiles {
    float windows[DEPTH][WINDOW_LINE];
    float filters[DEPTH][COLUMNS];
};

/// An element of a window.
struct Place {
    u32 r, s, c;

    ASSAY_DEVICE void advance(const Shape& shape, u32 by) {
        c += by;
        while (c >= shape.channels) {
            c -= shape.channels;
            ++s;
            if (s == shape.kernel) {
                s = 0;
                ++r;
            }
        }
    }
};

/// Where the window of a pixel of the output begins.
struct Corner {
    i64 from;
    i32 line, column;

    /// Where there is no such pixel, its window is outside of every image.
    ASSAY_DEVICE Corner(const Shape& shape, u32 pixel) : from(0), line(-(1 << 30)), column(0) {
        const u32 of_image = shape.out_height * shape.out_width, image = pixel / of_image, within = pixel % of_image;
        if (image >= shape.batch) return;
        line = static_cast<i32>(within / shape.out_width * shape.stride) - static_cast<i32>(shape.padding);
        column = static_cast<i32>(within % shape.out_width * shape.stride) - static_cast<i32>(shape.padding);
        from = shape.at(image, line, column);
    }

    /// Whether an element of the window is in the image.
    ASSAY_DEVICE bool sees(const Shape& shape, const Place& place) const {
        return place.r < shape.kernel && shape.has(line + static_cast<i32>(place.r), column + static_cast<i32>(place.s));
    }
};

/// What a thread carries from global to shared memory: four elements of two windows, and of the filters at two places.
struct Carried {
    const float *input, *filters_from;
    /// From one place of the filters to the other.
    u64 filters_step;
    Corner corners[2];
    Place place;
    /// How many filters there are from this thread's first on, and how many places of the window.
    i32 filters_count, places;
    float windows[2][4];
    float4 filters[2];

    ASSAY_DEVICE Carried(const Shape& shape, const float* input_, const float* filters_, u32 window, u32 row, u32 column)
        : input(input_),
          corners{Corner(shape, row + threadIdx.x / 4), Corner(shape, row + threadIdx.x / 4 + 64)},
          place{0, 0, 0} {
        const u32 line = threadIdx.x / 32, first = column + threadIdx.x % 32 * 4;
        place.advance(shape, threadIdx.x % 4 * 4);
        filters_from = filters_ + u64(line) * shape.filters + first;
        filters_step = u64(8) * shape.filters;
        filters_count = static_cast<i32>(shape.filters - first);
        places = static_cast<i32>(window - line);
    }

    /// The tiles that are next in the window. VECTOR: channels and filters are multiples of four, so that four elements
    /// of a window are of one pixel.
    template <bool VECTOR>
    ASSAY_DEVICE void load(const Shape& shape) {
        load_windows<VECTOR>(shape);
#pragma unroll
        for (i32 i = 0; i < 2; ++i) {
            const i32 count = places > 8 * i ? filters_count : 0;
            const float* const from = filters_from + u64(i) * filters_step;
            const auto at = [&](i32 j) { return j < count ? from[j] : 0.0f; };
            if (VECTOR) {
                filters[i] = count > 0 ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0);
            } else {
                filters[i] = make_float4(at(0), at(1), at(2), at(3));
            }
        }
        places -= DEPTH;
        filters_from += 2 * filters_step;
    }

    template <bool VECTOR>
    ASSAY_DEVICE void load_windows(const Shape& shape) {
        constexpr u32 STEP = VECTOR ? 4 : 1;
        Place now = place;
#pragma unroll
        for (u32 j = 0; j < 4; j += STEP) {
            const i64 within = shape.at(0, static_cast<i32>(now.r), static_cast<i32>(now.s)) + now.c;
#pragma unroll
            for (u32 i = 0; i < 2; ++i) {
                const bool is_there = corners[i].sees(shape, now);
                const float* const from = input + (is_there ? corners[i].from + within : 0);
                if (VECTOR) {
                    const float4 four = is_there ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0);
                    windows[i][0] = four.x, windows[i][1] = four.y, windows[i][2] = four.z, windows[i][3] = four.w;
                } else {
                    windows[i][j] = is_there ? *from : 0.0f;
                }
            }
            if (!VECTOR) now.advance(shape, 1);
        }
        place.advance(shape, DEPTH);
    }

    ASSAY_DEVICE void store(Tiles& tiles) const {
        const u32 t = threadIdx.x;
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
#pragma unroll
            for (u32 j = 0; j < 4; ++j) tiles.windows[t % 4 * 4 + j][t / 4 + i * 64] = windows[i][j];
            *reinterpret_cast<float4*>(&tiles.filters[t / 32 + i * 8][t % 32 * 4]) = filters[i];
        }
    }
};

/// Pixels and filters of a direct block: a warp has a line of pixels, a thread every fourth of them.
constexpr u32 LINES = 8, LINE = 16, FILTERS = 64;

/// What a direct block keeps in shared memory: `DEPTH` channels of a patch of an image, and a line of its filters. Pixels
/// of the patch begin in different banks, four of them of any distance that is odd or twice that.
template <u32 CHANNELS>
struct Patch {
    static constexpr u32 PITCH = CHANNELS + 4;

    const Shape& shape;
    float *pixels, *filters;
    u32 lines, width;

    ASSAY_DEVICE Patch(const Shape& shape_, float* shared)
        : shape(shape_),
          pixels(shared),
          lines((LINES - 1) * shape_.stride + shape_.kernel),
          width((LINE - 1) * shape_.stride + shape_.kernel) {
        filters = pixels + lines * width * PITCH;
    }

    /// Channels from `first` on of the patch whose upper left pixel is that.
    ASSAY_DEVICE void load_pixels(const float* input, u32 image, i32 top, i32 left, u32 first) {
        for (u32 i = threadIdx.x; i < lines * width * CHANNELS; i += THREADS) {
            const u32 pixel = i / CHANNELS, c = first + i % CHANNELS;
            const i32 line = top + static_cast<i32>(pixel / width), column = left + static_cast<i32>(pixel % width);
            const bool is_there = shape.has(line, column) && c < shape.channels;
            pixels[pixel * PITCH + i % CHANNELS] = is_there ? input[shape.at(image, line, column) + c] : 0.0f;
        }
    }

    /// The same channels of line `r` of filters from `k` on.
    ASSAY_DEVICE void load_filters(const float* all, u32 r, u32 first, u32 k) {
        for (u32 i = threadIdx.x; i < shape.kernel * CHANNELS * FILTERS; i += THREADS) {
            const u32 s = i / (CHANNELS * FILTERS), c = first + i / FILTERS % CHANNELS, filter = k + i % FILTERS;
            const u64 place = u64(r * shape.kernel + s) * shape.channels + c;
            const bool is_there = c < shape.channels && filter < shape.filters;
            filters[i] = is_there ? all[place * shape.filters + filter] : 0.0f;
        }
    }

    /// Adds what line `r` of the windows gives to a thread's sums.
    ASSAY_DEVICE void multiply(float (&sums)[4][8], u32 r) const {
        const u32 line = threadIdx.x / 32, column = threadIdx.x % 32 / 8, filter = threadIdx.x % 8 * 4;
        const float* const from = pixels + ((line * shape.stride + r) * width + column * shape.stride) * PITCH;
        const u32 step = 4 * shape.stride * PITCH;
        for (u32 s = 0; s < shape.kernel; ++s) {
#pragma unroll
            for (u32 c = 0; c < CHANNELS; c += 4) {
                float four[4][4];
#pragma unroll
                for (u32 i = 0; i < 4; ++i) {
                    const float4 pixel = *reinterpret_cast<const float4*>(from + s * PITCH + i * step + c);
                    four[i][0] = pixel.x, four[i][1] = pixel.y, four[i][2] = pixel.z, four[i][3] = pixel.w;
                }
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    const float* const line_of_filters = filters + (s * CHANNELS + c + j) * FILTERS + filter;
                    Eight eight;
                    eight.load(line_of_filters, line_of_filters + 32);
#pragma unroll
                    for (u32 i = 0; i < 4; ++i) {
#pragma unroll
                        for (u32 k = 0; k < 8; ++k) sums[i][k] = __fmaf_rn(four[i][j], eight.at[k], sums[i][k]);
                    }
                }
            }
        }
    }
};

}  // namespace convolution

/// Blocks of 256 threads compute 128 pixels by 128 filters. A warp has 32 by 64 of them, a thread 8 by 8: four blocks of 4
/// by 4, so that the lanes of a warp read different banks. VECTOR: channels and filters are multiples of four.
template <bool VECTOR>
__global__ void __launch_bounds__(convolution::THREADS, 2)
    conv2d_implicit(float* y, const float* x, const float* f, u32 batch, u32 channels, u32 filters, u32 height, u32 width,
                    u32 kernel, u32 stride, u32 padding, u32 out_height, u32 out_width) {
    using namespace convolution;
    __shared__ __align__(16) Tiles tiles[2];
    const Shape shape{batch, channels, filters, height, width, kernel, stride, padding, out_height, out_width};
    const u32 pixels = batch * out_height * out_width, window = kernel * kernel * channels;
    const Tile tile = tile_in_bands(blockIdx.x, ceil_div(pixels, ROWS), ceil_div(filters, COLUMNS));
    const u32 row = tile.row * ROWS, column = tile.column * COLUMNS;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 of_pixels = warp / 2 * 32 + lane / 8 * 4, of_filters = warp % 2 * 64 + lane % 8 * 4;
    float sums[8][8] = {};
    Carried carried(shape, x, f, window, row, column);
    carried.load<VECTOR>(shape);
    carried.store(tiles[0]);
    __syncthreads();
    u32 turn = 0;
    for (u32 first = 0; first < window; first += DEPTH) {
        const bool has_next = first + DEPTH < window;
        if (has_next) carried.load<VECTOR>(shape);
        const Tiles& now = tiles[turn];
#pragma unroll
        for (u32 i = 0; i < DEPTH; ++i) {
            Eight left, right;
            left.load(&now.windows[i][of_pixels], &now.windows[i][of_pixels + 16]);
            right.load(&now.filters[i][of_filters], &now.filters[i][of_filters + 32]);
#pragma unroll
            for (u32 r = 0; r < 8; ++r) {
#pragma unroll
                for (u32 s = 0; s < 8; ++s) sums[r][s] = __fmaf_rn(left.at[r], right.at[s], sums[r][s]);
            }
        }
        turn ^= 1;
        // The other tiles were read before the last barrier.
        if (has_next) carried.store(tiles[turn]);
        __syncthreads();
    }
#pragma unroll
    for (u32 r = 0; r < 8; ++r) {
        const u32 pixel = row + of_pixels + r / 4 * 16 + r % 4;
        if (pixel >= pixels) continue;
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 filter = column + of_filters + half * 32;
            store_four(VECTOR, y + u64(pixel) * filters + filter, sums[r] + half * 4, static_cast<i32>(filters - filter));
        }
    }
}

/// Blocks of 256 threads compute 8 lines of 16 pixels of an image by 64 filters, CHANNELS (4 or 8) at a time. Dynamic shared
/// memory: as `Patch` has it.
template <u32 CHANNELS>
__global__ void __launch_bounds__(convolution::THREADS, 2)
    conv2d_direct(float* y, const float* x, const float* f, u32 batch, u32 channels, u32 filters, u32 height, u32 width,
                  u32 kernel, u32 stride, u32 padding, u32 out_height, u32 out_width) {
    using namespace convolution;
    ASSAY_DYNAMIC_SHARED(float, shared);
    const Shape shape{batch, channels, filters, height, width, kernel, stride, padding, out_height, out_width};
    const u32 across = ceil_div(out_width, LINE), down = ceil_div(out_height, LINES), deep = ceil_div(filters, FILTERS);
    const u32 first_filter = blockIdx.x % deep * FILTERS, q = blockIdx.x / deep % across * LINE;
    const u32 p = blockIdx.x / deep / across % down * LINES, image = blockIdx.x / deep / across / down;
    const i32 top = static_cast<i32>(p * stride) - static_cast<i32>(padding);
    const i32 left = static_cast<i32>(q * stride) - static_cast<i32>(padding);
    Patch<CHANNELS> patch(shape, shared);
    float sums[4][8] = {};
    for (u32 first = 0; first < channels; first += CHANNELS) {
        for (u32 r = 0; r < kernel; ++r) {
            // What is loaded takes the place of what was multiplied last.
            __syncthreads();
            if (r == 0) patch.load_pixels(x, image, top, left, first);
            patch.load_filters(f, r, first, first_filter);
            __syncthreads();
            patch.multiply(sums, r);
        }
    }
    const u32 line = p + threadIdx.x / 32;
    if (line >= out_height) return;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 column = q + threadIdx.x % 32 / 8 + 4 * i;
        if (column >= out_width) continue;
        float* const pixel = y + ((u64(image) * out_height + line) * out_width + column) * filters;
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 filter = first_filter + threadIdx.x % 8 * 4 + half * 32;
            store_four(filters % 4 == 0, pixel + filter, sums[i] + half * 4, static_cast<i32>(filters - filter));
        }
    }
}
