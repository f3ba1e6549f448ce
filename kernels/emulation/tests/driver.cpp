// Drives the emulated driver through its API, as a program for CUDA would: `driver LIBRARY SCENARIO`.
#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Address = unsigned long long;

void* library = nullptr;

/// Calls a function of the driver; the arguments must have its types.
template <typename... Arguments>
int call(const char* name, Arguments... arguments) {
    void* const symbol = dlsym(library, name);
    if (symbol == nullptr) {
        std::printf("%s does not exist\n", name);
        std::exit(1);
    }
    return reinterpret_cast<int (*)(Arguments...)>(symbol)(arguments...);
}

void check(bool condition, int line, const char* words) {
    if (condition) return;
    std::printf("line %d: not so: %s\n", line, words);
    std::exit(1);
}
#define CHECK(condition) check(condition, __LINE__, #condition)

constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNoDevice = 100;
constexpr int kInvalidDevice = 101;
constexpr int kInvalidImage = 200;
constexpr int kInvalidHandle = 400;
constexpr int kNotFound = 500;
constexpr int kNotReady = 600;
constexpr int kIllegalAddress = 700;
constexpr int kCaptureUnsupported = 900;
constexpr int kCaptureInvalidated = 901;

// What stands for a module: PTX that names the kernels. One of them is in no plugin.
const char* const kImage =
    ".visible .entry _Z5scalePfyf()\n.visible .entry _Z10block_sumsPKfPf()\n.visible .entry _Z4gatePVjS0_y()\n"
    ".visible .entry _Z8count_upPj()\n.visible .entry _Z6absentv()\n";

void* context = nullptr;
void* module = nullptr;

void begin() {
    CHECK(call("cuInit", 0u) == 0);
    CHECK(call("cuDevicePrimaryCtxRetain", &context, 0) == 0);
    CHECK(call("cuCtxSetCurrent", context) == 0);
    CHECK(call("cuModuleLoadData", &module, static_cast<const void*>(kImage)) == 0);
}

void* function(const char* name) {
    void* found = nullptr;
    CHECK(call("cuModuleGetFunction", &found, module, name) == 0);
    return found;
}

Address device_memory(std::size_t bytes) {
    Address address = 0;
    CHECK(call("cuMemAlloc_v2", &address, bytes) == 0);
    return address;
}

void* stream() {
    void* created = nullptr;
    constexpr unsigned non_blocking = 1;
    CHECK(call("cuStreamCreate", &created, non_blocking) == 0);
    return created;
}

void* event() {
    void* created = nullptr;
    CHECK(call("cuEventCreate", &created, 0u) == 0);
    return created;
}

int launch(void* kernel, unsigned blocks, unsigned threads, unsigned shared_bytes, void* on, std::vector<void*> arguments) {
    return call("cuLaunchKernel", kernel, blocks, 1u, 1u, threads, 1u, 1u, shared_bytes, on, arguments.data(), static_cast<void**>(nullptr));
}

std::vector<float> read(Address from, std::size_t count) {
    std::vector<float> values(count);
    CHECK(call("cuMemcpyDtoH_v2", static_cast<void*>(values.data()), from, count * sizeof(float)) == 0);
    return values;
}

