// Philox4x32-10: random numbers without state. Number `i` of stream `s` under seed `k` is a function of the three alone,
// and has the same bits as those of the harness on a CPU.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11, section 3.3 and table 2.
#pragma once

#include "common/cuda.cuh"

namespace assay {

/// Four random words: words `4 * block` to `4 * block + 3` of a stream.
struct PhiloxWords {
    u32 words[4];
};

ASSAY_DEVICE PhiloxWords philox4x32_10(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 a = static_cast<u64>(0xD2511F53u) * c0;
        const u64 b = static_cast<u64>(0xCD9E8D57u) * c2;
        c0 = static_cast<u32>(b >> 32) ^ c1 ^ k0;
        c1 = static_cast<u32>(b);
        c2 = static_cast<u32>(a >> 32) ^ c3 ^ k1;
        c3 = static_cast<u32>(a);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

/// A stream of random words addressed by index.
struct Philox {
    u64 seed;
    u64 stream;

    /// Words `4 * block` to `4 * block + 3`: the counter is (block, stream), the key the seed, low words first.
    ASSAY_DEVICE PhiloxWords block(u64 block) const {
        return philox4x32_10(static_cast<u32>(block), static_cast<u32>(block >> 32), static_cast<u32>(stream),
                             static_cast<u32>(stream >> 32), static_cast<u32>(seed), static_cast<u32>(seed >> 32));
    }

    /// Word `index`. Who wants many takes whole blocks.
    ASSAY_DEVICE u32 word(u64 index) const {
        const PhiloxWords four = block(index / 4);
        const u32 place = static_cast<u32>(index % 4);
        return place == 0 ? four.words[0] : place == 1 ? four.words[1] : place == 2 ? four.words[2] : four.words[3];
    }
};

/// Uniform on [-1, 1): the upper 24 bits of the word as a multiple of 2^-23, less 1. Exact.
ASSAY_DEVICE float signed_unit(u32 word) { return __fmaf_rn(static_cast<float>(word >> 8), 1.0f / 8388608.0f, -1.0f); }

/// Uniform on [0, 1): the upper 24 bits of the word as a multiple of 2^-24, which is (signed_unit + 1) / 2. Exact.
ASSAY_DEVICE float unit(u32 word) { return static_cast<float>(word >> 8) * (1.0f / 16777216.0f); }

/// Uniform on 0 .. bound - 1 (0 where the bound is 0): the upper half of the product of word and bound.
ASSAY_DEVICE u32 below(u32 word, u32 bound) { return static_cast<u32>(static_cast<u64>(word) * bound >> 32); }

}  // namespace assay
