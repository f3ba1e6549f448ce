// Where a sanitizer program keeps the variables that its kernels declare `__shared__`.
//
// They are static variables of functions, which the language gives no way to list: the program's own symbol table
// does. With it they are filled with garbage before each block, so that a kernel which reads what its own block has
// not written gives wrong results. Those of one kernel are filled for that kernel, those of a device function for all.
#pragma once

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "interface.hpp"

namespace assay::emulation {

class SharedVariables {
  public:
    SharedVariables(const Kernel* kernels, std::size_t count) : of_kernel_(count) {
        if (!read_symbols()) {
            std::fprintf(stderr, "emulation: this program has no symbol table, by which shared variables are found: do not strip it\n");
            std::_Exit(2);
        }
        std::vector<const char*> symbols(count);
        for (const Function& function : functions_)
            for (std::size_t number = 0; number < count; ++number)
                if (function.address == reinterpret_cast<void*>(kernels[number].function)) symbols[number] = function.symbol;
        for (const Variable& variable : variables_) assign(variable, symbols);
    }

    const std::vector<Region>& of(std::size_t kernel) const { return of_kernel_[kernel]; }

  private:
    struct Variable {
        const char* symbol;
        Region region;
    };
    struct Function {
        const char* symbol;
        void* address;
    };

    /// A variable `tile` of a function `_Z<encoding>` has the symbol `_ZZ<encoding>E<name>`.
    void assign(const Variable& variable, const std::vector<const char*>& symbols) {
        bool owned = false;
        for (std::size_t number = 0; number < symbols.size(); ++number) {
            if (symbols[number] == nullptr) continue;
            const char* const encoding = symbols[number] + 2;
            const std::size_t length = std::strlen(encoding);
            if (std::strncmp(variable.symbol + 3, encoding, length) != 0 || variable.symbol[3 + length] != 'E') continue;
            of_kernel_[number].push_back(variable.region);
            owned = true;
        }
        if (owned) return;
        for (std::vector<Region>& regions : of_kernel_) regions.push_back(variable.region);
    }

    static bool is_ours_or_the_librarys(const char* symbol) {
        for (const char* prefix : {"_ZZN5assay9emulation", "_ZZNK5assay9emulation", "_ZZNSt", "_ZZNKSt", "_ZZSt", "_ZZN9__gnu_cxx"})
            if (std::strncmp(symbol, prefix, std::strlen(prefix)) == 0) return true;
        return false;
    }

    /// The image of this program's file stays mapped: symbols point into it.
    bool read_symbols() {
        const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        struct stat status {};
        if (file < 0 || fstat(file, &status) != 0) return false;
        void* const image = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
        close(file);
        if (image == MAP_FAILED) return false;
        const auto* const bytes = static_cast<const char*>(image);
        const auto* const header = reinterpret_cast<const Elf64_Ehdr*>(bytes);
        const auto* const sections = reinterpret_cast<const Elf64_Shdr*>(bytes + header->e_shoff);
        for (unsigned number = 0; number < header->e_shnum; ++number) {
            if (sections[number].sh_type != SHT_SYMTAB) continue;
            const char* const names = bytes + sections[sections[number].sh_link].sh_offset;
            const auto* const symbols = reinterpret_cast<const Elf64_Sym*>(bytes + sections[number].sh_offset);
            const std::size_t count = sections[number].sh_size / sizeof(Elf64_Sym);
            for (std::size_t at = 0; at < count; ++at) keep(symbols[at], names + symbols[at].st_name, sections, header->e_shnum);
            return true;
        }
        return false;
    }

    void keep(const Elf64_Sym& symbol, const char* name, const Elf64_Shdr* sections, unsigned section_count) {
        if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= section_count || std::strncmp(name, "_Z", 2) != 0) return;
        auto* const address = reinterpret_cast<char*>(load_address() + symbol.st_value);
        const unsigned type = ELF64_ST_TYPE(symbol.st_info);
        if (type == STT_FUNC) functions_.push_back({name, address});
        // What is initialised is no shared variable: CUDA has no initialisers for them.
        const bool zeroed = sections[symbol.st_shndx].sh_type == SHT_NOBITS;
        if (type == STT_OBJECT && zeroed && name[2] == 'Z' && !is_ours_or_the_librarys(name))
            variables_.push_back({name, {address, symbol.st_size}});
    }

    static std::uintptr_t load_address() {
        std::uintptr_t address = 0;
        // The program itself comes first; a result other than 0 ends the iteration.
        dl_iterate_phdr(
            [](dl_phdr_info* info, std::size_t, void* out) {
                *static_cast<std::uintptr_t*>(out) = info->dlpi_addr;
                return 1;
            },
            &address);
        return address;
    }

    std::vector<Variable> variables_;
    std::vector<Function> functions_;
    std::vector<std::vector<Region>> of_kernel_;
};

}  // namespace assay::emulation