void device_and_arguments() {
    int value = 0;
    CHECK(call("cuDeviceGetCount", &value) == 0 && value == 1);
    CHECK(call("cuDeviceGet", &value, 1) == kInvalidDevice);
    CHECK(call("cuDeviceGetAttribute", &value, 75, 0) == 0 && value == 9);
    char name[64];
    CHECK(call("cuDeviceGetName", static_cast<char*>(name), 64, 0) == 0 && std::strcmp(name, "Emulated GPU") == 0);
    const char* words = nullptr;
    CHECK(call("cuGetErrorName", kOutOfMemory, &words) == 0 && std::strcmp(words, "CUDA_ERROR_OUT_OF_MEMORY") == 0);

    void* nothing = &value;
    CHECK(call("cuGetExportTable", &nothing, static_cast<const void*>(nullptr)) == kNotFound && nothing == nullptr);
    CHECK(call("cuModuleLoadData", &nothing, static_cast<const void*>("no module")) == kInvalidImage);
    CHECK(call("cuModuleGetFunction", &nothing, module, "_Z5otherv") == kNotFound);
    CHECK(call("cuModuleGetFunction", &nothing, module, "_Z6absentv") == kNotFound);

    void* const scale = function("_Z5scalePfyf");
    Address values = device_memory(400);
    std::uint64_t count = 100;
    float factor = 2;
    CHECK(launch(scale, 0, 32, 0, nullptr, {&values, &count, &factor}) == kInvalidValue);
    CHECK(launch(scale, 1, 2048, 0, nullptr, {&values, &count, &factor}) == kInvalidValue);
    CHECK(launch(scale, 1, 32, 100000, nullptr, {&values, &count, &factor}) == kInvalidValue);
    CHECK(call("cuFuncSetAttribute", scale, 8, 100000) == 0);
    CHECK(launch(scale, 1, 32, 100000, nullptr, {&values, &count, &factor}) == 0);
    CHECK(call("cuMemsetD8_v2", values, static_cast<unsigned char>(0), std::size_t{401}) == kInvalidValue);
    CHECK(call("cuMemFree_v2", values) == 0);
    CHECK(call("cuMemFree_v2", values) == kInvalidValue);
    CHECK(call("cuStreamSynchronize", static_cast<void*>(&count)) == kInvalidHandle);
}

void kernels_and_copies() {
    std::vector<float> values(640);
    for (std::size_t index = 0; index < values.size(); ++index) values[index] = static_cast<float>(index);
    Address input = device_memory(640 * 4);
    Address sums = device_memory(10 * 4);
    std::uint64_t count = 640;
    float factor = 0.5;
    void* const on = stream();
    // What is not pinned may change once the call has returned; the arguments of a launch too.
    CHECK(call("cuMemcpyHtoDAsync_v2", input, static_cast<const void*>(values.data()), std::size_t{2560}, on) == 0);
    values.assign(640, 0);
    CHECK(launch(function("_Z5scalePfyf"), 3, 32, 0, on, {&input, &count, &factor}) == 0);
    factor = 100;
    CHECK(launch(function("_Z10block_sumsPKfPf"), 10, 64, 64 * 4, on, {&input, &sums}) == 0);
    CHECK(call("cuStreamSynchronize", on) == 0);
    const std::vector<float> got = read(sums, 10);
    for (std::size_t block = 0; block < 10; ++block) CHECK(got[block] == 0.5f * (64.0f * 64.0f * block + 63.0f * 32.0f));
    CHECK(call("cuMemsetD32Async", input, 0x40000000u, std::size_t{640}, on) == 0);
    CHECK(call("cuStreamSynchronize", on) == 0);
    CHECK(read(input, 640) == std::vector<float>(640, 2.0f));
    CHECK(call("cuStreamDestroy_v2", on) == 0);
    CHECK(call("cuStreamSynchronize", on) == kInvalidHandle);
}

