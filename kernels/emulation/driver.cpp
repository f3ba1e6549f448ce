// An emulated `libcuda.so.1`: the part of the CUDA driver API that Assay calls, on a machine without a GPU.
//
//   c++ -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -Wl,-soname,libcuda.so.1 driver.cpp -o libcuda.so.1
//
// Put first on the library path, it is found in the place of NVIDIA's. Streams are threads, events have times of the
// host's clock, memory is memory of the host. A module is a cubin (or PTX) as NVRTC makes it, which is asked only what
// kernels it has; what runs is the kernel of the same mangled name from a plugin (`emulation.hpp` says how one is
// compiled). So everything but the kernels' speed is as with a GPU: argument checks, queues, captures, failures.
//
// The environment says what device it is and how it fails:
//
//   ASSAY_EMULATED_DEVICES      how many there are; 0: `cuInit` says that there is none. Default 1.
//   ASSAY_EMULATED_NAME         their name. Default `Emulated GPU`.
//   ASSAY_EMULATED_MEMORY       bytes of memory each; beyond them allocations fail. Default 2 GiB.
//   ASSAY_EMULATED_FAIL_LAUNCH  the launch (1 is the first; those in graphs count as they run) that ends in
//                               CUDA_ERROR_ILLEGAL_ADDRESS. From then on every call gives that error.
//   ASSAY_EMULATED_EVENT_NS     the resolution of events: their times are rounded down to multiples of it. Default 1.
//   ASSAY_EMULATED_QUEUE        how much work waits in a stream at most; whoever submits more waits. Default 1024.
//   ASSAY_EMULATED_PLUGINS      the folder of the plugins (all `*.so` there but `lib*`). Default: that of this library.
//
// Not like a GPU: an access outside of memory is not noticed (the sanitizer programs do that), blocks run one after the
// other, allocations made on a stream take effect at once, and what is not here does not exist.

#include "driver/device_calls.hpp"
#include "driver/launch_calls.hpp"
#include "driver/memory_calls.hpp"
#include "driver/stream_calls.hpp"
