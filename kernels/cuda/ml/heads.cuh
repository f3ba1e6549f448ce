// Heads of attention: where their rows are, and what tells attention where a token is.
#pragma once

#include "ml/rows.cuh"

namespace assay {

/// What is done to queries, keys and scores.
enum Position : u32 { NONE = 0, ROPE = 1, ALIBI = 2 };

/// The rows of a head in matrices [batch, length, heads, width].
struct Head {
    u64 first, first_number;
    u32 index, length, heads, width;

    ASSAY_DEVICE Head(u32 number, u32 length_, u32 heads_, u32 width_)
        : first((u64(number / heads_) * length_ * heads_ + number % heads_) * width_),
          first_number(u64(number / heads_) * length_ * heads_ + number % heads_),
          index(number % heads_), length(length_), heads(heads_), width(width_) {}

    /// Where a row begins, and which it is of all rows of all heads.
    ASSAY_DEVICE u64 row(u32 place) const { return first + u64(place) * (heads * width); }
    ASSAY_DEVICE u64 number(u32 place) const { return first_number + u64(place) * heads; }
};

/// What a table of places is used for: cosines and sines of each place and pair, or slopes of heads.
ASSAY_DEVICE const float* angles_of(const float* table, u32 position) { return position == ROPE ? table : nullptr; }
ASSAY_DEVICE float slope_of(const float* table, u32 position, const Head& head) {
    return position == ALIBI ? table[head.index] : 0.0f;
}

}  // namespace assay
