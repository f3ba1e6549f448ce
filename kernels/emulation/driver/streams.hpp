// Streams, events and captured graphs.
//
// A stream is a thread with a queue. What waits for something on a stream waits for a ticket, the number of a piece of
// work in its queue. A capture collects work in the order of submission, across streams that join it, and a graph
// replays it in that order.
#pragma once

#include <time.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "settings.hpp"

namespace assay::emulated {

using Work = std::function<void()>;

inline std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

/// Work that is being captured into a graph.
struct Capture {
    const void* origin;
    int mode;
    bool invalid = false;
    std::vector<Work> works;
};

class Stream {
  public:
    explicit Stream(bool blocking) : blocking(blocking) {}

    /// A stream whose thread runs. It ends with the work that is queued when the stream is closed.
    static std::shared_ptr<Stream> start(bool blocking) {
        auto stream = std::make_shared<Stream>(blocking);
        std::thread([stream] { stream->work(); }).detach();
        return stream;
    }

    /// As with a GPU, the caller waits while the queue is full.
    std::uint64_t submit(Work work) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return queue_.size() < Settings::get().queue; });
        queue_.push_back(std::move(work));
        changed_.notify_all();
        return ++submitted_;
    }

    std::uint64_t submitted() {
        const std::lock_guard lock(mutex_);
        return submitted_;
    }

    bool finished(std::uint64_t ticket) {
        const std::lock_guard lock(mutex_);
        return completed_ >= ticket;
    }

    void wait_for(std::uint64_t ticket) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return completed_ >= ticket; });
    }

    void close() {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        changed_.notify_all();
    }

    /// Whether it takes turns with the legacy default stream.
    const bool blocking;
    /// The last ticket of the legacy default stream that this one has waited for.
    std::uint64_t legacy_seen = 0;
    std::shared_ptr<Capture> capture;

  private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
            if (queue_.empty()) return;
            const Work next = std::move(queue_.front());
            queue_.pop_front();
            changed_.notify_all();
            lock.unlock();
            next();
            lock.lock();
            ++completed_;
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Work> queue_;
    std::uint64_t submitted_ = 0;
    std::uint64_t completed_ = 0;
    bool closed_ = false;
};

/// Where an event was recorded, and when it came to pass.
struct Recording {
    std::shared_ptr<Stream> stream;
    std::uint64_t ticket = 0;
    std::atomic<std::int64_t> time_ns{0};

    bool finished() const { return stream->finished(ticket); }
    void wait() const { stream->wait_for(ticket); }
};

struct Event {
    bool timed;
    std::shared_ptr<Recording> recording;
    std::shared_ptr<Capture> captured;
};

struct Graph {
    std::vector<Work> works;
};

}  // namespace assay::emulated
