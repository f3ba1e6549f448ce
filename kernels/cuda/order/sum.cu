// Sums to one number, of elements or of products, in three orders.
//
//   tree    each block sums a run of elements, and a second kernel the blocks' sums: fast and simple, an order that
//           depends on the size of blocks.
//   fixed   the order of the host's `tree` sum, to the bit: blocks of 4096 elements in 64 lanes, and a balanced
//           tree over them. One kernel: the block that finishes last sums what all have left. No block waits.
//   atomic  as `tree`, but blocks add their sums to the result as they finish, in any order.
#include "common/block.cuh"

using namespace assay;

namespace sum {

constexpr u32 THREADS = 256;
/// Loads of 16 bytes that a thread has in flight.
constexpr int IN_FLIGHT = 8;

/// Products are rounded before they are added, as on the host.
ASSAY_DEVICE float multiply(float x, float y) { return __fmul_rn(x, y); }
ASSAY_DEVICE double multiply(double x, double y) { return __dmul_rn(x, y); }

template <class T>
ASSAY_DEVICE Pack<T> pack(const T* from, u64 index) {
    return reinterpret_cast<const Pack<T>*>(from)[index];
}

/// What is summed: the elements of an array, or the products of those of two.
template <class T, bool DOT>
struct Terms {
    const T* a;
    const T* b;

    ASSAY_DEVICE T at(u64 index) const { return DOT ? multiply(a[index], b[index]) : a[index]; }

    /// Adds `COUNT` packs, `stride` apart, those whose number is below `end`, to the lanes of `to`, one after the other.
    template <int COUNT>
    ASSAY_DEVICE void add_packs(Pack<T>& to, u64 first, u64 stride, u64 end) const {
        Pack<T> left[COUNT], right[COUNT];
#pragma unroll
        for (int k = 0; k < COUNT; ++k) {
            const u64 i = first + k * stride;
            left[k] = i < end ? pack(a, i) : Pack<T>{};
            if (DOT) right[k] = i < end ? pack(b, i) : Pack<T>{};
        }
#pragma unroll
        for (int k = 0; k < COUNT; ++k) {
#pragma unroll
            for (int j = 0; j < Pack<T>::WIDTH; ++j) {
                to.at[j] += DOT ? multiply(left[k].at[j], right[k].at[j]) : left[k].at[j];
            }
        }
    }
};

/// Batches of loads of a thread.
constexpr int BATCHES = 2;

/// The sum over this block's run of elements, in its first thread.
template <class T, bool DOT>
__device__ T run_sum(const Terms<T, DOT>& terms, u64 n, T* parts) {
    constexpr int COUNT = DOT ? IN_FLIGHT / 2 : IN_FLIGHT;
    constexpr int ROUNDS = BATCHES * IN_FLIGHT / COUNT;
    const u64 packs = n / Pack<T>::WIDTH;
    u64 first = u64(blockIdx.x) * THREADS * BATCHES * IN_FLIGHT + threadIdx.x;
    Pack<T> lanes = {};
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round, first += THREADS * COUNT) {
        terms.template add_packs<COUNT>(lanes, first, THREADS, packs);
    }
    const u64 left_over = packs * Pack<T>::WIDTH + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && left_over < n) lanes.at[0] += terms.at(left_over);
#pragma unroll
    for (int width = Pack<T>::WIDTH / 2; width > 0; width /= 2) {
        for (int j = 0; j < width; ++j) lanes.at[j] += lanes.at[j + width];
    }
    return block_sum<T, THREADS>(lanes.at[0], parts);
}

/// Elements of a leaf of the fixed tree, and partial sums of a leaf.
constexpr u32 LEAF = 4096, LANES = 64;

/// The sum over a leaf, in the first of the `LANES / WIDTH` threads that share it. Leaves beyond `n` sum to 0.
template <class T, bool DOT>
__device__ T leaf_sum(const Terms<T, DOT>& terms, u64 leaf, u32 member, u64 n) {
    constexpr u32 WIDTH = Pack<T>::WIDTH, MEMBERS = LANES / WIDTH, ROWS = LEAF / LANES;
    constexpr int COUNT = DOT ? IN_FLIGHT / 2 : IN_FLIGHT;
    const u64 first = leaf * LEAF;
    Pack<T> lanes = {};
    if (first + LEAF <= n) {
        u64 at = first / WIDTH + member;
        for (u32 row = 0; row < ROWS; row += COUNT, at += COUNT * MEMBERS) {
            terms.template add_packs<COUNT>(lanes, at, MEMBERS, ~u64(0));
        }
    } else {
        for (u64 row = first; row < n; row += LANES) {
            for (u32 j = 0; j < WIDTH; ++j) {
                const u64 i = row + member * WIDTH + j;
                if (i < n) lanes.at[j] += terms.at(i);
            }
        }
    }
    __syncwarp();
#pragma unroll
    for (u32 apart = MEMBERS / 2; apart > 0; apart /= 2) {
#pragma unroll
        for (u32 j = 0; j < WIDTH; ++j) lanes.at[j] += __shfl_down_sync(ALL_LANES, lanes.at[j], apart, MEMBERS);
    }
#pragma unroll
    for (u32 width = WIDTH / 2; width > 0; width /= 2) {
        for (u32 j = 0; j < width; ++j) lanes.at[j] += lanes.at[j + width];
    }
    return lanes.at[0];
}

