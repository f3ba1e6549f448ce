// A CUDA runtime without a GPU: what nvcc compiled from example_worker.cu links against this in place of cudart.
// Calls are queued and executed by a thread in order, so that gates really hold back and events really wait; memory is
// the host's; the kernels of the example and of assay_worker.hpp have twins here, found by their names. It shows that
// the host's side of the header is right, and nothing about kernels. Variables make it misbehave:
//
//     FAKE_DEVICES=N         how many there are (2): "Fake A100", "Fake H100"; 0 answers as if there were no driver
//     FAKE_BUSY=1            the first one is taken by somebody else
//     FAKE_MEMORY=BYTES      what can be allocated (1 GiB)
//     FAKE_FAULT_AT=N        the launch of saxpy that faults: from then on each call fails
//     FAKE_BLOCKING=N        launches of saxpy wait for the device, the first N of them
//     FAKE_LATENCY=MS        what each launch and record costs the host, from the first launch of saxpy on
//     FAKE_DEPTH=N           how many launches a stream takes before it blocks the host (1000)
//     FAKE_PATIENCE=N        how many times its limit a gate waits (100), so that a busy machine disturbs no test
//     FAKE_TRACE=PATH        what was executed, a word a line
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "cuda_runtime_api.h"
#include "assay_worker.hpp"

namespace {

long number(const char* name, long otherwise) {
    const char* text = std::getenv(name);
    return text ? std::atol(text) : otherwise;
}

void trace(const char* word) {
    static std::FILE* file = std::getenv("FAKE_TRACE") ? std::fopen(std::getenv("FAKE_TRACE"), "w") : nullptr;
    if (file) std::fprintf(file, "%s\n", word), std::fflush(file);
}

bool has_begun = false;

void latency() {
    static const std::chrono::milliseconds cost(number("FAKE_LATENCY", 0));
    if (has_begun) std::this_thread::sleep_for(cost);
}

using Work = std::function<void()>;

/// The device: one queue for all streams, as blocking streams and the legacy one behave together.
class Device {
public:
    Device() : thread_([this] { run(); }) {}
    ~Device() {
        push(nullptr, false);
        thread_.join();
    }

    void push(Work work, bool bounded = true) {
        std::unique_lock lock(mutex_);
        static const auto depth = static_cast<std::size_t>(number("FAKE_DEPTH", 1000));
        if (bounded) changed_.wait(lock, [&] { return queue_.size() < depth; });
        queue_.push_back(std::move(work));
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return queue_.empty(); });
    }

private:
    void run() {
        for (;;) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return !queue_.empty(); });
            const Work work = queue_.front();
            lock.unlock();
            if (!work) return;
            work();
            lock.lock();
            queue_.pop_front();
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Work> queue_;
    std::thread thread_;
};

Device& device() {
    static Device made;
    return made;
}

/// Kernels by the address of their host function. They are registered before this file's own objects are made.
std::map<const void*, std::string>& names() {
    static std::map<const void*, std::string> made;
    return made;
}

std::map<void*, std::size_t> allocated;
std::vector<Work>* captured = nullptr;
cudaError_t last = cudaSuccess;                 // forgotten once asked for
std::atomic<cudaError_t> sticky{cudaSuccess};   // never
std::size_t used = 0;

cudaError_t result(cudaError_t error = cudaSuccess) {
    if (sticky != cudaSuccess) error = sticky;
    if (error != cudaSuccess) last = error;
    return error;
}

void gate(volatile unsigned* state, std::uint64_t limit_ns) {
    trace("gate");
    limit_ns *= static_cast<std::uint64_t>(number("FAKE_PATIENCE", 100));
    const std::uint64_t begin = assay::monotonic_ns();
    while (__atomic_load_n(&state[0], __ATOMIC_SEQ_CST) == 0) {
        if (assay::monotonic_ns() - begin < limit_ns) continue;
        state[1] = 1;
        trace("timeout");
        return;
    }
}

