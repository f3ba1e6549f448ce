// Finds data races: accesses to the same byte of global or shared memory by two threads of a launch, not both atomic, at
// least one a write, with nothing between them that orders them.
//
// Running threads in several orders shows a missing barrier by its results; it cannot show `bins[x] += 1` in the place
// of an atomic operation, for no thread of the emulation is interrupted between its load and its store. So a program
// compiled with `-fsanitize=thread` has every access reported here: the compiler inserts calls for ThreadSanitizer, and
// this file answers them in its place. (Such a program must be *linked* without that option.)
//
// What orders accesses: a barrier, for the threads of a block; `__syncwarp`, for the lanes of its mask; and for
// blocks, `__threadfence` and then an atomic operation in the one, an atomic operation after that in the other. Shuffles
// and votes order nothing, as CUDA has it, nor do locks.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

// The compiler calls, or (`machine.cpp`) what it compiles is called by a program that it does that for.
#if defined(__SANITIZE_THREAD__) && !defined(ASSAY_WATCHES_RACES)
#define ASSAY_WATCHES_RACES 1
#endif

namespace assay::emulation {

/// Where in a launch an access happens.
struct Moment {
    std::uint32_t block;
    std::uint32_t thread;
    std::uint32_t barriers;
};

#ifndef ASSAY_WATCHES_RACES

/// Without the compiler's calls there is nothing to find.
class Races {
  public:
    void watch(void*, std::size_t, const char*, int) {}
    void forget() {}
    void begin_launch(std::uint64_t) {}
    void end_launch() {}
    void watch_shared(void*, std::size_t, const char*) {}
    void sync_lanes(std::uint32_t, std::uint32_t) {}
    void fence() {}
};

#else

#define ASSAY_UNWATCHED __attribute__((no_sanitize("thread")))

/// Two accesses of a byte, in words: what `Machine` reports.
struct Race {
    const char* memory;
    int number;
    std::size_t byte;
    bool write, atomic;
    std::uint32_t pc;
    Moment other;
    bool other_write, other_atomic;
    std::uint32_t other_pc;
};

class Races {
  public:
    ASSAY_UNWATCHED Races() {
        for (std::uint32_t thread = 0; thread < kThreads; ++thread) clocks_[thread][thread % 32] = 1;
    }

    /// Global memory, until `forget`.
    ASSAY_UNWATCHED void watch(void* memory, std::size_t bytes, const char* what, int number) { add(memory, bytes, what, number, false); }
    ASSAY_UNWATCHED void forget() { drop(0); }

    ASSAY_UNWATCHED void begin_launch(std::uint64_t blocks) {
        global_count_ = count_;
        launched_ = ++time_;
        published_ = static_cast<Published*>(std::calloc(blocks, sizeof *published_));
    }
    ASSAY_UNWATCHED void end_launch() {
        drop(global_count_);
        std::free(published_);
    }
    /// Shared memory, until the launch ends.
    ASSAY_UNWATCHED void watch_shared(void* memory, std::size_t bytes, const char* what) { add(memory, bytes, what, -1, true); }

    /// `__syncwarp`: what each of these lanes did before, all of them see.
    ASSAY_UNWATCHED void sync_lanes(std::uint32_t warp, std::uint32_t members) {
        std::uint32_t joined[32] = {};
        auto* const clocks = clocks_ + warp * 32;
        for (std::uint32_t left = members; left != 0; left &= left - 1)
            for (int lane = 0; lane < 32; ++lane)
                if (clocks[__builtin_ctz(left)][lane] > joined[lane]) joined[lane] = clocks[__builtin_ctz(left)][lane];
        for (std::uint32_t left = members; left != 0; left &= left - 1) {
            const int lane = __builtin_ctz(left);
            std::memcpy(clocks[lane], joined, sizeof joined);
            ++clocks[lane][lane];
        }
    }

    /// `__threadfence`: what the block did so far, its next atomic operation makes known to other blocks.
    ASSAY_UNWATCHED void fence() { fenced_ = ++time_; }

