// The machine that an emulated kernel runs on: the threads of one block at a time, their barriers and their warps.
//
// Threads run one after the other on the thread of the operating system that launches. A thread runs until it reaches a
// barrier or an operation of its warp; then the next one runs. When all that could run have had their turn, those that
// may go on since do so in a new pass. Within a pass the order is forward, reverse or shuffled: a kernel that lacks a
// barrier gives other results in another order. Blocks take turns in that order too, and see no other block's threads:
// a kernel that waits for another block never ends here.
//
// What cannot be right ends the process in words: a barrier that not all threads reach, or reach in different places,
// an operation of a warp with a mask that leaves out its caller, and threads that wait for each other.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include "fiber.hpp"
#include "interface.hpp"
#include "races.hpp"

namespace assay::emulation {

/// What a thread can wait in. The first four are barriers of the block, the others operations of the warp.
enum class Kind : std::uint8_t {
    Barrier, BarrierOr, BarrierAnd, BarrierCount,
    Sync, Shuffle, Ballot, All, Any, MatchAny, MatchAll,
    ReduceAdd, ReduceMin, ReduceMax, ReduceMinSigned, ReduceMaxSigned, ReduceAnd, ReduceOr, ReduceXor,
};

inline const char* name_of(Kind kind) {
    static constexpr const char* const names[] = {
        "__syncthreads", "__syncthreads_or", "__syncthreads_and", "__syncthreads_count",
        "__syncwarp", "__shfl_sync", "__ballot_sync", "__all_sync", "__any_sync", "__match_any_sync", "__match_all_sync",
        "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync", "__reduce_min_sync", "__reduce_max_sync",
        "__reduce_and_sync", "__reduce_or_sync", "__reduce_xor_sync",
    };
    return names[static_cast<int>(kind)];
}

/// A line of a kernel's source.
struct Place {
    const char* file;
    int line;
};

inline bool operator==(const Place& a, const Place& b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

/// What shared memory holds when a block starts, and what a shuffle gives of a lane that takes no part: a NaN in every
/// floating-point type, and no number that a kernel would start from.
inline constexpr std::uint32_t kGarbage = 0xFFF5A3C7;

inline void fill_with_garbage(void* memory, std::size_t bytes) {
    static_assert(sizeof(wchar_t) == sizeof kGarbage);
    std::wmemset(static_cast<wchar_t*>(memory), static_cast<wchar_t>(kGarbage), bytes / 4);
    std::memcpy(static_cast<char*>(memory) + bytes / 4 * 4, &kGarbage, bytes % 4);
}

/// Makes every access to this memory an error, or none any more.
inline void forbid([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef ASSAY_ADDRESS_SANITIZER
    __asan_poison_memory_region(memory, bytes);
#endif
}
inline void allow([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef ASSAY_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(memory, bytes);
#endif
}

/// Numbers to shuffle by: splitmix64.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t below(std::uint64_t bound) {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return static_cast<std::uint64_t>((static_cast<unsigned __int128>(z ^ (z >> 31)) * bound) >> 64);
    }

    template <typename T>
    void shuffle(T* items, std::uint64_t count) {
        for (std::uint64_t last = count; last > 1; --last) {
            const std::uint64_t other = below(last);
            const T kept = items[last - 1];
            items[last - 1] = items[other];
            items[other] = kept;
        }
    }

  private:
    std::uint64_t state_;
};

class Machine {
  public:
    static constexpr std::uint32_t kMaxThreads = 1024;
    static constexpr std::uint32_t kWarp = 32;
    static constexpr std::uint32_t kMaxSharedBytes = 227 * 1024;

    Machine() = default;
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    ~Machine() {
        for (std::uint32_t number = 0; number < fiber_count_; ++number) delete fibers_[number];
    }

    void set_order(Order order, std::uint64_t seed) {
        order_ = order;
        random_ = Random(seed);
    }

    /// Runs all blocks of a launch.
    void run(const Launch& launch);

    // What a kernel asks.
    const uint3& thread_index() const;
    const uint3& block_index() const;
    const dim3& block_size() const;
    const dim3& grid_size() const;
    void* shared_memory() const;
    std::uint32_t lane() const;

    /// The lanes of the caller's warp that exist and have not ended.
    std::uint32_t live_lanes() const;

    /// Waits for all threads of the block; gives the predicates combined as `kind` says.
    std::uint32_t barrier(Kind kind, bool predicate, Place place);

    /// Waits for the lanes in `mask`, and gives what `kind` makes of their values. `source` is the lane that a shuffle reads.
    std::uint64_t warp(Kind kind, std::uint32_t mask, std::uint64_t value, std::uint32_t source, Place place);

    /// Lets all other threads that can run have a turn.
    void pause() {
        current_->state = State::Ready;
        make_ready(*current_);
        suspend();
    }

    /// Counts an operation by which a thread may wait for another of its block, and pauses now and then.
    void may_spin() {
        if (++spins_ < 4096) return;
        pause();
    }

    /// Global memory that threads may race for, as a job's buffer of this number; and an end to it.
    void watch(void* memory, std::size_t bytes, int buffer) { races_.watch(memory, bytes, "buffer", buffer); }
    void forget() { races_.forget(); }

    /// `__threadfence`.
    void fence() { races_.fence(); }

#ifdef ASSAY_WATCHES_RACES
    /// An access by the thread that runs, if one does.
    void access(const volatile void* address, std::size_t bytes, bool write, bool atomic, void* pc);
#endif

    /// Ends the process with a message that says which kernel and block it is about.
    [[noreturn]] __attribute__((format(printf, 2, 3))) void fail(const char* format, ...) const;

    /// Names the kernel, block and thread that run now, if any do.
    void describe_current(std::FILE* out) const;

  private:
    enum class State : std::uint8_t { Unstarted, Ready, InBarrier, InWarp, Ended };

    struct Thread {
        Fiber* fiber = nullptr;
        uint3 index{};
        std::uint32_t linear = 0;
        State state = State::Unstarted;
        Kind kind{};
        std::uint32_t mask = 0;
        std::uint32_t source = 0;
        std::uint64_t value = 0;
        std::uint64_t result = 0;
        Place place{};
    };

    struct Warp {
        std::uint32_t live = 0;
        std::uint32_t waiting = 0;
    };

    static void fiber_body();
    void check(const Launch& launch) const;
    void prepare_threads();
    uint3 block_of(std::uint64_t number) const;
    void run_block(std::uint64_t number);
    void end_current();
    void make_ready(const Thread& thread) { next_[thread.linear / 64] |= std::uint64_t{1} << (thread.linear % 64); }
    void begin_pass();
    Thread* pick();
    void suspend();
    Fiber* take_fiber();
    void try_complete(std::uint32_t warp, std::uint32_t mask, Kind kind);
    void complete(Thread* lanes, std::uint32_t members, Kind kind);
    std::uint64_t combine(const Thread* lanes, std::uint32_t members, Kind kind) const;
    [[noreturn]] void report_stuck() const;
#ifdef ASSAY_WATCHES_RACES
    static void describe_place(std::uint32_t place, char* text, std::size_t size);
#endif

    Races races_;
    Order order_ = Order::Forward;
    Random random_{0};
    const Launch* launch_ = nullptr;
    char* shared_ = nullptr;
    uint3 block_index_{};
    std::uint32_t block_ = 0;
    std::uint32_t barriers_ = 0;
    std::uint32_t count_ = 0;
    std::uint32_t ended_ = 0;
    std::uint32_t in_barrier_ = 0;
    std::uint32_t barrier_sum_ = 0;
    std::uint32_t barrier_result_ = 0;
    std::uint32_t spins_ = 0;
    const Thread* first_in_barrier_ = nullptr;
    Thread* current_ = nullptr;
    std::uint32_t pass_length_ = 0;
    std::uint32_t pass_at_ = 0;
    std::uint64_t next_[kMaxThreads / 64] = {};
    std::uint16_t pass_[kMaxThreads] = {};
    Warp warps_[kMaxThreads / kWarp];
    Thread threads_[kMaxThreads];
    Fiber main_;
    std::uint32_t fiber_count_ = 0;
    std::uint32_t free_count_ = 0;
    Fiber* fibers_[kMaxThreads] = {};
    Fiber* free_[kMaxThreads] = {};
};

// One machine for each thread of the operating system that launches kernels: in a sanitizer program there is one.
#ifdef ASSAY_EMULATION_PLUGIN
struct MachineOwner {
    Machine* machine = nullptr;
    ~MachineOwner() { delete machine; }
};
inline thread_local Machine* machine = nullptr;
inline thread_local MachineOwner machine_owner;
inline Machine& this_machine() {
    if (machine == nullptr) machine = machine_owner.machine = new Machine;
    return *machine;
}
#else
inline Machine* machine = nullptr;
inline Machine& this_machine() {
    if (machine == nullptr) machine = new Machine;
    return *machine;
}
#endif

}  // namespace assay::emulation