/// Rows of 32 sums that a warp makes one sum of.
constexpr u32 ROWS = 16;

/// The balanced tree over sums `first .. first + 512`, of which those from `count` on are 0.
template <class T>
__device__ T tree_of_512(const T* sums, u64 first, u64 count) {
    T rows[ROWS];
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) {
        const u64 i = first + row * WARP + lane_number();
        rows[row] = i < count ? __ldcg(sums + i) : T();
    }
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) rows[row] = warp_sum(rows[row]);
#pragma unroll
    for (u32 apart = 1; apart < ROWS; apart *= 2) {
#pragma unroll
        for (u32 row = 0; row < ROWS; row += 2 * apart) rows[row] += rows[row + apart];
    }
    return rows[0];
}

/// The balanced tree over `count` sums, at least one, by one block. Behind them is room for those of each further level.
template <class T>
__device__ T tree_of_all(T* sums, u64 count) {
    while (count > 1) {
        const u64 groups = ceil_div<u64>(count, ROWS * WARP);
        for (u64 group = warp_number(); group < groups; group += THREADS / WARP) {
            const T total = tree_of_512(sums, group * ROWS * WARP, count);
            if (lane_number() == 0) sums[count + group] = total;
        }
        __syncthreads();
        sums += count;
        count = groups;
    }
    return __ldcg(sums);
}

}  // namespace sum

// sums[block] = sum of the block's run of 64 KiB
template <class T>
__global__ void __launch_bounds__(sum::THREADS) sum_runs(T* sums, const T* a, u64 n) {
    __shared__ T parts[sum::THREADS / WARP];
    const T total = sum::run_sum(sum::Terms<T, false>{a, a}, n, parts);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// out = sum of `count` sums, by one block of 1024 threads
template <class T>
__global__ void __launch_bounds__(1024) sum_of_sums(T* out, const T* sums, u64 count) {
    __shared__ T parts[1024 / WARP];
    T total = T();
    for (u64 i = threadIdx.x; i < count; i += 1024) total += sums[i];
    total = block_sum<T, 1024>(total, parts);
    if (threadIdx.x == 0) *out = total;
}

// out += sum of the block's run
template <class T>
__global__ void __launch_bounds__(sum::THREADS) sum_atomic(T* out, const T* a, u64 n) {
    __shared__ T parts[sum::THREADS / WARP];
    const T total = sum::run_sum(sum::Terms<T, false>{a, a}, n, parts);
    if (threadIdx.x == 0) atomicAdd(out, total);
}

// out = sum of a, or of a b, in the order of the host. `finished` is 0 before and after.
template <class T, bool DOT>
__global__ void __launch_bounds__(sum::THREADS) sum_fixed(T* out, T* sums, u32* finished, const T* a, const T* b, u64 n) {
    constexpr u32 MEMBERS = sum::LANES / Pack<T>::WIDTH, LEAVES = sum::THREADS / MEMBERS;
    __shared__ T leaves[LEAVES];
    __shared__ bool is_last;
    const u64 leaf = u64(blockIdx.x) * LEAVES + threadIdx.x / MEMBERS;
    const T of_leaf = sum::leaf_sum(sum::Terms<T, DOT>{a, b}, leaf, threadIdx.x % MEMBERS, n);
    if (threadIdx.x % MEMBERS == 0) leaves[threadIdx.x / MEMBERS] = of_leaf;
    __syncthreads();
    if (warp_number() == 0) {
        const T total = warp_sum<T, LEAVES>(leaves[lane_number() % LEAVES]);
        if (lane_number() == 0) {
            sums[blockIdx.x] = total;
            // What this block wrote is visible to whoever sees that it has finished.
            __threadfence();
            is_last = atomicAdd(finished, 1) == gridDim.x - 1;
        }
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    const T total = sum::tree_of_all(sums, gridDim.x);
    if (threadIdx.x == 0) {
        *out = total;
        *finished = 0;
    }
}
