// Spectra of galaxies, to the bit as the host makes them: labels, pixels, masks.
//
// What they are is written where the host makes them (`suites/src/synthetic/generators/spectra.rs`), which hands over the numbers of its
// recipe and compares. A thread draws the labels of a spectrum and what its continuum and lines begin with; in a block a warp
// follows the recurrences of 32 spectra from pixel to pixel, and all warps add noise and store.
#include "common/exact.cuh"

using namespace assay;

namespace spectra {

using exact::Draws;
using exact::Real;

constexpr u32 THREADS = 128;
/// Spectra of a block, and pixels that are in shared memory at a time.
constexpr u32 GROUP = 32;
constexpr u32 TILE = 64;
constexpr u32 LINES = 14;
constexpr u32 KINDS = 3;

/// Numbers of the recipe, in their order. Of a range of logarithms, its lower end and how far it reaches.
enum Number : u32 {
    LOG_FROM,
    LOG_STEP,
    MOST_REDSHIFT,
    WIDTH_LOW,
    WIDTH_SPAN,
    EQUIVALENT_LOW,
    EQUIVALENT_SPAN,
    SNR_LOW,
    SNR_SPAN,
    MASKS,
    MIDDLE,
    LIGHT_KM_S,
    BETA,
    ROOT_OF_TWO_PI,
    REACH,
    REST,
    PART = REST + LINES,
    STRENGTH = PART + LINES
};

/// What is known of a spectrum before its pixels: for each field a number of every spectrum.
enum Field : u32 { VALUE, FACTOR, GROWTH, FALL, SCALE, HEIGHTS, BELLS = HEIGHTS + LINES, SLOPES = BELLS + LINES, FIELDS = SLOPES + LINES };
/// And counts: words drawn before its masks, blocks of words before its noise, first and last pixel of lines.
enum Count : u32 { MASK_WORDS, NOISE_BLOCKS, FIRSTS, ENDS = FIRSTS + LINES, COUNTS = ENDS + LINES };

ASSAY_DEVICE Real between(const double* recipe, Number low, Real u) { return exact::exp(recipe[low] + recipe[low + 1] * u); }

/// The next run of masked pixels; false where there is none.
ASSAY_DEVICE bool next_mask(Draws& draws, Real masks, u32 points, Real& at, u32& first, u32& count) {
    at = at - exact::log(draws.unit()) / masks;
    if (!(at < 1.0)) return false;
    first = static_cast<u32>((at * Real(points)).value);
    count = minimum(1 + static_cast<u32>(draws.below(12)), points - first);
    return true;
}

/// A standard normal number of a word, by a table of quantiles, or by their formula where these are far apart.
ASSAY_DEVICE float normal(const float* quantiles, u32 word) {
    constexpr u32 CELLS = 2048, COMPUTED = 32, SIGN = 1u << 31;
    const u32 cell = (word >> 20) % CELLS;
    float magnitude;
    if (cell < CELLS - COMPUTED) {
        const float low = quantiles[cell], high = quantiles[cell + 1];
        const float place = (static_cast<float>(word & 0xFFFFFu) + 0.5f) * (1.0f / 1048576.0f);
        magnitude = __fadd_rn(low, __fmul_rn(__fsub_rn(high, low), place));
    } else {
        const Real beyond = 1.0 - (Real(word & ~SIGN) + 0.5) / Real(SIGN);
        magnitude = (-exact::normal_quantile(0.5 * beyond)).single();
    }
    return from_bits(to_bits(magnitude) | (word & SIGN));
}

}  // namespace spectra

