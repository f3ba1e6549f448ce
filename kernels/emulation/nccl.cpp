// An emulated `libnccl.so.2`: the part of NCCL that Assay calls, on the emulated driver.
//
//   c++ -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -Wl,-soname,libnccl.so.2 nccl.cpp -o libnccl.so.2
//
// Ranks are connected to the first one by sockets: it adds up what all have, the last first (an order of its own, as NCCL's is), and
// sends the sums back, as work of the stream. As with the library, calls between `ncclGroupStart` and `ncclGroupEnd` begin together, no
// two ranks share a device, and who waits for a rank that is gone waits until the communicator is aborted.
//
// `ASSAY_EMULATED_NCCL` is a mistake, of one rank, by its N-th work or call where a number is asked for:
//   die RANK N         its process ends
//   skew RANK N        one of its sums has another bit
//   late RANK N CODE   its work never ends, and the communicator's state is this error
//   fail RANK N CODE   the call of `ncclAllReduce` gives this error
//   meet RANK 0 CODE   the call of `ncclCommInitRank` does
//   version RANK N     the version is N, of every rank
// `ASSAY_EMULATED_NCCL_LOG` is a folder: each rank writes its calls into a file of its number.

#include <dlfcn.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Result : int { Success = 0, UnhandledCudaError = 1, SystemError = 2, InternalError = 3, InvalidArgument = 4, InvalidUsage = 5 };
constexpr int kFloat32 = 7, kSum = 0;

struct UniqueId {
    char name[128];
};

/// What is to go wrong.
struct Mistake {
    std::string what;
    long rank = -1, number = 0;
    int code = 0;

    static const Mistake& get() {
        static const Mistake mistake = [] {
            Mistake read;
            const char* const text = std::getenv("ASSAY_EMULATED_NCCL");
            std::istringstream(text == nullptr ? "" : text) >> read.what >> read.rank >> read.number >> read.code;
            return read;
        }();
        return mistake;
    }

    bool is(const char* name, int of, long count) const { return what == name && rank == of && number == count; }
};

void note(int rank, const std::string& line) {
    const char* const folder = std::getenv("ASSAY_EMULATED_NCCL_LOG");
    if (folder == nullptr) return;
    if (std::FILE* const file = std::fopen((std::string(folder) + "/" + std::to_string(rank)).c_str(), "a")) {
        std::fprintf(file, "%s\n", line.c_str());
        std::fclose(file);
    }
}

void* driver(const char* name) {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW);
    return library == nullptr ? nullptr : dlsym(library, name);
}

/// A name of the system's alone, which no file has.
sockaddr_un address(const UniqueId& id) {
    sockaddr_un found{};
    found.sun_family = AF_UNIX;
    std::memcpy(found.sun_path + 1, id.name, 32);
    return found;
}
constexpr socklen_t kAddressBytes = offsetof(sockaddr_un, sun_path) + 1 + 32;

struct Sum {
    float* at;
    std::size_t len;
};

struct Comm {
    int rank, ranks;
    /// To all others of the first rank, to it of any other.
    std::vector<int> links;
    std::atomic<bool> aborted{false};
    std::atomic<int> state{Success}, running{0};
    std::atomic<long> works{0}, calls{0};

