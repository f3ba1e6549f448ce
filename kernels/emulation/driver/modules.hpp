// Modules and their functions: an image that NVRTC made says which kernels there are, plugins have what runs in their
// place.
#pragma once

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../interface.hpp"
#include "codes.hpp"
#include "settings.hpp"

namespace assay::emulated {

/// A kernel of a plugin.
struct Compiled {
    const emulation::Program* program;
    const emulation::Kernel* kernel;
};

/// All kernels of all plugins, by mangled name.
class Plugins {
  public:
    static const Plugins& get() {
        static const Plugins* const plugins = new Plugins;
        return *plugins;
    }

    /// The kernel of this name; says on standard error why there is none.
    const Compiled* find(const std::string& name) const {
        const auto found = kernels_.find(name);
        if (found == kernels_.end()) {
            std::fprintf(stderr, "emulated driver: no plugin in %s has the kernel %s\n", folder_.c_str(), name.c_str());
            return nullptr;
        }
        if (found->second.size() > 1) {
            std::fprintf(stderr, "emulated driver: %zu plugins have a kernel %s: give one of them another name\n",
                         found->second.size(), name.c_str());
            return nullptr;
        }
        return &found->second.front();
    }

  private:
    Plugins() : folder_(Settings::get().plugins) {
        Dl_info here{};
        if (folder_.empty() && dladdr(reinterpret_cast<void*>(&attribute_of), &here) != 0) {
            const std::string path = here.dli_fname;
            folder_ = path.substr(0, path.find_last_of('/') + 1) + ".";
        }
        std::vector<std::string> names;
        if (DIR* const directory = opendir(folder_.c_str())) {
            while (const dirent* entry = readdir(directory)) names.emplace_back(entry->d_name);
            closedir(directory);
        }
        std::sort(names.begin(), names.end());
        for (const std::string& name : names)
            if (name.size() > 3 && name.compare(name.size() - 3, 3, ".so") == 0 && name.compare(0, 3, "lib") != 0)
                load(folder_ + "/" + name);
    }

    void load(const std::string& path) {
        void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        void* const entry = library == nullptr ? nullptr : dlsym(library, "assay_emulated_program");
        if (entry == nullptr) {
            std::fprintf(stderr, "emulated driver: %s is no plugin: %s\n", path.c_str(), dlerror());
            return;
        }
        const emulation::Program* const program = reinterpret_cast<const emulation::Program* (*)()>(entry)();
        for (std::size_t number = 0; number < program->kernel_count; ++number) {
            const emulation::Kernel& kernel = program->kernels[number];
            Dl_info symbol{};
            if (dladdr(reinterpret_cast<void*>(kernel.function), &symbol) == 0 || symbol.dli_sname == nullptr ||
                symbol.dli_saddr != reinterpret_cast<void*>(kernel.function))
                continue;  // a kernel that is local to its file cannot be asked for
            std::vector<Compiled>& same = kernels_[symbol.dli_sname];
            if (same.empty() || same.back().program != program) same.push_back({program, &kernel});
        }
    }

    std::string folder_;
    std::map<std::string, std::vector<Compiled>> kernels_;
};

/// A kernel of a module.
struct Function {
    Compiled compiled;
    int static_shared_bytes;
    int max_dynamic_shared_bytes;
};

/// A cubin or PTX, of which only the names of kernels and their static shared memory are read.
class Module {
  public:
    /// Null if the image is neither.
    static std::unique_ptr<Module> load(const void* image) {
        if (image == nullptr) return nullptr;
        auto module = std::make_unique<Module>();
        const auto* const bytes = static_cast<const char*>(image);
        if (std::memcmp(bytes, ELFMAG, SELFMAG) == 0) {
            const auto* const header = static_cast<const Elf64_Ehdr*>(image);
            if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != kMachineCuda) return nullptr;
            module->read_sections(bytes, *header);
        } else {
            module->text_ = bytes;
            if (module->text_.find(".entry") == std::string::npos) return nullptr;
        }
        return module;
    }

    Result function(const std::string& name, Function** out) {
        if (!has(name)) return NotFound;
        std::unique_ptr<Function>& function = functions_[name];
        if (function == nullptr) {
            const Compiled* const compiled = Plugins::get().find(name);
            if (compiled == nullptr) return NotFound;
            function = std::make_unique<Function>(Function{*compiled, shared_[name], kSharedPerBlock});
        }
        *out = function.get();
        return Success;
    }

    bool owns(const Function* function) const {
        for (const auto& entry : functions_)
            if (entry.second.get() == function) return true;
        return false;
    }

  private:
    static constexpr unsigned kMachineCuda = 190;

    bool has(const std::string& name) const {
        if (!text_.empty()) return text_.find(name + "(") != std::string::npos;
        return code_.count(name) != 0;
    }

    /// Each kernel has a section `.text.NAME`, and `.nv.shared.NAME` if it declares shared memory.
    void read_sections(const char* bytes, const Elf64_Ehdr& header) {
        const auto* const sections = reinterpret_cast<const Elf64_Shdr*>(bytes + header.e_shoff);
        const char* const names = bytes + sections[header.e_shstrndx].sh_offset;
        for (unsigned number = 0; number < header.e_shnum; ++number) {
            const std::string name = names + sections[number].sh_name;
            if (name.rfind(".text.", 0) == 0) code_[name.substr(6)] = true;
            if (name.rfind(".nv.shared.", 0) == 0) shared_[name.substr(11)] = static_cast<int>(sections[number].sh_size);
        }
    }

    std::string text_;
    std::map<std::string, bool> code_;
    std::map<std::string, int> shared_;
    std::map<std::string, std::unique_ptr<Function>> functions_;
};

}  // namespace assay::emulated
