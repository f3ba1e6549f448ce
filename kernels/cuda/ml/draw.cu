// What is drawn for a turn of training, a function of seed, stream and turn (`kernels/src/ml/draw.rs`).
#include "common/philox.cuh"

using namespace assay;

// out[b] = the set's row that example b of the turn is: rows of `cols` words; a thread has one word at a time.
__global__ void draw_rows(u32* out, const u32* set, const u64* turn, u64 batch, u64 cols, u32 rows, u64 seed, u64 stream) {
    for (u64 i = grid_thread(); i < batch * cols; i += grid_threads()) {
        const u64 row = below(Philox{seed, stream}.word(*turn * batch + i / cols), rows);
        out[i] = set[row * cols + i % cols];
    }
}

// One thread.
__global__ void count_turns(u64* turn, u64 turns) { *turn += turns; }

// labels[r] = the first class up to which more than a random share of e^logits lies; a thread has one row at a time, and adds up in the
// order of classes.
__global__ void draw_labels(u32* labels, const float* logits, const u64* turn, u64 rows, u64 classes, u64 seed, u64 stream) {
    for (u64 row = grid_thread(); row < rows; row += grid_threads()) {
        const float* const x = logits + row * classes;
        float largest = x[0];
        for (u64 c = 1; c < classes; ++c) largest = fmaxf(largest, x[c]);
        double total = 0;
        for (u64 c = 0; c < classes; ++c) total += double(expf(x[c] - largest));
        const u32 word = Philox{seed, stream}.word(*turn * rows + row);
        const double share = (double(word) + 0.5) * (1.0 / 4294967296.0) * total;
        u64 found = 0;
        double up_to = 0;
        for (; found < classes; ++found) {
            up_to += double(expf(x[found] - largest));
            if (up_to > share) break;
        }
        // What is no number is above nothing.
        labels[row] = found < classes ? u32(found) : 0xFFFFFFFFu;
    }
}
