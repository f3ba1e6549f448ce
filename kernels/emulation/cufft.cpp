// An emulated `libcufft.so`: the part of cuFFT that Assay calls, on the emulated driver.
//
//   c++ -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -Wl,-soname,libcufft.so cufft.cpp -o libcufft.so
//
// Transforms are the sums that define them, right and slow, and work of the plan's stream. As with the library, a plan
// that was told not to allocate needs the workspace that it asked for: it is overwritten. Only forward transforms of
// one dimension are here, one after the other in both buffers.

#include <dlfcn.h>

#include <cmath>
#include <complex>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#define API extern "C" __attribute__((visibility("default"))) int

namespace {

enum Result : int { Success = 0, InvalidPlan = 1, InvalidType = 3, InvalidValue = 4, InternalError = 5, InvalidSize = 8, NoWorkspace = 13, NotSupported = 16 };
enum Type : int { R2C = 42, C2C = 41, D2Z = 106, Z2Z = 105 };
constexpr int kForward = -1;

struct Plan {
    long long points = 0, batch = 0;
    int type = 0;
    bool allocates = true;
    void* stream = nullptr;
    void* workspace = nullptr;
    std::size_t workspace_bytes = 0;

    void execute(const void* in, void* out) const;
};

/// What was enqueued: it may run again, if it was captured.
struct Call {
    Plan plan;
    const void* in;
    void* out;
};

struct Entry {
    Plan plan;
    std::deque<std::unique_ptr<Call>> calls;
};

std::mutex mutex;
std::map<int, Entry> entries;

template <class T, bool REAL>
void transform(const Plan& plan, const T* in, std::complex<T>* out) {
    const long long n = plan.points, bins = REAL ? n / 2 + 1 : n;
    for (long long signal = 0; signal < plan.batch; ++signal) {
        for (long long k = 0; k < bins; ++k) {
            std::complex<double> sum = 0;
            for (long long j = 0; j < n; ++j) {
                const long long at = signal * n + j;
                const std::complex<double> value = REAL ? std::complex<double>(in[at]) : std::complex<double>(in[2 * at], in[2 * at + 1]);
                sum += value * std::polar(1.0, -2 * M_PI * double(j * k % n) / double(n));
            }
            out[signal * bins + k] = std::complex<T>(sum);
        }
    }
}

void Plan::execute(const void* in, void* out) const {
    std::memset(workspace, 0xa5, workspace_bytes);
    switch (type) {
        case R2C: return transform<float, true>(*this, static_cast<const float*>(in), static_cast<std::complex<float>*>(out));
        case C2C: return transform<float, false>(*this, static_cast<const float*>(in), static_cast<std::complex<float>*>(out));
        case D2Z: return transform<double, true>(*this, static_cast<const double*>(in), static_cast<std::complex<double>*>(out));
        default: return transform<double, false>(*this, static_cast<const double*>(in), static_cast<std::complex<double>*>(out));
    }
}

void run(void* call) {
    const Call& self = *static_cast<Call*>(call);
    self.plan.execute(self.in, self.out);
}

int enqueue(int handle, int type, const void* in, void* out) {
    using Launch = int (*)(void*, void (*)(void*), void*);
    const std::lock_guard lock(mutex);
    const auto found = entries.find(handle);
    if (found == entries.end() || found->second.plan.points == 0) return InvalidPlan;
    Entry& entry = found->second;
    if (entry.plan.type != type) return InvalidType;
    if (entry.plan.workspace == nullptr) return NoWorkspace;
    void* const driver = dlopen("libcuda.so.1", RTLD_NOW);
    const auto launch = driver == nullptr ? nullptr : reinterpret_cast<Launch>(dlsym(driver, "cuLaunchHostFunc"));
    if (launch == nullptr) return InternalError;
    entry.calls.push_back(std::make_unique<Call>(Call{entry.plan, in, out}));
    return launch(entry.plan.stream, run, entry.calls.back().get()) == 0 ? Success : InternalError;
}

}  // namespace

#define NEED_PLAN(handle)                                \
    const std::lock_guard lock(mutex);                   \
    const auto found = entries.find(handle);             \
    if (found == entries.end()) return InvalidPlan;      \
    Plan& plan = found->second.plan

/// A version that no cuFFT has.
API cufftGetProperty(int which, int* value) {
    if (which < 0 || which > 2 || value == nullptr) return InvalidValue;
    *value = which == 0 ? 12 : which == 1 ? 0 : 999;
    return Success;
}

API cufftCreate(int* handle) {
    const std::lock_guard lock(mutex);
    *handle = entries.empty() ? 1 : entries.rbegin()->first + 1;
    entries[*handle] = {};
    return Success;
}

API cufftDestroy(int handle) {
    const std::lock_guard lock(mutex);
    return entries.erase(handle) == 1 ? Success : InvalidPlan;
}

API cufftSetAutoAllocation(int handle, int allocates) {
    NEED_PLAN(handle);
    plan.allocates = allocates != 0;
    return Success;
}

API cufftMakePlanMany64(int handle, int rank, long long* n, long long* in_layout, long long in_stride, long long in_distance,
                        long long* out_layout, long long out_stride, long long out_distance, int type, long long batch,
                        std::size_t* workspace_bytes) {
    NEED_PLAN(handle);
    static_cast<void>(in_stride), static_cast<void>(in_distance), static_cast<void>(out_stride), static_cast<void>(out_distance);
    if (rank != 1 || in_layout != nullptr || out_layout != nullptr || plan.allocates) return NotSupported;
    if (type != R2C && type != C2C && type != D2Z && type != Z2Z) return InvalidType;
    if (n == nullptr || n[0] < 1 || batch < 1) return InvalidSize;
    plan.points = n[0];
    plan.batch = batch;
    plan.type = type;
    plan.workspace_bytes = 64;
    *workspace_bytes = plan.workspace_bytes;
    return Success;
}

API cufftSetWorkArea(int handle, void* workspace) {
    NEED_PLAN(handle);
    plan.workspace = workspace;
    return Success;
}

API cufftSetStream(int handle, void* stream) {
    NEED_PLAN(handle);
    plan.stream = stream;
    return Success;
}

API cufftExecR2C(int handle, const void* in, void* out) { return enqueue(handle, R2C, in, out); }
API cufftExecD2Z(int handle, const void* in, void* out) { return enqueue(handle, D2Z, in, out); }
API cufftExecC2C(int handle, const void* in, void* out, int direction) {
    return direction == kForward ? enqueue(handle, C2C, in, out) : NotSupported;
}
API cufftExecZ2Z(int handle, const void* in, void* out, int direction) {
    return direction == kForward ? enqueue(handle, Z2Z, in, out) : NotSupported;
}