    /// Notes an access; true, and `race` says which, if it is one of two that race.
    ASSAY_UNWATCHED bool access(const Moment& now, std::uintptr_t address, std::size_t bytes, bool write, bool atomic,
                                std::uint32_t pc, Race& race) {
        if (block_ != now.block) {
            block_ = now.block;
            acquired_ = 0;
            fenced_ = 0;
        }
        for (std::size_t number = 0; number < count_; ++number) {
            const Watched& watched = watched_[number];
            if (address - watched.start >= watched.bytes) continue;
            if (atomic) order_blocks(now.block);
            const Access access{time_, now.block, now.barriers, clocks_[now.thread][now.thread % 32], pc,
                                static_cast<std::uint16_t>(now.thread), write, atomic};
            for (std::size_t byte = address - watched.start; byte < address - watched.start + bytes && byte < watched.bytes; ++byte)
                if (note(watched, byte, access, race)) return true;
            return false;
        }
        return false;
    }

  private:
    static constexpr std::uint32_t kThreads = 1024;
    static constexpr std::uint32_t kNone = ~0u;
    static constexpr std::size_t kMaxWatched = 8192;

    struct Access {
        std::uint32_t time;  // 0: none yet
        std::uint32_t block;
        std::uint32_t barriers;
        std::uint32_t clock;
        std::uint32_t pc;
        std::uint16_t thread;
        bool write, atomic;
    };

    /// The last write of a byte, and the last reads by two different threads.
    struct Cell {
        Access write, read, other_read;
    };

    /// What a block did before `until`, it has made known at `at`.
    struct Published {
        std::uint32_t until, at;
    };

    struct Watched {
        std::uintptr_t start;
        std::size_t bytes;
        const char* what;
        int number;
        bool shared;
        Cell* cells;
    };

    ASSAY_UNWATCHED void add(void* memory, std::size_t bytes, const char* what, int number, bool shared) {
        if (bytes == 0 || count_ == kMaxWatched) return;
        auto* const cells = static_cast<Cell*>(std::calloc(bytes, sizeof(Cell)));
        if (cells == nullptr) {
            std::fprintf(stderr, "emulation: no memory to watch %zu bytes\n", bytes);
            std::_Exit(2);
        }
        watched_[count_++] = {reinterpret_cast<std::uintptr_t>(memory), bytes, what, number, shared, cells};
    }

    ASSAY_UNWATCHED void drop(std::size_t keep) {
        while (count_ > keep) std::free(watched_[--count_].cells);
    }

    /// An atomic operation: the block makes known what it did before its fence, and sees what others made known.
    ASSAY_UNWATCHED void order_blocks(std::uint32_t block) {
        if (fenced_ != 0) published_[block] = {fenced_, ++time_};
        acquired_ = ++time_;
    }

    ASSAY_UNWATCHED bool ordered(const Watched& watched, const Access& before, const Access& now) const {
        if (before.time < launched_) return true;
        if (before.block != now.block) {
            const Published published = published_[before.block];
            return watched.shared || (before.time < published.until && published.at < acquired_);
        }
        if (before.thread == now.thread || before.barriers != now.barriers) return true;
        return before.thread / 32 == now.thread / 32 && clocks_[now.thread][before.thread % 32] >= before.clock;
    }

    ASSAY_UNWATCHED bool note(const Watched& watched, std::size_t byte, const Access& now, Race& race) {
        Cell& cell = watched.cells[byte];
        for (const Access* before : {&cell.write, &cell.read, &cell.other_read}) {
            if (!(before->write || now.write) || (before->atomic && now.atomic) || ordered(watched, *before, now)) continue;
            race = {watched.what, watched.number, byte, now.write, now.atomic, now.pc,
                    {before->block, before->thread, before->barriers}, before->write, before->atomic, before->pc};
            return true;
        }
        if (now.write) {
            cell.write = now;
        } else {
            if (cell.read.thread != now.thread || cell.read.block != now.block) cell.other_read = cell.read;
            cell.read = now;
        }
        return false;
    }

    std::uint32_t time_ = 0;
    std::uint32_t launched_ = 0;
    std::uint32_t block_ = kNone;
    std::uint32_t fenced_ = 0;    // when the present block last fenced
    std::uint32_t acquired_ = 0;  // when the present block last did an atomic operation
    Published* published_ = nullptr;
    std::size_t count_ = 0;
    std::size_t global_count_ = 0;
    Watched watched_[kMaxWatched];
    std::uint32_t clocks_[kThreads][32] = {};
};

#endif

}  // namespace assay::emulation