/// Work behind a gate waits for the host; work on another stream does not, unless it waits for an event.
void gates_and_events() {
    void* const gated = stream();
    void* const other = stream();
    void* const before = event();
    void* const after = event();
    volatile std::uint32_t* flags = nullptr;
    CHECK(call("cuMemHostAlloc", &flags, std::size_t{8}, 0u) == 0);
    flags[0] = flags[1] = 0;
    const volatile std::uint32_t* open = flags;
    const volatile std::uint32_t* timed_out = flags + 1;
    std::uint64_t timeout_ns = 60'000'000'000;
    Address counter = device_memory(4);
    CHECK(call("cuMemsetD8_v2", counter, static_cast<unsigned char>(0), std::size_t{4}) == 0);
    CHECK(call("cuCtxSynchronize") == 0);  // the streams here do not wait for the default stream, which fills
    void* const gate = function("_Z4gatePVjS0_y");
    void* const count_up = function("_Z8count_upPj");
    CHECK(call("cuEventRecord", before, gated) == 0);
    CHECK(launch(gate, 1, 1, 0, gated, {&open, &timed_out, &timeout_ns}) == 0);
    CHECK(launch(count_up, 2, 32, 0, gated, {&counter}) == 0);
    CHECK(call("cuEventRecord", after, gated) == 0);
    CHECK(launch(count_up, 1, 32, 0, other, {&counter}) == 0);
    CHECK(call("cuStreamSynchronize", other) == 0);
    std::uint32_t count = 0;
    CHECK(call("cuMemcpyDtoH_v2", static_cast<void*>(&count), counter, std::size_t{4}) == 0);
    CHECK(count == 32);
    CHECK(call("cuEventQuery", after) == kNotReady);
    float ms = -1;
    CHECK(call("cuEventElapsedTime", &ms, before, after) == kNotReady);
    CHECK(call("cuStreamWaitEvent", other, after, 0u) == 0);
    CHECK(call("cuStreamQuery", other) == kNotReady);
    CHECK(call("cuEventSynchronize", before) == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    flags[0] = 1;
    CHECK(call("cuStreamSynchronize", other) == 0);
    CHECK(call("cuEventQuery", after) == 0);
    CHECK(call("cuEventElapsedTime_v2", &ms, before, after) == 0);
    CHECK(ms >= 2.0f);
    CHECK(flags[1] == 0);
    CHECK(call("cuMemcpyDtoH_v2", static_cast<void*>(&count), counter, std::size_t{4}) == 0);
    CHECK(count == 96);
    // And one that nobody opens.
    flags[0] = 0;
    timeout_ns = 1000;
    CHECK(launch(gate, 1, 1, 0, gated, {&open, &timed_out, &timeout_ns}) == 0);
    CHECK(call("cuCtxSynchronize") == 0);
    CHECK(flags[1] == 1);
    CHECK(call("cuMemFreeHost", const_cast<std::uint32_t*>(flags)) == 0);
}

void graphs() {
    void* const on = stream();
    void* const helper = stream();
    void* const fork = event();
    void* const join = event();
    Address counter = device_memory(4);
    void* const count_up = function("_Z8count_upPj");
    CHECK(call("cuMemsetD8_v2", counter, static_cast<unsigned char>(0), std::size_t{4}) == 0);
    CHECK(call("cuCtxSynchronize") == 0);
    CHECK(call("cuStreamBeginCapture_v2", on, 1) == 0);
    CHECK(launch(count_up, 1, 1, 0, on, {&counter}) == 0);
    CHECK(call("cuEventRecord", fork, on) == 0);
    CHECK(call("cuStreamWaitEvent", helper, fork, 0u) == 0);
    CHECK(launch(count_up, 1, 10, 0, helper, {&counter}) == 0);
    CHECK(call("cuEventRecord", join, helper) == 0);
    CHECK(call("cuStreamWaitEvent", on, join, 0u) == 0);
    void* graph = nullptr;
    CHECK(call("cuStreamEndCapture", on, &graph) == 0 && graph != nullptr);
    void* executable = nullptr;
    CHECK(call("cuGraphInstantiateWithFlags", &executable, graph, 0ull) == 0);
    CHECK(call("cuGraphDestroy", graph) == 0);
    CHECK(call("cuGraphUpload", executable, on) == 0);
    std::uint32_t count = 1;
    CHECK(call("cuMemcpyDtoH_v2", static_cast<void*>(&count), counter, std::size_t{4}) == 0);
    CHECK(count == 0);  // nothing ran while it was captured
    for (int turn = 0; turn < 3; ++turn) CHECK(call("cuGraphLaunch", executable, on) == 0);
    CHECK(call("cuStreamSynchronize", on) == 0);
    CHECK(call("cuMemcpyDtoH_v2", static_cast<void*>(&count), counter, std::size_t{4}) == 0);
    CHECK(count == 33);
    CHECK(call("cuGraphExecDestroy", executable) == 0);

    // Synchronising while a stream is captured spoils the capture.
    CHECK(call("cuStreamBeginCapture_v2", on, 1) == 0);
    CHECK(call("cuStreamSynchronize", on) == kCaptureUnsupported);
    CHECK(launch(count_up, 1, 1, 0, on, {&counter}) == kCaptureInvalidated);
    CHECK(call("cuStreamEndCapture", on, &graph) == kCaptureInvalidated && graph == nullptr);
    CHECK(launch(count_up, 1, 1, 0, on, {&counter}) == 0);
}

/// The default stream and ordinary ones take turns.
void default_stream() {
    void* blocking = nullptr;
    CHECK(call("cuStreamCreate", &blocking, 0u) == 0);
    Address values = device_memory(4);
    std::uint64_t count = 1;
    float factor = 2;
    void* const scale = function("_Z5scalePfyf");
    CHECK(call("cuMemsetD32_v2", values, 0x3F800000u, std::size_t{1}) == 0);
    for (int turn = 0; turn < 20; ++turn) CHECK(launch(scale, 1, 1, 0, turn % 2 == 0 ? blocking : nullptr, {&values, &count, &factor}) == 0);
    CHECK(read(values, 1)[0] == 1048576.0f);
}

/// With 1 MiB.
void memory_limit() {
    begin();
    std::size_t free = 0;
    std::size_t total = 0;
    Address address = 0;
    Address second = 0;
    CHECK(call("cuMemGetInfo_v2", &free, &total) == 0 && free == 1 << 20 && total == 1 << 20);
    CHECK(call("cuMemAlloc_v2", &address, std::size_t{(1 << 20) + 1}) == kOutOfMemory);
    CHECK(call("cuMemAlloc_v2", &address, std::size_t{1 << 19}) == 0);
    CHECK(call("cuMemAllocManaged", &second, std::size_t{1 << 20}, 1u) == kOutOfMemory);
    CHECK(call("cuMemAllocAsync", &second, std::size_t{1 << 19}, static_cast<void*>(nullptr)) == 0);
    CHECK(call("cuMemGetInfo_v2", &free, &total) == 0 && free == 0);
    CHECK(call("cuMemFreeAsync", second, static_cast<void*>(nullptr)) == 0);
    CHECK(call("cuMemFree_v2", address) == 0);
    CHECK(call("cuMemGetInfo_v2", &free, &total) == 0 && free == 1 << 20);
}

/// With the third launch failing.
void failing_launch() {
    begin();
    void* const count_up = function("_Z8count_upPj");
    Address counter = device_memory(4);
    for (int turn = 0; turn < 2; ++turn) CHECK(launch(count_up, 1, 1, 0, nullptr, {&counter}) == 0);
    CHECK(call("cuCtxSynchronize") == 0);
    CHECK(launch(count_up, 1, 1, 0, nullptr, {&counter}) == 0);
    CHECK(call("cuCtxSynchronize") == kIllegalAddress);
    CHECK(launch(count_up, 1, 1, 0, nullptr, {&counter}) == kIllegalAddress);
    CHECK(call("cuMemFree_v2", counter) == kIllegalAddress);
    int count = 0;
    CHECK(call("cuDeviceGetCount", &count) == 0);
}

/// With a resolution of a thousand seconds: no time passes.
void event_resolution() {
    begin();
    void* const first = event();
    void* const second = event();
    CHECK(call("cuEventRecord", first, static_cast<void*>(nullptr)) == 0);
    CHECK(call("cuEventRecord", second, static_cast<void*>(nullptr)) == 0);
    CHECK(call("cuCtxSynchronize") == 0);
    float ms = -1;
    CHECK(call("cuEventElapsedTime_v2", &ms, first, second) == 0);
    CHECK(ms == 0.0f || ms == 1e6f);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) return 2;
    library = dlopen(arguments[1], RTLD_NOW);
    if (library == nullptr) {
        std::printf("%s\n", dlerror());
        return 2;
    }
    const std::string_view scenario = arguments[2];
    if (scenario == "no-device") {
        CHECK(call("cuInit", 0u) == kNoDevice);
    } else if (scenario == "memory-limit") {
        memory_limit();
    } else if (scenario == "failing-launch") {
        failing_launch();
    } else if (scenario == "event-resolution") {
        event_resolution();
    } else {
        begin();
        device_and_arguments();
        kernels_and_copies();
        gates_and_events();
        graphs();
        default_stream();
        CHECK(call("cuModuleUnload", module) == 0);
        CHECK(call("cuDevicePrimaryCtxRelease_v2", 0) == 0);
    }
    std::printf("passed\n");
    return 0;
}