// fields[field][spectrum], counts[count][spectrum]: a thread a spectrum
__global__ void __launch_bounds__(spectra::THREADS)
    spectra_labels(double* fields, u32* counts, const double* recipe, u64 seed, u64 stream, u64 first, u32 items, u32 points) {
    using namespace spectra;
    const u32 item = static_cast<u32>(grid_thread());
    if (item >= items) return;
    Draws draws = {{seed, stream}, first + item, 0};
    const auto number = [=](u32 place) { return Real(recipe[place]); };
    const auto field = [=](u32 place) -> double& { return fields[static_cast<u64>(place) * items + item]; };
    const auto count = [=](u32 place) -> u32& { return counts[static_cast<u64>(place) * items + item]; };

    const u32 kind = static_cast<u32>(draws.below(KINDS));
    const Real redshift = number(MOST_REDSHIFT) * draws.unit();
    const Real width_km_s = between(recipe, WIDTH_LOW, draws.unit());
    const Real equivalent_width = between(recipe, EQUIVALENT_LOW, draws.unit());
    const Real slope = -1.5 + 3.0 * draws.unit();
    const Real curvature = 0.4 * draws.normal();
    const Real snr = between(recipe, SNR_LOW, draws.unit());
    count(MASK_WORDS) = draws.used;
    if (number(MASKS) > 0.0) {
        Real at = 0.0;
        u32 begin = 0, length = 0;
        while (next_mask(draws, number(MASKS), points, at, begin, length)) {}
    }
    count(NOISE_BLOCKS) = ceil_div(draws.used, 4u);

    const Real step = number(LOG_STEP), start = -number(MIDDLE) * step;
    field(VALUE) = exact::exp((slope + curvature * start) * start).value;
    field(FACTOR) = exact::exp((slope + curvature * (2.0 * start + step)) * step).value;
    field(GROWTH) = exact::exp(2.0 * curvature * step * step).value;
    field(SCALE) = (1.0 / snr).single();

    const Real beta_at = exact::log(number(BETA) * (1.0 + redshift));
    const Real x = beta_at - number(LOG_FROM) - number(MIDDLE) * step;
    const Real continuum = exact::exp((slope + curvature * x) * x);
    const Real width_angstrom = number(BETA) * width_km_s / number(LIGHT_KM_S);
    const Real beta = continuum * equivalent_width / (width_angstrom * number(ROOT_OF_TWO_PI));

    const Real width = width_km_s / number(LIGHT_KM_S) / step, square = width * width, reach = number(REACH) * width;
    field(FALL) = exact::exp(-1.0 / square).value;
    const double most = points;
    for (u32 line = 0; line < LINES; ++line) {
        const Real rest = number(REST + line), strength = number(STRENGTH + kind * LINES + line);
        const Real centre = (exact::log(rest * (1.0 + redshift)) - number(LOG_FROM)) / step;
        const double begin = minimum(maximum(ceil((centre - reach).value), 0.0), most);
        const double end = minimum(maximum(floor((centre + reach).value) + 1.0, begin), most);
        const Real offset = Real(begin) - centre;
        field(HEIGHTS + line) = (beta * number(PART + line) * strength * number(BETA) / rest).value;
        field(BELLS + line) = exact::exp(-0.5 * offset * offset / square).value;
        field(SLOPES + line) = exact::exp(-(offset + 0.5) / square).value;
        count(FIRSTS + line) = static_cast<u32>(begin);
        count(ENDS + line) = static_cast<u32>(end);
    }
}

