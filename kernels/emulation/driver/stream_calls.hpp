// Calls about streams, events, capture and graphs.
#pragma once

#include "api.hpp"

API cuStreamCreateWithPriority(void** out, unsigned flags, int) {
    NEED_CONTEXT;
    constexpr unsigned non_blocking = 1;
    if (flags > non_blocking) return InvalidValue;
    const std::shared_ptr<Stream> stream = Stream::start(flags != non_blocking);
    context.streams[stream.get()] = stream;
    *out = stream.get();
    return Success;
}

API cuStreamCreate(void** out, unsigned flags) { return cuStreamCreateWithPriority(out, flags, 0); }

/// Work that is queued still runs.
API cuStreamDestroy_v2(void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (stream == context.legacy) return InvalidValue;
    stream->close();
    context.streams.erase(stream.get());
    return Success;
}

API cuStreamSynchronize(void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (stream->capture != nullptr) NEED_NO_CAPTURE;
    return wait(lock, state, stream, stream->submitted());
}

API cuStreamQuery(void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (stream->capture != nullptr) NEED_NO_CAPTURE;
    return stream->finished(stream->submitted()) ? Success : NotReady;
}

API cuStreamWaitEvent(void* handle, Event* event, unsigned) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (!state.events.has(event)) return InvalidHandle;
    if (event->captured != nullptr) {
        // Waiting for captured work makes a stream part of the capture.
        if (stream->capture != nullptr && stream->capture != event->captured) return CaptureIsolation;
        stream->capture = event->captured;
        return Success;
    }
    if (event->recording == nullptr) return Success;
    if (stream->capture != nullptr) {
        stream->capture->invalid = true;
        return CaptureIsolation;
    }
    return state.submit(context, stream, [recording = event->recording] { recording->wait(); });
}

API cuLaunchHostFunc(void* handle, void (*function)(void*), void* argument) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    return state.submit(context, stream, [function, argument] { function(argument); });
}

API cuStreamAttachMemAsync(void* handle, Address address, std::size_t, unsigned) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    return state.memory.holds(address, 1) ? state.submit(context, stream, [] {}) : InvalidValue;
}

API cuEventCreate(Event** event, unsigned flags) {
    NEED_CONTEXT;
    static_cast<void>(context);
    constexpr unsigned disable_timing = 2;
    *event = state.events.add(std::make_unique<Event>(Event{(flags & disable_timing) == 0, nullptr, nullptr}));
    return Success;
}

API cuEventDestroy_v2(Event* event) {
    NEED_CONTEXT;
    static_cast<void>(context);
    return state.events.remove(event) ? Success : InvalidHandle;
}

API cuEventRecord(Event* event, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (!state.events.has(event)) return InvalidHandle;
    event->captured = stream->capture;
    if (stream->capture != nullptr) return stream->capture->invalid ? CaptureInvalidated : Success;
    auto recording = std::make_shared<Recording>();
    recording->stream = stream;
    const Result result =
        state.submit(context, stream, [recording] { recording->time_ns = now_ns(); }, &recording->ticket);
    if (result == Success) event->recording = recording;
    return result;
}

API cuEventQuery(Event* event) {
    NEED_CONTEXT;
    static_cast<void>(context);
    if (!state.events.has(event)) return InvalidHandle;
    if (event->captured != nullptr) return CapturedEvent;
    return event->recording == nullptr || event->recording->finished() ? Success : NotReady;
}

API cuEventSynchronize(Event* event) {
    NEED_CONTEXT;
    static_cast<void>(context);
    if (!state.events.has(event)) return InvalidHandle;
    if (event->captured != nullptr) return CapturedEvent;
    const std::shared_ptr<Recording> recording = event->recording;
    return recording == nullptr ? Success : wait(lock, state, recording->stream, recording->ticket);
}

API cuEventElapsedTime_v2(float* ms, Event* start, Event* end) {
    NEED_CONTEXT;
    static_cast<void>(context);
    for (Event* const event : {start, end}) {
        if (!state.events.has(event) || !event->timed || event->recording == nullptr) return InvalidHandle;
        if (!event->recording->finished()) return NotReady;
    }
    const std::int64_t step = Settings::get().event_ns;
    const std::int64_t elapsed = end->recording->time_ns / step * step - start->recording->time_ns / step * step;
    *ms = static_cast<float>(static_cast<double>(elapsed) * 1e-6);
    return Success;
}

API cuEventElapsedTime(float* ms, Event* start, Event* end) { return cuEventElapsedTime_v2(ms, start, end); }

// ---- capture and graphs ----

API cuStreamBeginCapture_v2(void* handle, int mode) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (stream == context.legacy) return CaptureUnsupported;
    if (stream->capture != nullptr) return IllegalState;
    stream->capture = std::make_shared<Capture>(Capture{handle, mode, false, {}});
    state.captures.push_back(stream->capture);
    return Success;
}

API cuStreamEndCapture(void* handle, Graph** graph) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    const std::shared_ptr<Capture> capture = stream->capture;
    if (capture == nullptr) return IllegalState;
    if (capture->origin != handle) return CaptureUnmatched;
    for (const auto& entry : context.streams)
        if (entry.second->capture == capture) entry.second->capture = nullptr;
    state.captures.erase(std::find(state.captures.begin(), state.captures.end(), capture));
    *graph = nullptr;
    if (capture->invalid) return CaptureInvalidated;
    *graph = state.graphs.add(std::make_unique<Graph>(Graph{std::move(capture->works)}));
    return Success;
}

API cuStreamIsCapturing(void* handle, int* status) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    *status = stream->capture == nullptr ? 0 : stream->capture->invalid ? 2 : 1;
    return Success;
}

API cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
    NEED_CONTEXT;
    static_cast<void>(context);
    if (!state.graphs.has(graph)) return InvalidHandle;
    *executable = state.executables.add(std::make_unique<Graph>(*graph));
    return Success;
}

API cuGraphUpload(Graph* executable, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    return state.executables.has(executable) ? state.submit(context, stream, [] {}) : InvalidHandle;
}

API cuGraphLaunch(Graph* executable, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (!state.executables.has(executable)) return InvalidHandle;
    return state.submit(context, stream, [works = executable->works] {
        for (const Work& work : works) work();
    });
}

/// How many nodes a graph has; the list of them is not kept.
API cuGraphGetNodes(Graph* graph, void** nodes, std::size_t* count) {
    NEED_CONTEXT;
    static_cast<void>(context);
    if (!state.graphs.has(graph)) return InvalidHandle;
    if (nodes != nullptr) return NotSupported;
    *count = graph->works.size();
    return Success;
}

API cuGraphDestroy(Graph* graph) {
    NEED_CONTEXT;
    static_cast<void>(context);
    return state.graphs.remove(graph) ? Success : InvalidHandle;
}

API cuGraphExecDestroy(Graph* executable) {
    NEED_CONTEXT;
    static_cast<void>(context);
    return state.executables.remove(executable) ? Success : InvalidHandle;
}
