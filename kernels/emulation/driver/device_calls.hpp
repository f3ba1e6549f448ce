// Calls about the driver, devices and contexts.
#pragma once

#include "api.hpp"

API cuInit(unsigned flags) {
    if (flags != 0) return InvalidValue;
    State& state = State::get();
    const std::lock_guard lock(state.mutex);
    if (Settings::get().devices == 0) return NoDevice;
    state.initialized = true;
    return Success;
}

API cuDriverGetVersion(int* version) {
    if (version == nullptr) return InvalidValue;
    *version = 13000;
    return Success;
}

API cuGetErrorName(int result, const char** name) {
    const ResultText* const text = text_of(result);
    *name = text == nullptr ? nullptr : text->name;
    return text == nullptr ? InvalidValue : Success;
}

API cuGetErrorString(int result, const char** words) {
    const ResultText* const text = text_of(result);
    *words = text == nullptr ? nullptr : text->text;
    return text == nullptr ? InvalidValue : Success;
}

/// NVRTC asks for tables that are nowhere documented, and does without them if told that there are none.
API cuGetExportTable(const void** table, const void*) {
    *table = nullptr;
    return NotFound;
}

#define NEED_DEVICE(device)                                                          \
    NEED_DRIVER;                                                                     \
    if ((device) < 0 || (device) >= Settings::get().devices) return InvalidDevice

API cuDeviceGetCount(int* count) {
    NEED_DRIVER;
    *count = Settings::get().devices;
    return Success;
}

API cuDeviceGet(int* device, int ordinal) {
    NEED_DEVICE(ordinal);
    *device = ordinal;
    return Success;
}

API cuDeviceGetName(char* name, int length, int device) {
    NEED_DEVICE(device);
    if (length <= 0) return InvalidValue;
    std::snprintf(name, static_cast<std::size_t>(length), "%s", Settings::get().name.c_str());
    return Success;
}

/// Its last byte is the device's number.
API cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
    NEED_DEVICE(device);
    std::memcpy(uuid, "Emulated device", 15);
    uuid[15] = static_cast<unsigned char>(device);
    return Success;
}

API cuDeviceGetUuid(unsigned char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }

API cuDeviceGetPCIBusId(char* text, int length, int device) {
    NEED_DEVICE(device);
    if (length < 13) return InvalidValue;
    std::snprintf(text, static_cast<std::size_t>(length), "0000:%02X:00.0", device + 1);
    return Success;
}

API cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
    NEED_DEVICE(device);
    *bytes = Settings::get().memory_bytes;
    return Success;
}

API cuDeviceGetAttribute(int* value, int attribute, int device) {
    NEED_DEVICE(device);
    if (attribute < 1) return InvalidValue;
    *value = attribute_of(attribute, device);
    return Success;
}

// ---- contexts ----

API cuDevicePrimaryCtxRetain(Context** out, int device) {
    NEED_DEVICE(device);
    Context* const context = state.context_of(device);
    if (context->retained++ == 0) context->legacy = Stream::start(true);
    *out = context;
    return Success;
}

/// The last release ends the context and frees its memory, once all its work is done.
API cuDevicePrimaryCtxRelease_v2(int device) {
    State& state = State::get();
    std::unique_lock lock(state.mutex);
    if (!state.initialized) return NotInitialized;
    if (device < 0 || device >= Settings::get().devices) return InvalidDevice;
    Context& context = *state.context_of(device);
    if (context.retained == 0) return InvalidContext;
    if (--context.retained != 0) return Success;
    wait_for_all(lock, context);
    for (const auto& entry : context.streams) entry.second->close();
    context.streams.clear();
    context.legacy->close();
    state.memory.release_all(device);
    if (current_context == &context) current_context = nullptr;
    return Success;
}

API cuCtxSetCurrent(Context* context) {
    NEED_DRIVER;
    if (context != nullptr && context->retained == 0) return InvalidContext;
    current_context = context;
    return Success;
}

API cuCtxGetCurrent(Context** context) {
    NEED_DRIVER;
    *context = current_context;
    return Success;
}

API cuCtxGetDevice(int* device) {
    NEED_CONTEXT;
    *device = context.device;
    return Success;
}

API cuCtxSetFlags(unsigned) {
    NEED_CONTEXT;
    static_cast<void>(context);
    return Success;
}

API cuCtxSynchronize() {
    NEED_CONTEXT;
    NEED_NO_CAPTURE;
    wait_for_all(lock, context);
    return state.sticky();
}

API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    NEED_CONTEXT;
    static_cast<void>(context);
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
    return Success;
}