// out[spectrum][0] = fluxes, out[spectrum][1] = inverse variances, but for masks: a block 32 spectra
__global__ void __launch_bounds__(spectra::THREADS)
    spectra_pixels(float* out, const double* fields, const u32* counts, const float* sky, const float* quantiles, u64 seed,
                   u64 stream, u64 first, u32 items, u32 points) {
    using namespace spectra;
    __shared__ float tile[GROUP][TILE + 1];
    __shared__ double bells[2 * LINES][GROUP];
    const u32 begin = blockIdx.x * GROUP, here = minimum(GROUP, items - begin);
    const u32 lane = threadIdx.x;
    const bool follows = lane < here;
    const auto field = [=](u32 place) { return Real(fields[static_cast<u64>(place) * items + begin + lane]); };
    const auto count = [=](u32 place, u32 spectrum) { return counts[static_cast<u64>(place) * items + begin + spectrum]; };
    Real value = 0.0, factor = 0.0, growth = 0.0, fall = 0.0;
    if (follows) {
        value = field(VALUE), factor = field(FACTOR), growth = field(GROWTH), fall = field(FALL);
        for (u32 line = 0; line < 2 * LINES; ++line) bells[line][lane] = field(BELLS + line).value;
    }
    for (u32 from = 0; from < points; from += TILE) {
        const u32 to = minimum(from + TILE, points);
        if (follows) {
            for (u32 pixel = from; pixel < to; ++pixel) {
                tile[lane][pixel - from] = value.single();
                value = value * factor;
                factor = factor * growth;
            }
            for (u32 line = 0; line < LINES; ++line) {
                const u32 start = maximum(count(FIRSTS + line, lane), from), end = minimum(count(ENDS + line, lane), to);
                if (start >= end) continue;
                const Real height = field(HEIGHTS + line);
                Real bell = bells[line][lane], slope = bells[LINES + line][lane];
                for (u32 pixel = start; pixel < end; ++pixel) {
                    float& flux = tile[lane][pixel - from];
                    flux = __fadd_rn(flux, (height * bell).single());
                    bell = bell * slope;
                    slope = slope * fall;
                }
                bells[line][lane] = bell.value;
                bells[LINES + line][lane] = slope.value;
            }
        }
        __syncthreads();
        constexpr u32 QUADS = TILE / 4;
        for (u32 i = threadIdx.x; i < here * QUADS; i += THREADS) {
            const u32 spectrum = i / QUADS, pixel = from + i % QUADS * 4;
            if (pixel >= to) continue;
            const u64 block = ((first + begin + spectrum) << 20) + count(NOISE_BLOCKS, spectrum) + pixel / 4;
            const PhiloxWords words = Philox{seed, stream}.block(block);
            const float scale = static_cast<float>(fields[static_cast<u64>(SCALE) * items + begin + spectrum]);
            const float inverse = __fdiv_rn(1.0f, __fmul_rn(scale, scale));
            float fluxes[4], weights[4];
#pragma unroll
            for (u32 k = 0; k < 4; ++k) {
                if (pixel + k >= to) continue;
                const float of_sky = sky[pixel + k];
                const float noise = __fmul_rn(__fmul_rn(scale, of_sky), normal(quantiles, words.words[k]));
                fluxes[k] = __fadd_rn(tile[spectrum][pixel - from + k], noise);
                weights[k] = __fdiv_rn(inverse, __fmul_rn(of_sky, of_sky));
            }
            float* const flux = out + static_cast<u64>(begin + spectrum) * 2 * points + pixel;
            if (points % 4 == 0) {
                store_vector(flux, make_float4(fluxes[0], fluxes[1], fluxes[2], fluxes[3]));
                store_vector(flux + points, make_float4(weights[0], weights[1], weights[2], weights[3]));
                continue;
            }
#pragma unroll
            for (u32 k = 0; k < 4; ++k) {
                if (pixel + k >= to) continue;
                flux[k] = fluxes[k];
                flux[points + k] = weights[k];
            }
        }
        __syncthreads();
    }
}

// What a cosmic ray leaves: far too much flux, and no information. A thread a spectrum, whose masks may overlap
__global__ void __launch_bounds__(spectra::THREADS)
    spectra_masks(float* out, const double* fields, const u32* counts, const double* recipe, const float* sky, u64 seed, u64 stream,
                  u64 first, u32 items, u32 points) {
    using namespace spectra;
    const u32 item = static_cast<u32>(grid_thread());
    if (item >= items || !(Real(recipe[MASKS]) > 0.0)) return;
    Draws draws = {{seed, stream}, first + item, counts[static_cast<u64>(MASK_WORDS) * items + item]};
    const float scale = static_cast<float>(fields[static_cast<u64>(SCALE) * items + item]);
    float* const flux = out + static_cast<u64>(item) * 2 * points;
    Real at = 0.0;
    u32 begin = 0, length = 0;
    while (next_mask(draws, recipe[MASKS], points, at, begin, length)) {
        for (u32 pixel = begin; pixel < begin + length; ++pixel) {
            flux[pixel] = __fadd_rn(flux[pixel], __fmul_rn(__fmul_rn(20.0f, scale), sky[pixel]));
            flux[points + pixel] = 0.0f;
        }
    }
}
