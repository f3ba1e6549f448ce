// Numbers of the CUDA driver API that the emulated driver uses: results and attributes.
#pragma once

#include <cstdint>

namespace assay::emulated {

enum Result : int {
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    NotInitialized = 3,
    NoDevice = 100,
    InvalidDevice = 101,
    InvalidImage = 200,
    InvalidContext = 201,
    FileNotFound = 301,
    InvalidHandle = 400,
    IllegalState = 401,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    NotSupported = 801,
    CaptureUnsupported = 900,
    CaptureInvalidated = 901,
    CaptureUnmatched = 903,
    CaptureIsolation = 905,
    CaptureImplicit = 906,
    CapturedEvent = 907,
};

struct ResultText {
    Result result;
    const char* name;
    const char* text;
};

inline constexpr ResultText kResultTexts[] = {
    {Success, "CUDA_SUCCESS", "no error"},
    {InvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NoDevice, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {InvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {InvalidImage, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {InvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {FileNotFound, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {InvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {IllegalState, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {NotFound, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {IllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {NotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CaptureUnmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {CaptureIsolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {CaptureImplicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream"},
    {CapturedEvent, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
};

inline const ResultText* text_of(int result) {
    for (const ResultText& entry : kResultTexts)
        if (entry.result == result) return &entry;
    return nullptr;
}

inline constexpr int kMultiprocessors = 4;
inline constexpr int kThreadsPerMultiprocessor = 2048;
inline constexpr int kBlocksPerMultiprocessor = 32;
inline constexpr int kSharedPerMultiprocessor = 233472;
inline constexpr int kSharedPerBlock = 49152;
inline constexpr int kSharedPerBlockOptIn = 232448;
inline constexpr int kSharedReserved = 1024;
inline constexpr int kRegisters = 32;

/// Attributes of a small device of compute capability 9.0, by their number; any other is 0.
inline int attribute_of(int attribute, int device) {
    switch (attribute) {
        case 1: return 1024;                         // MAX_THREADS_PER_BLOCK
        case 2: case 3: return 1024;                 // MAX_BLOCK_DIM_X, _Y
        case 4: return 64;                           // MAX_BLOCK_DIM_Z
        case 5: return 2147483647;                   // MAX_GRID_DIM_X
        case 6: case 7: return 65535;                // MAX_GRID_DIM_Y, _Z
        case 8: return kSharedPerBlock;              // MAX_SHARED_MEMORY_PER_BLOCK
        case 9: return 65536;                        // TOTAL_CONSTANT_MEMORY
        case 10: return 32;                          // WARP_SIZE
        case 11: return 2147483647;                  // MAX_PITCH
        case 12: return 65536;                       // MAX_REGISTERS_PER_BLOCK
        case 13: return 1000000;                     // CLOCK_RATE, kHz
        case 14: return 512;                         // TEXTURE_ALIGNMENT
        case 15: return 1;                           // GPU_OVERLAP
        case 16: return kMultiprocessors;            // MULTIPROCESSOR_COUNT
        case 19: return 1;                           // CAN_MAP_HOST_MEMORY
        case 31: return 1;                           // CONCURRENT_KERNELS
        case 33: return device + 1;                  // PCI_BUS_ID
        case 36: return 1000000;                     // MEMORY_CLOCK_RATE, kHz
        case 37: return 256;                         // GLOBAL_MEMORY_BUS_WIDTH, bits
        case 38: return 4 << 20;                     // L2_CACHE_SIZE
        case 39: return kThreadsPerMultiprocessor;   // MAX_THREADS_PER_MULTIPROCESSOR
        case 40: return 2;                           // ASYNC_ENGINE_COUNT
        case 41: return 1;                           // UNIFIED_ADDRESSING
        case 75: return 9;                           // COMPUTE_CAPABILITY_MAJOR
        case 78: return 1;                           // STREAM_PRIORITIES_SUPPORTED
        case 79: case 80: return 1;                  // GLOBAL_L1_CACHE_SUPPORTED, LOCAL_
        case 81: return kSharedPerMultiprocessor;    // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        case 82: return 65536;                       // MAX_REGISTERS_PER_MULTIPROCESSOR
        case 83: return 1;                           // MANAGED_MEMORY
        case 87: return 2;                           // SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO
        case 89: return 1;                           // CONCURRENT_MANAGED_ACCESS
        case 90: return 1;                           // COMPUTE_PREEMPTION_SUPPORTED
        case 97: return kSharedPerBlockOptIn;        // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        case 106: return kBlocksPerMultiprocessor;   // MAX_BLOCKS_PER_MULTIPROCESSOR
        case 111: return kSharedReserved;            // RESERVED_SHARED_MEMORY_PER_BLOCK
        case 115: return 1;                          // MEMORY_POOLS_SUPPORTED
        default: return 0;
    }
}

}  // namespace assay::emulated
