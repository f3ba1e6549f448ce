// Pictures of a turn, drawn from a set and mixed, with soft labels (`kernels/src/ml/mixing.rs`), with the bits of the host: nothing is
// contracted.
#include "common/philox.cuh"

using namespace assay;

namespace mixing {

enum Kind : u32 { ALONE, MIXUP, CUTMIX, EITHER };

/// Words of a picture.
constexpr u64 WORDS = 8;

/// What becomes of a picture: rows of the set, what of its label is that of the first, and the lines and columns of the second's square.
struct Mix {
    u64 row, other;
    float share;
    bool cuts;
    u64 lines[2], columns[2];
};

/// Where a square of side `cut` about a centre begins and ends.
ASSAY_DEVICE void span(u64* ends, u64 centre, u64 cut, u64 side) {
    ends[0] = centre > cut / 2 ? centre - cut / 2 : 0;
    ends[1] = minimum(centre + cut - cut / 2, side);
}

ASSAY_DEVICE Mix of(u64 index, u32 rows, u64 side, u32 kind, Philox draw, Philox random) {
    Mix mix{};
    mix.row = below(draw.word(index), rows);
    mix.other = mix.row;
    mix.share = 1.0f;
    if (kind == ALONE) return mix;
    const auto word = [&](u64 place) { return random.word(index * WORDS + place); };
    mix.other = below(word(0), rows);
    mix.share = unit(word(1));
    mix.cuts = kind == CUTMIX || (kind == EITHER && (word(4) & 1) == 1);
    if (!mix.cuts) return mix;
    const u64 cut = static_cast<u64>(__fmul_rn(__fsqrt_rn(__fsub_rn(1.0f, mix.share)), static_cast<float>(side)));
    span(mix.lines, below(word(2), static_cast<u32>(side)), cut, side);
    span(mix.columns, below(word(3), static_cast<u32>(side)), cut, side);
    const u64 area = (mix.lines[1] - mix.lines[0]) * (mix.columns[1] - mix.columns[0]);
    mix.share = __fsub_rn(1.0f, __fdiv_rn(static_cast<float>(area), static_cast<float>(side * side)));
    return mix;
}

}  // namespace mixing

// Picture b of the turn into out[b], and its label into targets[b]: a block a picture.
__global__ void __launch_bounds__(256)
    mix_pictures(float* out, float* targets, const float* x, const u32* labels, const u64* turn, u64 batch, u64 side, u64 channels,
                 u64 classes, u32 rows, u32 kind, float kept, float spread, u64 seed, u64 draw_stream, u64 stream) {
    using namespace mixing;
    const u64 image = side * side * channels;
    for (u64 b = blockIdx.x; b < batch; b += gridDim.x) {
        const Mix mix = of(*turn * batch + b, rows, side, kind, Philox{seed, draw_stream}, Philox{seed, stream});
        const float *const one = x + mix.row * image, *const other = x + mix.other * image;
        const float rest = __fsub_rn(1.0f, mix.share);
        for (u64 i = threadIdx.x; i < image; i += blockDim.x) {
            const u64 line = i / channels / side, column = i / channels % side;
            const bool is_cut = line >= mix.lines[0] && line < mix.lines[1] && column >= mix.columns[0] && column < mix.columns[1];
            const float sum = __fadd_rn(__fmul_rn(mix.share, one[i]), __fmul_rn(rest, other[i]));
            out[b * image + i] = mix.cuts ? (is_cut ? other[i] : one[i]) : sum;
        }
        const u32 label = labels[mix.row], second = labels[mix.other];
        for (u64 c = threadIdx.x; c < classes; c += blockDim.x) {
            float target = spread;
            if (c == label) target = __fadd_rn(target, __fmul_rn(kept, mix.share));
            if (c == second) target = __fadd_rn(target, __fmul_rn(kept, rest));
            targets[b * classes + c] = target;
        }
    }
}