void sweep(const std::uint32_t* data, std::size_t count) {
    trace(count * 16 > (std::size_t{32} << 20) - 1 ? "sweep" : "sweep of too little");
    for (std::size_t i = 0; i < 4 * count; ++i)
        if (data[i] != 0) std::abort();
}

struct Saxpy {
    float a;
    const float *x, *y;
    float* out;
    std::size_t count;

    void operator()() const {
        trace("saxpy");
        static long launches = 0;
        if (++launches == number("FAKE_FAULT_AT", -1)) sticky = cudaErrorIllegalAddress;
        if (sticky != cudaSuccess) return;
        for (std::size_t i = 0; i < count; ++i) out[i] = a * x[i] + y[i];
    }
};

template <class T>
T argument(void** arguments, int index) {
    return *static_cast<T*>(arguments[index]);
}

/// What a launch will do; the arguments are read now, as a launch does.
Work twin(const std::string& name, void** arguments) {
    const auto is = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (is("gate_kernel"))
        return [state = argument<volatile unsigned*>(arguments, 0), limit_ns = argument<std::uint64_t>(arguments, 1)] {
            gate(state, limit_ns);
        };
    if (is("sweep_kernel"))
        return [data = argument<const std::uint32_t*>(arguments, 0), count = argument<std::size_t>(arguments, 1)] {
            sweep(data, count);
        };
    if (is("tick_kernel"))
        return [ticks = argument<std::uint64_t*>(arguments, 0)] {
            trace("tick");
            ticks[1] = assay::monotonic_ns();
            ticks[0] = ticks[1] + ticks[1] / 2;  // 1.5 GHz
        };
    if (is("fill_kernel"))
        return [random = argument<assay::Philox>(arguments, 0), out = argument<float*>(arguments, 1),
                count = argument<std::size_t>(arguments, 2)] { random.fill(out, count); };
    if (is("saxpy"))
        return Saxpy{argument<float>(arguments, 0), argument<const float*>(arguments, 1),
                     argument<const float*>(arguments, 2), argument<float*>(arguments, 3),
                     argument<std::size_t>(arguments, 4)};
    std::fprintf(stderr, "the fake runtime has no twin of %s\n", name.c_str());
    std::abort();
}

}  // namespace

struct CUevent_st {
    std::uint64_t at_ns = 0;
};
struct CUstream_st {};
struct CUgraph_st {
    std::vector<Work> works;
};
struct CUgraphExec_st {
    std::vector<Work> works;
};

extern "C" {

// What nvcc generates calls of, once a program and once a launch.

static struct {
    dim3 grid, block;
    std::size_t shared;
    cudaStream_t stream;
} configuration;

void** __cudaRegisterFatBinary(void*) { return nullptr; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, void*, void*, void*, void*, int*) {
    names()[host] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, cudaStream_t stream) {
    configuration = {grid, block, shared, stream};
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
    *grid = configuration.grid;
    *block = configuration.block;
    *shared = configuration.shared;
    *static_cast<cudaStream_t*>(stream) = configuration.stream;
    return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
    *kernel = static_cast<cudaKernel_t>(const_cast<void*>(host));
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3, void** arguments, std::size_t, cudaStream_t) {
    if (grid.x == 0) return result(cudaErrorInvalidConfiguration);
    const std::string& name = names()[kernel];
    // A first launch loads its module, which waits for the device.
    static std::set<std::string> loaded;
    if (loaded.insert(name).second) device().wait();
    has_begun = has_begun || name.find("saxpy") != std::string::npos;
    latency();
    Work work = twin(name, arguments);
    if (captured) {
        captured->push_back(std::move(work));
        return result();
    }
    device().push(std::move(work));
    static long blocking = number("FAKE_BLOCKING", 0);
    if (name.find("saxpy") != std::string::npos && blocking > 0) --blocking, device().wait();
    return result();
}

// Devices and errors.

cudaError_t cudaGetDeviceCount(int* count) {
    *count = static_cast<int>(number("FAKE_DEVICES", 2));
    return result(*count == 0 ? cudaErrorInsufficientDriver : cudaSuccess);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
    *properties = {};
    std::strcpy(properties->name, index == 0 ? "Fake A100" : "Fake H100");
    for (int i = 0; i < 16; ++i) properties->uuid.bytes[i] = static_cast<char>(0xE0 + index + i);
    properties->multiProcessorCount = 4;
    properties->l2CacheSize = 1 << 20;
    return result();
}
static int current = 0;
cudaError_t cudaSetDevice(int index) {
    current = index;
    return result();
}
cudaError_t cudaDeviceSynchronize() {
    device().wait();
    return result();
}
cudaError_t cudaGetLastError() {
    const cudaError_t error = result(last);
    last = cudaSuccess;
    return error;
}
const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
        case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
        case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
        case cudaErrorDevicesUnavailable: return "cudaErrorDevicesUnavailable";
        default: return "another error";
    }
}
const char* cudaGetErrorString(cudaError_t) { return "in words"; }
cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 13050;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
    *version = number("FAKE_DEVICES", 2) == 0 ? 0 : 13010;
    return cudaSuccess;
}

