// Makes an entry of the table of kernels from a kernel: its parameters, and a way to call it.
#pragma once

#include <type_traits>
#include <utility>

#include "interface.hpp"

namespace assay::emulation {

template <typename T>
constexpr ParameterKind parameter_kind() {
    if (std::is_pointer_v<T>) return ParameterKind::Pointer;
    if (std::is_same_v<T, float>) return ParameterKind::Float;
    if (std::is_same_v<T, double>) return ParameterKind::Double;
    if (std::is_integral_v<T> && sizeof(T) == 4) return ParameterKind::Integer32;
    if (std::is_integral_v<T> && sizeof(T) == 8) return ParameterKind::Integer64;
    return ParameterKind::Other;
}

template <typename... P>
struct Signature {
    static constexpr Parameter parameters[sizeof...(P) + 1] = {{parameter_kind<P>(), sizeof(P)}..., {}};

    static void invoke(void (*function)(), void** arguments) {
        invoke_with(reinterpret_cast<void (*)(P...)>(function), arguments, std::index_sequence_for<P...>{});
    }

  private:
    template <std::size_t... I>
    static void invoke_with(void (*function)(P...), void** arguments, std::index_sequence<I...>) {
        static_cast<void>(arguments);  // a kernel may have no parameter
        function(*static_cast<P*>(arguments[I])...);
    }
};

template <typename... P>
constexpr Kernel kernel(const char* name, void (*function)(P...)) {
    return {name, reinterpret_cast<void (*)()>(function), &Signature<P...>::invoke, Signature<P...>::parameters, sizeof...(P)};
}

}  // namespace assay::emulation

/// An entry of a table of kernels: the name under which it is launched, and the kernel.
#define ASSAY_KERNEL(name, ...) ::assay::emulation::kernel(name, __VA_ARGS__)
