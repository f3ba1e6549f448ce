// Calls about memory.
#pragma once

#include "device_calls.hpp"

API cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    NEED_CONTEXT;
    *total = Settings::get().memory_bytes;
    *free = *total - state.memory.used(context.device);
    return Success;
}

API cuMemAlloc_v2(Address* address, std::size_t bytes) {
    NEED_CONTEXT;
    NEED_NO_CAPTURE;
    return state.memory.allocate(reinterpret_cast<std::uint64_t*>(address), bytes, MemoryKind::Device, context.device);
}

API cuMemAllocManaged(Address* address, std::size_t bytes, unsigned) {
    NEED_CONTEXT;
    NEED_NO_CAPTURE;
    return state.memory.allocate(reinterpret_cast<std::uint64_t*>(address), bytes, MemoryKind::Managed, context.device);
}

API cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
    NEED_CONTEXT;
    NEED_NO_CAPTURE;
    return state.memory.allocate(reinterpret_cast<std::uint64_t*>(address), bytes, MemoryKind::Host, context.device);
}

API cuMemHostGetDevicePointer_v2(Address* address, void* host, unsigned) {
    NEED_CONTEXT;
    static_cast<void>(context);
    if (!state.memory.is_pinned(host, 1)) return InvalidValue;
    *address = reinterpret_cast<Address>(host);
    return Success;
}

/// As with a GPU, freeing waits for all work.
API cuMemFree_v2(Address address) {
    NEED_CONTEXT;
    NEED_NO_CAPTURE;
    wait_for_all(lock, context);
    return state.memory.release(address, false);
}

API cuMemFreeHost(void* address) {
    NEED_CONTEXT;
    NEED_NO_CAPTURE;
    wait_for_all(lock, context);
    return state.memory.release(reinterpret_cast<std::uint64_t>(address), true);
}

API cuMemAllocAsync(Address* address, std::size_t bytes, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (stream->capture != nullptr) return NotSupported;
    return state.memory.allocate(reinterpret_cast<std::uint64_t*>(address), bytes, MemoryKind::Device, context.device);
}

API cuMemFreeAsync(Address address, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (stream->capture != nullptr) return NotSupported;
    if (!state.memory.holds(address, 1)) return InvalidValue;
    return state.submit(context, stream, [&state, address] { state.memory.release(address, false); });
}