    bool move(int link, void* data, std::size_t bytes, bool sends);
    void add_up(const Sum& sum);
    void work(const std::vector<Sum>& sums);
    void wait_for_abort() {
        while (!aborted) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
};

/// Sends or receives all of it; false once nobody waits for it any more. Of a rank that is gone nothing comes.
bool Comm::move(int link, void* data, std::size_t bytes, bool sends) {
    for (std::size_t done = 0; done < bytes;) {
        if (aborted) return false;
        pollfd ready{link, static_cast<short>(sends ? POLLOUT : POLLIN), 0};
        if (poll(&ready, 1, 5) == 0) continue;
        char* const at = static_cast<char*>(data) + done;
        const ssize_t moved = sends ? send(link, at, bytes - done, MSG_NOSIGNAL) : recv(link, at, bytes - done, 0);
        if (moved <= 0) {
            wait_for_abort();
            return false;
        }
        done += static_cast<std::size_t>(moved);
    }
    return true;
}

void Comm::add_up(const Sum& sum) {
    std::uint64_t len = sum.len;
    const std::size_t bytes = sum.len * sizeof(float);
    if (rank != 0) {
        if (move(links[0], &len, sizeof len, true) && move(links[0], sum.at, bytes, true)) move(links[0], sum.at, bytes, false);
        return;
    }
    std::vector<std::vector<float>> all(links.size());
    for (std::size_t other = 0; other < links.size(); ++other) {
        if (!move(links[other], &len, sizeof len, false)) return;
        if (len != sum.len) {
            state = InternalError;
            return wait_for_abort();
        }
        all[other].resize(sum.len);
        if (!move(links[other], all[other].data(), bytes, false)) return;
    }
    for (std::size_t i = 0; i < sum.len; ++i) {
        float total = all.back()[i];
        for (std::size_t other = all.size() - 1; other-- > 0;) total += all[other][i];
        sum.at[i] += total;
    }
    for (const int link : links)
        if (!move(link, sum.at, bytes, true)) return;
}

void Comm::work(const std::vector<Sum>& sums) {
    const long number = ++works;
    const Mistake& mistake = Mistake::get();
    if (mistake.is("die", rank, number)) _exit(9);
    if (mistake.is("late", rank, number)) {
        state = mistake.code;
        return wait_for_abort();
    }
    for (const Sum& sum : sums) add_up(sum);
    if (mistake.is("skew", rank, number)) {
        std::uint32_t bits;
        std::memcpy(&bits, sums[0].at, sizeof bits);
        // One that no rounding of the step after it takes away.
        bits ^= 1u << 20;
        std::memcpy(sums[0].at, &bits, sizeof bits);
    }
}

/// What was enqueued: it may run again, if it was captured.
struct Call {
    Comm* comm;
    std::vector<Sum> sums;
};

void run(void* argument) {
    const Call& call = *static_cast<Call*>(argument);
    Comm& comm = *call.comm;
    ++comm.running;
    if (!comm.aborted) comm.work(call.sums);
    --comm.running;
}

std::mutex mutex;
std::set<Comm*> comms;
/// Where the first rank waits for the others: of the id that it gave last.
int listener = -1;

thread_local int depth = 0;
thread_local std::vector<std::pair<Call, void*>> grouped;
thread_local std::string last_error;

int failed(int result, const std::string& words) {
    last_error = words;
    return result;
}

int enqueue(Call call, void* stream) {
    using Launch = int (*)(void*, void (*)(void*), void*);
    const auto launch = reinterpret_cast<Launch>(driver("cuLaunchHostFunc"));
    if (launch == nullptr) return failed(UnhandledCudaError, "no driver");
    // Kept as long as the process: a graph may have it.
    return launch(stream, run, new Call(std::move(call))) == 0 ? Success : failed(UnhandledCudaError, "no such stream");
}

bool whole(int link, void* data, std::size_t bytes, bool sends) {
    for (std::size_t done = 0; done < bytes;) {
        char* const at = static_cast<char*>(data) + done;
        const ssize_t moved = sends ? send(link, at, bytes - done, MSG_NOSIGNAL) : recv(link, at, bytes - done, 0);
        if (moved <= 0) return false;
        done += static_cast<std::size_t>(moved);
    }
    return true;
}

/// Meets all others, each of which says who it is and on which device, and tells them whether that will do.
int meet_all(Comm& comm, int device) {
    std::set<int> devices{device};
    comm.links.assign(static_cast<std::size_t>(comm.ranks - 1), -1);
    int result = Success;
    for (int other = 1; other < comm.ranks; ++other) {
        const int link = accept(listener, nullptr, nullptr);
        int who[3];
        if (link < 0 || !whole(link, who, sizeof who, false)) return failed(SystemError, "a rank did not come");
        if (who[0] < 1 || who[0] >= comm.ranks || comm.links[who[0] - 1] >= 0 || who[2] != comm.ranks) result = InvalidArgument;
        if (!devices.insert(who[1]).second) result = failed(InvalidUsage, "Duplicate GPU detected");
        if (result != InvalidArgument) comm.links[who[0] - 1] = link;
    }
    for (const int link : comm.links)
        if (link >= 0) whole(link, &result, sizeof result, true);
    return result;
}

int meet_first(Comm& comm, const UniqueId& id, int device) {
    const int link = socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un at = address(id);
    if (connect(link, reinterpret_cast<const sockaddr*>(&at), kAddressBytes) != 0) return failed(SystemError, "no such id");
    int who[3] = {comm.rank, device, comm.ranks};
    int result = SystemError;
    if (!whole(link, who, sizeof who, true) || !whole(link, &result, sizeof result, false)) return failed(SystemError, "the first rank is gone");
    comm.links = {link};
    return result;
}

}  // namespace

