// What the calls of the API have in common: their checks, and how they wait.
#pragma once

#include "state.hpp"

using namespace assay::emulated;  // these files are one translation unit, `driver.cpp`

#define API extern "C" __attribute__((visibility("default"))) int

namespace {

using Address = unsigned long long;

struct Location {
    int type;
    int id;
};

/// For calls about the driver and devices.
#define NEED_DRIVER                                            \
    State& state = State::get();                               \
    const std::lock_guard lock(state.mutex);                   \
    if (!state.initialized) return NotInitialized

/// For calls about a context: these give the sticky error too.
#define NEED_CONTEXT                                           \
    State& state = State::get();                               \
    std::unique_lock lock(state.mutex);                        \
    if (!state.initialized) return NotInitialized;             \
    if (current_context == nullptr) return InvalidContext;     \
    if (state.sticky() != Success) return state.sticky();      \
    Context& context = *current_context

/// For calls that may not be made while a stream is captured: they spoil the capture.
#define NEED_NO_CAPTURE                                                             \
    if (state.capturing()) {                                                        \
        for (const auto& capture : state.captures) capture->invalid = true;         \
        return CaptureUnsupported;                                                  \
    }

#define NEED_STREAM(handle)                                                         \
    const std::shared_ptr<Stream> stream = State::stream(context, handle);          \
    if (stream == nullptr) return InvalidHandle

/// Waits for work without the lock, then says whether a kernel has failed.
int wait(std::unique_lock<std::mutex>& lock, State& state, const std::shared_ptr<Stream>& stream, std::uint64_t ticket) {
    lock.unlock();
    stream->wait_for(ticket);
    return state.sticky();
}

void wait_for_all(std::unique_lock<std::mutex>& lock, Context& context) {
    const auto work = State::all_work(context);
    lock.unlock();
    for (const auto& [stream, ticket] : work) stream->wait_for(ticket);
    lock.lock();
}

/// Queues work; if `synchronous`, waits for it.
int run(std::unique_lock<std::mutex>& lock, State& state, Context& context, const std::shared_ptr<Stream>& stream,
        bool synchronous, Work work) {
    std::uint64_t ticket = 0;
    const Result result = state.submit(context, stream, std::move(work), &ticket);
    return result != Success || !synchronous ? result : wait(lock, state, stream, ticket);
}

}  // namespace