// Memory.

cudaError_t cudaMalloc(void** made, std::size_t bytes) {
    if (bytes > static_cast<std::size_t>(number("FAKE_MEMORY", 1 << 30)) - used)
        return result(cudaErrorMemoryAllocation);
    *made = std::malloc(bytes);
    allocated[*made] = bytes;
    used += bytes;
    return result();
}
cudaError_t cudaFree(void* data) {
    if (!data) return result(current == 0 && number("FAKE_BUSY", 0) ? cudaErrorDevicesUnavailable : cudaSuccess);
    device().wait();
    const auto found = allocated.find(data);
    if (found == allocated.end()) std::abort();
    used -= found->second;
    allocated.erase(found);
    std::free(data);
    return result();
}
cudaError_t cudaHostAlloc(void** made, std::size_t bytes, unsigned) {
    *made = std::malloc(bytes);
    return result();
}
cudaError_t cudaFreeHost(void* data) {
    device().wait();
    std::free(data);
    return result();
}
cudaError_t cudaHostGetDevicePointer(void** on_device, void* host, unsigned) {
    *on_device = host;
    return result();
}
cudaError_t cudaMemset(void* data, int byte, std::size_t bytes) {
    device().wait();
    std::memset(data, byte, bytes);
    return result();
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
    device().wait();
    std::memcpy(to, from, bytes);
    return result();
}

// Streams, events, graphs.

cudaError_t cudaStreamCreate(cudaStream_t* made) {
    *made = new CUstream_st;
    return result();
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    return result();
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }
cudaError_t cudaEventCreate(cudaEvent_t* made) {
    *made = new CUevent_st;
    return result();
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    device().wait();
    delete event;
    return result();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    latency();
    device().push([event] {
        trace("record");
        event->at_ns = assay::monotonic_ns();
    });
    return result();
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaDeviceSynchronize(); }
cudaError_t cudaEventElapsedTime(float* elapsed_ms, cudaEvent_t start, cudaEvent_t stop) {
    *elapsed_ms = static_cast<float>(static_cast<double>(stop->at_ns - start->at_ns) * 1e-6);
    return result();
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    captured = new std::vector<Work>;
    return result();
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
    *graph = new CUgraph_st{std::move(*captured)};
    delete captured;
    captured = nullptr;
    return result();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return result();
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
    *made = new CUgraphExec_st{graph->works};
    return result();
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    device().wait();
    delete graph;
    return result();
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
    latency();
    device().push([graph] {
        trace("graph");
        for (const Work& work : graph->works) work();
    });
    return result();
}

}  // extern "C"
