// Windows of a corpus at places that are a function of seed, stream and turn (`kernels/src/ml/windows.rs`).
#include "common/philox.cuh"

using namespace assay;

// ids[b][i] = corpus[begin + i] and labels[b][i] = corpus[begin + i + 1], i < length, where window b of the turn begins at one of
// `places`; a thread has one token.
__global__ void windows(u32* ids, u32* labels, const u32* corpus, const u64* turn, u64 batch, u64 length, u32 places, u64 seed,
                        u64 stream) {
    for (u64 i = grid_thread(); i < batch * length; i += grid_threads()) {
        const u64 begin = below(Philox{seed, stream}.word(*turn * batch + i / length), places);
        ids[i] = corpus[begin + i % length];
        labels[i] = corpus[begin + i % length + 1];
    }
}

// One thread.
__global__ void next_turn(u64* turn) { *turn += 1; }
