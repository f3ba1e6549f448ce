// The state of the emulated driver: devices, their contexts, live handles, and how work reaches a stream.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "codes.hpp"
#include "memory.hpp"
#include "modules.hpp"
#include "settings.hpp"
#include "streams.hpp"

namespace assay::emulated {

/// The primary context of a device. `legacy` is its default stream.
struct Context {
    int device;
    int retained = 0;
    std::shared_ptr<Stream> legacy;
    std::map<Stream*, std::shared_ptr<Stream>> streams;
};

/// Objects by handle: a handle is the object's address.
template <typename T>
class Handles {
  public:
    T* add(std::unique_ptr<T> object) {
        T* const handle = object.get();
        objects_[handle] = std::move(object);
        return handle;
    }
    bool has(const T* handle) const { return objects_.count(const_cast<T*>(handle)) != 0; }
    bool remove(T* handle) { return objects_.erase(handle) != 0; }

    template <typename Predicate>
    bool any(Predicate predicate) const {
        return std::any_of(objects_.begin(), objects_.end(), [&](const auto& entry) { return predicate(*entry.second); });
    }

  private:
    std::map<T*, std::unique_ptr<T>> objects_;
};

/// All of it, behind one lock that nobody holds while waiting for a stream. Never destroyed: streams may still run when
/// the process ends.
class State {
  public:
    static State& get() {
        static State* const state = new State;
        return *state;
    }

    std::mutex mutex;
    bool initialized = false;
    Memory memory;
    Handles<Event> events;
    Handles<Module> modules;
    Handles<Graph> graphs;
    Handles<Graph> executables;
    std::vector<std::shared_ptr<Capture>> captures;
    std::map<int, std::uint64_t> pool_thresholds;

    Context* context_of(int device) {
        std::unique_ptr<Context>& context = contexts_[device];
        if (context == nullptr) context = std::make_unique<Context>(Context{device, 0, nullptr, {}});
        return context.get();
    }

    /// The error that every call gives once a kernel has failed.
    Result sticky() const { return sticky_; }
    void fail(Result error) { sticky_ = error; }

    /// Counts a launch that is about to run; false if it fails, as the settings say.
    bool count_launch() {
        const std::uint64_t failing = Settings::get().failing_launch;
        if (++launches_ != failing) return sticky_ == Success;
        sticky_ = IllegalAddress;
        return false;
    }

    /// Whether a call that could synchronise is forbidden now, because a stream is being captured.
    bool capturing() const {
        for (const auto& capture : captures)
            if (capture->mode != kRelaxed) return true;
        return false;
    }

    /// The stream of a handle; null if there is none. 0, 1 and 2 are the default streams, which are one here.
    static std::shared_ptr<Stream> stream(Context& context, void* handle) {
        if (reinterpret_cast<std::uintptr_t>(handle) <= 2) return context.legacy;
        const auto found = context.streams.find(static_cast<Stream*>(handle));
        return found == context.streams.end() ? nullptr : found->second;
    }

    /// Queues work, or captures it; `ticket` is that of the work, if wanted.
    Result submit(Context& context, const std::shared_ptr<Stream>& stream, Work work, std::uint64_t* ticket = nullptr) {
        if (stream->capture != nullptr) {
            if (stream->capture->invalid) return CaptureInvalidated;
            stream->capture->works.push_back(std::move(work));
            return Success;
        }
        if (stream == context.legacy) {
            for (const auto& entry : context.streams) {
                if (!entry.second->blocking) continue;
                if (entry.second->capture != nullptr) return CaptureImplicit;
                wait_in(*stream, entry.second, entry.second->submitted());
            }
        } else if (stream->blocking && context.legacy->submitted() != stream->legacy_seen) {
            stream->legacy_seen = context.legacy->submitted();
            wait_in(*stream, context.legacy, stream->legacy_seen);
        }
        const std::uint64_t number = stream->submit(std::move(work));
        if (ticket != nullptr) *ticket = number;
        return Success;
    }

    /// All work that this context has now.
    static std::vector<std::pair<std::shared_ptr<Stream>, std::uint64_t>> all_work(Context& context) {
        std::vector<std::pair<std::shared_ptr<Stream>, std::uint64_t>> work{{context.legacy, context.legacy->submitted()}};
        for (const auto& entry : context.streams) work.emplace_back(entry.second, entry.second->submitted());
        return work;
    }

  private:
    static constexpr int kRelaxed = 2;

    static void wait_in(Stream& stream, const std::shared_ptr<Stream>& other, std::uint64_t ticket) {
        if (!other->finished(ticket)) stream.submit([other, ticket] { other->wait_for(ticket); });
    }

    std::map<int, std::unique_ptr<Context>> contexts_;
    std::atomic<Result> sticky_{Success};
    std::atomic<std::uint64_t> launches_{0};
};

/// The context that is current to this thread.
inline thread_local Context* current_context = nullptr;

}  // namespace assay::emulated
