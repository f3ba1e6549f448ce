// Memory of the emulated device, which is memory of the host: what is allocated, and how much of it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "codes.hpp"
#include "settings.hpp"

namespace assay::emulated {

enum class MemoryKind : std::uint8_t { Device, Managed, Host };

/// All allocations of the process. Has its own lock: streams free memory too.
class Memory {
  public:
    Result allocate(std::uint64_t* address, std::uint64_t bytes, MemoryKind kind, int device) {
        if (address == nullptr || bytes == 0) return InvalidValue;
        const std::lock_guard lock(mutex_);
        const bool counted = kind != MemoryKind::Host;
        if (counted && bytes > Settings::get().memory_bytes - used_[device]) return OutOfMemory;
        void* memory = nullptr;
        if (posix_memalign(&memory, 512, bytes) != 0) return OutOfMemory;
        // Device memory begins with nothing in particular. The ends are enough to show that, and cost no time.
        const std::uint64_t shown = bytes < kShownBytes ? bytes : kShownBytes;
        std::memset(memory, 0xC7, shown);
        std::memset(static_cast<char*>(memory) + bytes - shown, 0xC7, shown);
        *address = reinterpret_cast<std::uint64_t>(memory);
        blocks_[*address] = {bytes, kind, device};
        if (counted) used_[device] += bytes;
        return Success;
    }

    /// Frees what `allocate` gave; `host` says whether host memory is meant.
    Result release(std::uint64_t address, bool host) {
        if (address == 0) return Success;
        const std::lock_guard lock(mutex_);
        const auto found = blocks_.find(address);
        if (found == blocks_.end() || (found->second.kind == MemoryKind::Host) != host) return InvalidValue;
        if (!host) used_[found->second.device] -= found->second.bytes;
        std::free(reinterpret_cast<void*>(address));
        blocks_.erase(found);
        return Success;
    }

    void release_all(int device) {
        const std::lock_guard lock(mutex_);
        for (auto block = blocks_.begin(); block != blocks_.end();) {
            if (block->second.device != device) {
                ++block;
                continue;
            }
            std::free(reinterpret_cast<void*>(block->first));
            block = blocks_.erase(block);
        }
        used_[device] = 0;
    }

    std::uint64_t used(int device) {
        const std::lock_guard lock(mutex_);
        return used_[device];
    }

    /// Whether all of the range lies in one allocation: device memory, or any that a device can reach.
    bool holds(std::uint64_t address, std::uint64_t bytes) {
        const std::lock_guard lock(mutex_);
        return find(address, bytes) != nullptr;
    }

    bool is_pinned(const void* address, std::uint64_t bytes) {
        const std::lock_guard lock(mutex_);
        const Block* const block = find(reinterpret_cast<std::uint64_t>(address), bytes);
        return block != nullptr && block->kind == MemoryKind::Host;
    }

  private:
    static constexpr std::uint64_t kShownBytes = 1 << 16;

    struct Block {
        std::uint64_t bytes;
        MemoryKind kind;
        int device;
    };

    const Block* find(std::uint64_t address, std::uint64_t bytes) const {
        auto next = blocks_.upper_bound(address);
        if (next == blocks_.begin()) return nullptr;
        const auto& [start, block] = *--next;
        return address - start <= block.bytes && bytes <= block.bytes - (address - start) ? &block : nullptr;
    }

    std::mutex mutex_;
    std::map<std::uint64_t, Block> blocks_;
    std::map<int, std::uint64_t> used_;
};

}  // namespace assay::emulated
