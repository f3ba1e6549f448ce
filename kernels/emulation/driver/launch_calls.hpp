// Calls about modules, functions and launches.
#pragma once

#include "api.hpp"

API cuModuleLoadData(Module** module, const void* image) {
    NEED_CONTEXT;
    static_cast<void>(context);
    std::unique_ptr<Module> loaded = Module::load(image);
    if (loaded == nullptr) return InvalidImage;
    *module = state.modules.add(std::move(loaded));
    return Success;
}

API cuModuleLoadDataEx(Module** module, const void* image, unsigned, int*, void**) { return cuModuleLoadData(module, image); }

API cuModuleUnload(Module* module) {
    NEED_CONTEXT;
    static_cast<void>(context);
    return state.modules.remove(module) ? Success : InvalidHandle;
}

API cuModuleGetFunction(Function** function, Module* module, const char* name) {
    NEED_CONTEXT;
    static_cast<void>(context);
    return state.modules.has(module) ? module->function(name, function) : InvalidHandle;
}

#define NEED_FUNCTION(function)                                                                                    \
    NEED_CONTEXT;                                                                                                  \
    static_cast<void>(context);                                                                                    \
    if (!state.modules.any([&](const Module& module) { return module.owns(function); })) return InvalidHandle

API cuFuncGetAttribute(int* value, int attribute, Function* function) {
    NEED_FUNCTION(function);
    switch (attribute) {
        case 0: *value = 1024; break;                                // MAX_THREADS_PER_BLOCK
        case 1: *value = function->static_shared_bytes; break;       // SHARED_SIZE_BYTES
        case 4: *value = kRegisters; break;                          // NUM_REGS
        case 5: case 6: *value = 90; break;                          // PTX_VERSION, BINARY_VERSION
        case 8: *value = function->max_dynamic_shared_bytes; break;  // MAX_DYNAMIC_SHARED_SIZE_BYTES
        default: *value = 0;
    }
    return Success;
}

API cuFuncSetAttribute(Function* function, int attribute, int value) {
    NEED_FUNCTION(function);
    constexpr int max_dynamic_shared = 8;
    constexpr int carveout = 9;
    if (attribute == carveout) return Success;
    if (attribute != max_dynamic_shared || value < 0 || value > kSharedPerBlockOptIn - function->static_shared_bytes) return InvalidValue;
    function->max_dynamic_shared_bytes = value;
    return Success;
}

API cuFuncSetCacheConfig(Function* function, int) {
    NEED_FUNCTION(function);
    return Success;
}

API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, Function* function, int block_size,
                                                         std::size_t dynamic_shared_bytes, unsigned) {
    NEED_FUNCTION(function);
    if (block_size < 1) return InvalidValue;
    const int threads = (block_size + 31) / 32 * 32;
    const std::size_t shared = dynamic_shared_bytes + static_cast<std::size_t>(function->static_shared_bytes) + kSharedReserved;
    *blocks = block_size > 1024 || shared > kSharedPerMultiprocessor
                  ? 0
                  : std::min({kThreadsPerMultiprocessor / threads, kBlocksPerMultiprocessor,
                              65536 / (kRegisters * threads), static_cast<int>(kSharedPerMultiprocessor / shared)});
    return Success;
}

API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function* function, int block_size, std::size_t dynamic_shared_bytes) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_size, dynamic_shared_bytes, 0);
}

namespace {

/// A launch with its own copy of the arguments.
class BoundLaunch {
  public:
    BoundLaunch(const Compiled& compiled, dim3 grid, dim3 block, unsigned shared_bytes, void* const* arguments)
        : program_(*compiled.program), launch_{compiled.kernel, grid, block, shared_bytes, nullptr, nullptr, 0} {
        for (std::uint32_t number = 0; number < compiled.kernel->parameter_count; ++number) {
            Slot slot{};
            const std::size_t bytes = compiled.kernel->parameters[number].bytes;
            slot.resize((bytes + sizeof slot[0] - 1) / sizeof slot[0]);
            std::memcpy(slot.data(), arguments[number], bytes);
            values_.push_back(std::move(slot));
        }
    }

    void operator()() const {
        if (!State::get().count_launch()) return;
        std::vector<void*> pointers;
        for (const Slot& value : values_) pointers.push_back(const_cast<std::max_align_t*>(value.data()));
        assay::emulation::Launch launch = launch_;
        launch.arguments = pointers.data();
        program_.run(launch);
    }

  private:
    using Slot = std::vector<std::max_align_t>;

    const assay::emulation::Program& program_;
    assay::emulation::Launch launch_;
    std::vector<Slot> values_;
};

bool fits(dim3 grid, dim3 block) {
    return grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7FFFFFFF && grid.y <= 65535 && grid.z <= 65535 &&
           block.x >= 1 && block.y >= 1 && block.z >= 1 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
           block.x * block.y * block.z <= 1024;
}

}  // namespace

API cuLaunchKernel(Function* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared_bytes, void* handle, void** arguments, void** extra) {
    NEED_FUNCTION(function);
    NEED_STREAM(handle);
    const dim3 grid(gx, gy, gz);
    const dim3 block(bx, by, bz);
    if (!fits(grid, block) || static_cast<int>(shared_bytes) > function->max_dynamic_shared_bytes) return InvalidValue;
    if (extra != nullptr) return NotSupported;
    if (arguments == nullptr && function->compiled.kernel->parameter_count != 0) return InvalidValue;
    return state.submit(*current_context, stream, BoundLaunch(function->compiled, grid, block, shared_bytes, arguments));
}
