// What the environment says about the emulated device, and how it shall fail. `driver.cpp` documents the variables.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

namespace assay::emulated {

struct Settings {
    int devices;
    std::string name;
    std::uint64_t memory_bytes;
    std::uint64_t failing_launch;  // 0: none
    std::int64_t event_ns;
    std::uint64_t queue;
    std::string plugins;

    static const Settings& get() {
        static const Settings* const settings = new Settings{
            static_cast<int>(number("ASSAY_EMULATED_DEVICES", 1)),
            text("ASSAY_EMULATED_NAME", "Emulated GPU"),
            number("ASSAY_EMULATED_MEMORY", std::uint64_t{2} << 30),
            number("ASSAY_EMULATED_FAIL_LAUNCH", 0),
            static_cast<std::int64_t>(number("ASSAY_EMULATED_EVENT_NS", 1)),
            number("ASSAY_EMULATED_QUEUE", 1024),
            text("ASSAY_EMULATED_PLUGINS", ""),
        };
        return *settings;
    }

  private:
    static std::string text(const char* variable, const char* otherwise) {
        const char* const value = std::getenv(variable);
        return value == nullptr ? otherwise : value;
    }

    static std::uint64_t number(const char* variable, std::uint64_t otherwise) {
        const char* const value = std::getenv(variable);
        return value == nullptr || *value == 0 ? otherwise : std::strtoull(value, nullptr, 10);
    }
};

}  // namespace assay::emulated