API int ncclGetVersion(int* version) {
    if (version == nullptr) return InvalidArgument;
    // One that no NCCL has.
    *version = Mistake::get().what == "version" ? static_cast<int>(Mistake::get().number) : 29'999;
    return Success;
}

API const char* ncclGetErrorString(int result) {
    static const char* const words[] = {"no error",         "unhandled cuda error", "unhandled system error", "internal error",
                                        "invalid argument", "invalid usage",        "remote process exited or there was a network error"};
    return result >= 0 && result < 7 ? words[result] : "unknown result code";
}

API const char* ncclGetLastError(void*) { return last_error.c_str(); }

API int ncclGetUniqueId(UniqueId* id) {
    if (id == nullptr) return InvalidArgument;
    const std::lock_guard lock(mutex);
    static int count = 0;
    *id = {};
    std::snprintf(id->name, sizeof id->name, "assay-nccl-%d-%d", getpid(), ++count);
    if (listener >= 0) close(listener);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un at = address(*id);
    const bool listens = bind(listener, reinterpret_cast<const sockaddr*>(&at), kAddressBytes) == 0 && listen(listener, 64) == 0;
    return listens ? Success : failed(SystemError, "no socket");
}

API int ncclCommInitRank(Comm** out, int ranks, UniqueId id, int rank) {
    using Device = int (*)(int*);
    const auto get_device = reinterpret_cast<Device>(driver("cuCtxGetDevice"));
    int device = -1;
    if (get_device == nullptr || get_device(&device) != 0) return failed(UnhandledCudaError, "no context");
    if (ranks < 1 || rank < 0 || rank >= ranks || depth != 0) return InvalidArgument;
    if (Mistake::get().is("meet", rank, 0)) return failed(Mistake::get().code, "as it was told");
    auto comm = std::make_unique<Comm>();
    comm->rank = rank;
    comm->ranks = ranks;
    const int result = rank == 0 ? meet_all(*comm, device) : meet_first(*comm, id, device);
    if (result != Success) return result;
    note(rank, "meet " + std::to_string(ranks) + " on " + std::to_string(device));
    const std::lock_guard lock(mutex);
    comms.insert(comm.get());
    *out = comm.release();
    return Success;
}

API int ncclCommGetAsyncError(Comm* comm, int* state) {
    const std::lock_guard lock(mutex);
    if (comms.count(comm) == 0 || state == nullptr) return InvalidArgument;
    *state = comm->state;
    return Success;
}

/// What runs is ended; the rest is kept, for a graph may have it.
API int ncclCommAbort(Comm* comm) {
    {
        const std::lock_guard lock(mutex);
        if (comms.erase(comm) == 0) return InvalidArgument;
    }
    comm->aborted = true;
    while (comm->running > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (const int link : comm->links) close(link);
    note(comm->rank, "abort");
    return Success;
}

API int ncclGroupStart() {
    ++depth;
    return Success;
}

API int ncclGroupEnd() {
    if (depth == 0) return failed(InvalidUsage, "not in a group call");
    if (--depth > 0) return Success;
    // All at once, of each communicator.
    std::vector<std::pair<Call, void*>> together;
    for (auto& [call, stream] : grouped) {
        auto found = std::find_if(together.begin(), together.end(), [&, at = stream](const auto& other) {
            return other.first.comm == call.comm && other.second == at;
        });
        if (found == together.end()) together.emplace_back(std::move(call), stream);
        else found->first.sums.push_back(call.sums[0]);
    }
    grouped.clear();
    for (auto& [call, stream] : together) {
        note(call.comm->rank, "group of " + std::to_string(call.sums.size()));
        if (const int result = enqueue(std::move(call), stream); result != Success) return result;
    }
    return Success;
}

API int ncclAllReduce(const void* from, void* to, std::size_t count, int type, int op, Comm* comm, void* stream) {
    {
        const std::lock_guard lock(mutex);
        if (comms.count(comm) == 0) return failed(InvalidArgument, "no such communicator");
    }
    if (from != to || type != kFloat32 || op != kSum) return failed(InvalidArgument, "the emulation adds up float32 in place");
    if (Mistake::get().is("fail", comm->rank, ++comm->calls)) return failed(Mistake::get().code, "as it was told");
    Call call{comm, {Sum{static_cast<float*>(to), count}}};
    if (depth == 0) return enqueue(std::move(call), stream);
    grouped.emplace_back(std::move(call), stream);
    return Success;
}