namespace {

int copy(std::unique_lock<std::mutex>& lock, State& state, Context& context, const std::shared_ptr<Stream>& stream,
         bool synchronous, void* to, const void* from, std::size_t bytes) {
    return run(lock, state, context, stream, synchronous, [&state, to, from, bytes] {
        if (state.sticky() == Success) std::memcpy(to, from, bytes);
    });
}

int copy_to_device(Address to, const void* from, std::size_t bytes, void* handle, bool synchronous) {
    NEED_CONTEXT;
    if (synchronous) NEED_NO_CAPTURE;
    NEED_STREAM(handle);
    if (!state.memory.holds(to, bytes)) return InvalidValue;
    void* const target = reinterpret_cast<void*>(to);
    if (synchronous || state.memory.is_pinned(from, bytes)) return copy(lock, state, context, stream, synchronous, target, from, bytes);
    // What is not pinned is read before the call returns.
    const auto* const source = static_cast<const char*>(from);
    const auto staged = std::make_shared<std::vector<char>>(source, source + bytes);
    return state.submit(context, stream, [&state, target, staged] {
        if (state.sticky() == Success) std::memcpy(target, staged->data(), staged->size());
    });
}

int copy_from_device(void* to, Address from, std::size_t bytes, void* handle, bool synchronous) {
    NEED_CONTEXT;
    if (synchronous) NEED_NO_CAPTURE;
    NEED_STREAM(handle);
    if (!state.memory.holds(from, bytes)) return InvalidValue;
    // What is not pinned has been written when the call returns.
    const bool waits = synchronous || (stream->capture == nullptr && !state.memory.is_pinned(to, bytes));
    return copy(lock, state, context, stream, waits, to, reinterpret_cast<const void*>(from), bytes);
}

int copy_on_device(Address to, Address from, std::size_t bytes, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (!state.memory.holds(to, bytes) || !state.memory.holds(from, bytes)) return InvalidValue;
    return copy(lock, state, context, stream, false, reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
}

/// Fills `count` elements with one value.
template <typename T>
int fill(Address address, T value, std::size_t count, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (address % sizeof(T) != 0 || !state.memory.holds(address, count * sizeof(T))) return InvalidValue;
    return state.submit(context, stream, [&state, address, value, count] {
        if (state.sticky() == Success) std::fill_n(reinterpret_cast<T*>(address), count, value);
    });
}

}  // namespace

API cuMemcpyHtoD_v2(Address to, const void* from, std::size_t bytes) { return copy_to_device(to, from, bytes, nullptr, true); }
API cuMemcpyHtoDAsync_v2(Address to, const void* from, std::size_t bytes, void* stream) {
    return copy_to_device(to, from, bytes, stream, false);
}
API cuMemcpyDtoH_v2(void* to, Address from, std::size_t bytes) { return copy_from_device(to, from, bytes, nullptr, true); }
API cuMemcpyDtoHAsync_v2(void* to, Address from, std::size_t bytes, void* stream) {
    return copy_from_device(to, from, bytes, stream, false);
}
API cuMemcpyDtoD_v2(Address to, Address from, std::size_t bytes) { return copy_on_device(to, from, bytes, nullptr); }
API cuMemcpyDtoDAsync_v2(Address to, Address from, std::size_t bytes, void* stream) {
    return copy_on_device(to, from, bytes, stream);
}
API cuMemsetD8_v2(Address address, unsigned char value, std::size_t count) { return fill(address, value, count, nullptr); }
API cuMemsetD8Async(Address address, unsigned char value, std::size_t count, void* stream) {
    return fill(address, value, count, stream);
}
API cuMemsetD16_v2(Address address, unsigned short value, std::size_t count) { return fill(address, value, count, nullptr); }
API cuMemsetD16Async(Address address, unsigned short value, std::size_t count, void* stream) {
    return fill(address, value, count, stream);
}
API cuMemsetD32_v2(Address address, unsigned value, std::size_t count) { return fill(address, value, count, nullptr); }
API cuMemsetD32Async(Address address, unsigned value, std::size_t count, void* stream) {
    return fill(address, value, count, stream);
}

/// Managed memory is where it is; the checks are those of a GPU.
API cuMemPrefetchAsync_v2(Address address, std::size_t bytes, Location, unsigned, void* handle) {
    NEED_CONTEXT;
    NEED_STREAM(handle);
    if (!state.memory.holds(address, bytes)) return InvalidValue;
    return state.submit(context, stream, [] {});
}

API cuMemAdvise_v2(Address address, std::size_t bytes, int, Location) {
    NEED_CONTEXT;
    static_cast<void>(context);
    return state.memory.holds(address, bytes) ? Success : InvalidValue;
}

// ---- pools: each device has one, and a pool's handle is its device's number plus one ----

API cuDeviceGetDefaultMemPool(void** pool, int device) {
    NEED_DEVICE(device);
    *pool = reinterpret_cast<void*>(static_cast<std::uintptr_t>(device) + 1);
    return Success;
}
API cuDeviceGetMemPool(void** pool, int device) { return cuDeviceGetDefaultMemPool(pool, device); }

/// The one attribute is the release threshold (4), which changes nothing here.
API cuMemPoolSetAttribute(void* pool, int attribute, void* value) {
    NEED_DRIVER;
    if (attribute != 4) return NotSupported;
    state.pool_thresholds[static_cast<int>(reinterpret_cast<std::uintptr_t>(pool))] = *static_cast<std::uint64_t*>(value);
    return Success;
}
API cuMemPoolGetAttribute(void* pool, int attribute, void* value) {
    NEED_DRIVER;
    if (attribute != 4) return NotSupported;
    *static_cast<std::uint64_t*>(value) = state.pool_thresholds[static_cast<int>(reinterpret_cast<std::uintptr_t>(pool))];
    return Success;
}
API cuMemPoolTrimTo(void*, std::size_t) {
    NEED_DRIVER;
    return Success;
}
