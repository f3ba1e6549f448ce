/// One header that makes a benchmark program an Assay worker. C++17, Linux, no dependency; CUDA where nvcc compiles it.
///
/// A worker answers JSON requests on standard input with JSON lines on standard output: hello, prepare, sample,
/// verify, teardown. This header speaks that protocol, batches and times. What is left to the program:
///
///     #include "assay_worker.hpp"
///
///     struct Sum : assay::HostWorkload {
///         std::vector<double> in;
///         double out = NAN;                                     // poisoned: what never ran cannot pass
///         explicit Sum(const assay::Case& c) : in(c.size("elements")) {
///             assay::Philox(c.seed, 0).fill(in.data(), in.size());
///             inputs["in"] = assay::digest(in);
///             work = {8 * in.size(), in.size(), {}, "bytes = 8 n, flops = n"};
///         }
///         void run(std::uint64_t iterations) override {         // the timed region
///             for (; iterations > 0; --iterations) { out = my_sum(in.data(), in.size()); assay::keep(&out); }
///         }
///         assay::Verification verify() override { ... }         // of what the last iteration gave
///     };
///
///     int main() {
///         assay::Worker worker("my_benchmarks", "1.0");
///         worker.add<Sum>(assay::Info("sum", "sum of doubles").integer("elements", 1 << 20).at_least(1));
///         return worker.serve();
///     }
///
/// With CUDA derive from `assay::CudaWorkload`, give `launch(cudaStream_t)` in place of `run`, and make an
/// `assay::CudaWorker`: see the last section. `assay worker-check ./my_benchmarks` tells what a worker gets wrong.
///
/// Whatever a workload throws becomes the reply: `assay::Skipped` where a case cannot run here and nobody is at fault,
/// anything else is `failed`. What the program prints goes to standard error, since standard output is the protocol's.
///
/// Sections: refusals; clock; random numbers; SHA-256; JSON; what a workload says; the workload; the worker; CUDA.

#ifndef ASSAY_WORKER_HPP
#define ASSAY_WORKER_HPP

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <limits>
#include <locale>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fcntl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define ASSAY_HOST_DEVICE __host__ __device__
#else
#define ASSAY_HOST_DEVICE
#endif

namespace assay {

inline constexpr unsigned PROTOCOL_VERSION = 1;
/// Longest line of either side, without its newline.
inline constexpr std::size_t MAX_LINE_BYTES = std::size_t{1} << 20;
/// Most samples that one request may ask for.
inline constexpr std::uint64_t MAX_SAMPLES_PER_CHUNK = 100'000;

// --- refusals ------------------------------------------------------------------------------------------------

/// Something went wrong: the reply is `failed`.
struct Failed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The case cannot run here, and that is nobody's fault: the reply is `skipped`.
struct Skipped : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Something went wrong that this process cannot recover from: the reply is `failed`, and the worker exits with 1,
/// so that a fresh one goes on.
struct Fatal : Failed {
    using Failed::Failed;
};

/// Not enough memory: while a case is prepared it is `skipped`, later `failed`.
struct OutOfMemory : Failed {
    using Failed::Failed;
};

// --- clock ---------------------------------------------------------------------------------------------------

/// CLOCK_MONOTONIC in nanoseconds: the same clock in every process of a machine, and the harness's.
inline std::uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Has the compiler believe that all memory is read and written here, so that no iteration is left out.
inline void keep(const void* result) {
    asm volatile("" : : "g"(result) : "memory");
}

// --- random numbers ------------------------------------------------------------------------------------------

/// Philox4x32-10, a counter-based generator: number `i` of a stream is a pure function of seed, stream and `i`, the
/// same bits on CPU and GPU and in every language. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
/// easy as 1, 2, 3", SC11, section 3.3. Use one stream for each input.
class Philox {
public:
    struct Block {
        std::uint32_t word[4];
    };

    ASSAY_HOST_DEVICE Philox(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

    /// Words `4 * index .. 4 * index + 4`.
    ASSAY_HOST_DEVICE Block block(std::uint64_t index) const {
        std::uint32_t counter[4] = {low(index), high(index), low(stream_), high(stream_)};
        std::uint32_t key[2] = {low(seed_), high(seed_)};
        for (int round = 0; round < 10; ++round) {
            const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
            const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
            counter[0] = high(b) ^ counter[1] ^ key[0];
            counter[1] = low(b);
            counter[2] = high(a) ^ counter[3] ^ key[1];
            counter[3] = low(a);
            key[0] += 0x9E3779B9u;
            key[1] += 0xBB67AE85u;
        }
        return {{counter[0], counter[1], counter[2], counter[3]}};
    }

    ASSAY_HOST_DEVICE std::uint32_t word(std::uint64_t index) const { return block(index / 4).word[index % 4]; }

    /// Uniform on [-1, 1): the upper 24 bits of a word, exact in float.
    ASSAY_HOST_DEVICE static float signed_unit(std::uint32_t word) {
        return static_cast<float>(word >> 8) * (1.0f / 8388608.0f) - 1.0f;
    }

    /// Numbers `first ..` of the stream, uniform on [-1, 1); `T` is float or double, with the same values.
    template <class T>
    void fill(T* out, std::size_t count, std::uint64_t first = 0) const {
        Block words = block(first / 4);
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t index = first + i;
            if (index % 4 == 0) words = block(index / 4);
            out[i] = static_cast<T>(signed_unit(words.word[index % 4]));
        }
    }

private:
    ASSAY_HOST_DEVICE static std::uint32_t low(std::uint64_t wide) { return static_cast<std::uint32_t>(wide); }
    ASSAY_HOST_DEVICE static std::uint32_t high(std::uint64_t wide) { return static_cast<std::uint32_t>(wide >> 32); }

    std::uint64_t seed_;
    std::uint64_t stream_;
};

// --- SHA-256 -------------------------------------------------------------------------------------------------

/// SHA-256 (FIPS 180-4), for digests of inputs and outputs that come in parts.
class Sha256 {
public:
    Sha256& update(const void* data, std::size_t bytes) {
        auto next = static_cast<const unsigned char*>(data);
        total_ += bytes;
        while (bytes > 0) {
            const std::size_t taken = std::min(bytes, sizeof block_ - filled_);
            std::memcpy(block_ + filled_, next, taken);
            filled_ += taken;
            next += taken;
            bytes -= taken;
            if (filled_ == sizeof block_) compress();
        }
        return *this;
    }

    /// The digest as the protocol writes it. Ends the hash.
    std::string digest() {
        const std::uint64_t bits = total_ * 8;
        const unsigned char one = 0x80, zero = 0;
        update(&one, 1);
        while (filled_ != sizeof block_ - 8) update(&zero, 1);
        unsigned char length[8];
        for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(bits >> (56 - 8 * i));
        update(length, sizeof length);
        std::string text = "sha256:";
        for (const std::uint32_t word : state_)
            for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[(word >> shift) & 15];
        return text;
    }

private:
    void compress() {
        static constexpr std::uint32_t K[64] = {
            0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
            0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
            0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
            0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
            0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
            0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
            0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
            0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
        const auto rotate = [](std::uint32_t x, int n) { return (x >> n) | (x << (32 - n)); };
        std::uint32_t w[64];
        for (int i = 0; i < 16; ++i)
            w[i] = std::uint32_t{block_[4 * i]} << 24 | std::uint32_t{block_[4 * i + 1]} << 16 |
                   std::uint32_t{block_[4 * i + 2]} << 8 | block_[4 * i + 3];
        for (int i = 16; i < 64; ++i) {
            const std::uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
            const std::uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        std::uint32_t s[8];
        std::copy(state_, state_ + 8, s);
        for (int i = 0; i < 64; ++i) {
            const std::uint32_t s1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
            const std::uint32_t t1 = s[7] + s1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
            const std::uint32_t s0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
            const std::uint32_t t2 = s0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            std::copy_backward(s, s + 7, s + 8);
            s[4] += t1;
            s[0] = t1 + t2;
        }
        for (int i = 0; i < 8; ++i) state_[i] += s[i];
        filled_ = 0;
    }

    std::uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char block_[64] = {};
    std::size_t filled_ = 0;
    std::uint64_t total_ = 0;
};

/// Digest of some bytes, for `inputs` and `Verification::output`.
inline std::string digest(const void* data, std::size_t bytes) {
    return Sha256().update(data, bytes).digest();
}

/// Digest of the elements of a vector.
template <class T>
std::string digest(const std::vector<T>& values) {
    return digest(values.data(), values.size() * sizeof(T));
}

// --- JSON ----------------------------------------------------------------------------------------------------

namespace detail {

/// Length of the UTF-8 character that `text` begins with; 0 if it begins with none (RFC 3629: no overlong forms, no
/// surrogates, nothing past U+10FFFF).
inline std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    const auto follows = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xBF) {
        return byte(i) >= least && byte(i) <= most;
    };
    const unsigned lead = byte(0);
    if (lead < 0x80) return text.empty() ? 0 : 1;
    if (lead >= 0xC2 && lead <= 0xDF) return follows(1) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        const bool second = follows(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF);
        return second && follows(2) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        const bool second = follows(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF);
        return second && follows(2) && follows(3) ? 4 : 0;
    }
    return 0;
}

/// Text as a JSON string. Bytes that are no UTF-8 become U+FFFD: a reply is valid whatever a program says.
inline std::string quoted(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        const unsigned char first = static_cast<unsigned char>(text[0]);
        if (length == 0) {
            out += "\xEF\xBF\xBD";
        } else if (first == '"' || first == '\\') {
            out += {'\\', text[0]};
        } else if (first < 0x20) {
            out += "\\u00";
            out += "0123456789abcdef"[first >> 4];
            out += "0123456789abcdef"[first & 15];
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return out += '"';
}

/// A finite number as JSON, with all its bits, whatever the program's locale.
inline std::string number(double value) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out.precision(std::numeric_limits<double>::max_digits10);
    out << value;
    return out.str();
}

/// Builds one JSON object, member by member.
class Object {
public:
    Object& raw(std::string_view key, std::string_view json) {
        text_ += text_.size() > 1 ? "," : "";
        text_ += quoted(key) += ':';
        text_ += json;
        return *this;
    }
    Object& text(std::string_view key, std::string_view value) { return raw(key, quoted(value)); }
    Object& integer(std::string_view key, std::uint64_t value) { return raw(key, std::to_string(value)); }
    Object& flag(std::string_view key, bool value) { return raw(key, value ? "true" : "false"); }
    std::string end() const { return text_ + '}'; }

private:
    std::string text_ = "{";
};

/// A JSON array of `items`, each written by `write`.
template <class Items, class Write>
std::string array(const Items& items, Write write) {
    std::string out = "[";
    for (const auto& item : items) out.append(out.size() > 1 ? "," : "").append(write(item));
    return out += ']';
}

/// A JSON object of a map, its values written by `write`.
template <class Map, class Write>
std::string object(const Map& map, Write write) {
    Object out;
    for (const auto& [key, value] : map) out.raw(key, write(value));
    return out.end();
}

/// A JSON value that was read. An object is `keys` and `items` side by side.
struct Json {
    enum class Kind { null, boolean, integer, number, text, array, object };

    Kind kind = Kind::null;
    bool truth = false;
    bool negative = false;        // of an integer
    std::uint64_t magnitude = 0;  // of an integer
    double real = 0;              // of any number
    std::string string;
    std::vector<std::string> keys;
    std::vector<Json> items;

    const Json* find(std::string_view key) const {
        for (std::size_t i = 0; i < keys.size(); ++i)
            if (keys[i] == key) return &items[i];
        return nullptr;
    }
    const Json& at(std::string_view key) const {
        if (const Json* found = find(key)) return *found;
        throw Failed("not a request: field `" + std::string(key) + "` is missing");
    }
    const std::string& text_at(std::string_view key) const {
        const Json& value = at(key);
        if (value.kind != Kind::text) throw Failed("not a request: field `" + std::string(key) + "` is no text");
        return value.string;
    }
    std::uint64_t integer_at(std::string_view key) const {
        const Json& value = at(key);
        if (value.kind != Kind::integer || value.negative)
            throw Failed("not a request: field `" + std::string(key) + "` is no unsigned 64-bit integer");
        return value.magnitude;
    }
    /// Fails at a member that is none of these: a newer harness asks for something that this worker does not know.
    void only(std::initializer_list<std::string_view> known) const {
        for (const std::string& key : keys)
            if (std::find(known.begin(), known.end(), key) == known.end())
                throw Failed("not a request: unknown field `" + key + "`");
    }
};

/// Reads one JSON value (RFC 8259), strictly: no duplicate members, no lone surrogates, no number past a double, and
/// no nesting that could exhaust the stack. The caller bounds the length.
class JsonReader {
public:
    static Json read(std::string_view text) {
        JsonReader reader(text);
        Json value = reader.value(0);
        reader.space();
        if (reader.at_ < text.size()) reader.fail("the end");
        return value;
    }

private:
    static constexpr int MAX_DEPTH = 32;

    explicit JsonReader(std::string_view text) : text_(text) {}

    [[noreturn]] void fail(const char* expected) const {
        throw Failed("not a request: expected " + std::string(expected) + " at byte " + std::to_string(at_));
    }
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char wanted) {
        if (at_ == text_.size() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }
    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }
    void space() {
        while (take(' ') || take('\t') || take('\r') || take('\n')) {}
    }

    Json value(int depth) {
        if (depth > MAX_DEPTH) fail("less nesting");
        space();
        Json out;
        const char next = peek();
        if (next == '{') {
            members(out, depth);
        } else if (next == '[') {
            elements(out, depth);
        } else if (next == '"') {
            out.kind = Json::Kind::text;
            out.string = text();
        } else if (next == '-' || (next >= '0' && next <= '9')) {
            number(out);
        } else if (take("true")) {
            out.kind = Json::Kind::boolean;
            out.truth = true;
        } else if (take("false")) {
            out.kind = Json::Kind::boolean;
        } else if (!take("null")) {
            fail("a value");
        }
        return out;
    }

    void members(Json& out, int depth) {
        out.kind = Json::Kind::object;
        take('{');
        space();
        if (take('}')) return;
        do {
            space();
            if (peek() != '"') fail("a member's name");
            std::string key = text();
            if (out.find(key)) fail("each member once");
            space();
            if (!take(':')) fail("`:`");
            out.items.push_back(value(depth + 1));
            out.keys.push_back(std::move(key));
            // A request has few members, and looking for duplicates takes their square.
            if (out.keys.size() > 1000) fail("fewer members");
            space();
        } while (take(','));
        if (!take('}')) fail("`,` or `}`");
    }

    void elements(Json& out, int depth) {
        out.kind = Json::Kind::array;
        take('[');
        space();
        if (take(']')) return;
        do {
            out.items.push_back(value(depth + 1));
            space();
        } while (take(','));
        if (!take(']')) fail("`,` or `]`");
    }

    std::string text() {
        take('"');
        std::string out;
        while (!take('"')) {
            const std::string_view rest = text_.substr(at_);
            const std::size_t length = utf8_length(rest);
            if (length == 0 || static_cast<unsigned char>(rest[0]) < 0x20) fail("text in UTF-8 and its end");
            if (rest[0] == '\\') {
                ++at_;
                escape(out);
            } else {
                out += rest.substr(0, length);
                at_ += length;
            }
        }
        return out;
    }

    void escape(std::string& out) {
        static constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        const std::size_t index = at_ < text_.size() ? names.find(text_[at_]) : std::string_view::npos;
        if (index != std::string_view::npos) {
            out += meant[index];
            ++at_;
            return;
        }
        std::uint32_t code = unit();
        if (code >= 0xD800 && code < 0xDC00) {
            if (peek() != '\\') fail("the second half of a surrogate pair");
            ++at_;
            const std::uint32_t second = unit();
            if (second < 0xDC00 || second > 0xDFFF) fail("the second half of a surrogate pair");
            code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
        } else if (code >= 0xDC00 && code <= 0xDFFF) {
            fail("no lone surrogate");
        }
        append_utf8(out, code);
    }

    /// `uXXXX`, after its backslash.
    std::uint32_t unit() {
        if (!take('u')) fail("an escape");
        std::uint32_t code = 0;
        for (int i = 0; i < 4; ++i) {
            static constexpr std::string_view digits = "0123456789abcdef";
            const char digit = peek();
            const std::size_t found = digits.find(digit >= 'A' && digit <= 'F' ? static_cast<char>(digit + 32) : digit);
            if (found == std::string_view::npos) fail("four hexadecimal digits");
            code = code * 16 + static_cast<std::uint32_t>(found);
            ++at_;
        }
        return code;
    }

    static void append_utf8(std::string& out, std::uint32_t code) {
        const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
        if (code < 0x80) {
            out += static_cast<char>(code);
        } else if (code < 0x800) {
            out += static_cast<char>(0xC0 | (code >> 6));
            tail(0);
        } else if (code < 0x10000) {
            out += static_cast<char>(0xE0 | (code >> 12));
            tail(6), tail(0);
        } else {
            out += static_cast<char>(0xF0 | (code >> 18));
            tail(12), tail(6), tail(0);
        }
    }

    void number(Json& out) {
        const std::size_t begin = at_;
        out.kind = Json::Kind::integer;
        out.negative = take('-');
        const std::size_t whole = at_;
        digits();
        if (at_ - whole > 1 && text_[whole] == '0') fail("no leading zero");
        const std::string_view integer = text_.substr(whole, at_ - whole);
        if (take('.')) digits(), out.kind = Json::Kind::number;
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            digits(), out.kind = Json::Kind::number;
        }
        std::istringstream in(std::string(text_.substr(begin, at_ - begin)));
        in.imbue(std::locale::classic());
        if (!(in >> out.real) || !std::isfinite(out.real)) fail("a number that a double can hold, before");
        if (out.kind == Json::Kind::integer && !to_u64(integer, out.magnitude)) out.kind = Json::Kind::number;
    }

    void digits() {
        if (peek() < '0' || peek() > '9') fail("a digit");
        while (peek() >= '0' && peek() <= '9') ++at_;
    }

public:
    /// Decimal digits as an integer; false where they are too many.
    static bool to_u64(std::string_view digits, std::uint64_t& value) {
        value = 0;
        for (const char digit : digits) {
            if (digit < '0' || digit > '9') return false;
            const auto unit = static_cast<std::uint64_t>(digit - '0');
            if (value > (std::numeric_limits<std::uint64_t>::max() - unit) / 10) return false;
            value = value * 10 + unit;
        }
        return !digits.empty();
    }

private:
    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace detail

// --- what a workload says of itself --------------------------------------------------------------------------

/// What a sample times. `hot`: iterations back to back; `cold`: one, with the device's caches flushed before it;
/// `graph`: replays of a CUDA graph; `host`: from launch to completion, as the host sees it.
enum class Timing { hot, cold, graph, host };

inline const char* name_of(Timing timing) {
    static constexpr const char* names[] = {"hot", "cold", "graph", "host"};
    return names[static_cast<int>(timing)];
}

enum class DeviceKind { cpu, cuda };

inline const char* name_of(DeviceKind kind) {
    return kind == DeviceKind::cpu ? "cpu" : "cuda";
}

/// Value of a parameter: true or false, an integer, a number, or text.
using ParamValue = std::variant<bool, std::int64_t, double, std::string>;

namespace detail {

inline std::string json(const ParamValue& value) {
    if (const bool* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
    if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
    if (const auto* real = std::get_if<double>(&value)) return number(*real);
    return quoted(std::get<std::string>(value));
}

struct Parameter {
    std::string name;
    ParamValue kind;  // its alternative is the type; the value means nothing
    std::optional<ParamValue> fallback;
    std::optional<std::int64_t> minimum;
    std::vector<ParamValue> choices;
};

}  // namespace detail

/// A workload as `hello` lists it: name, one line for people, and every parameter with its default.
///
///     Info("gemm", "C = A B").integer("n", 1024).at_least(1).text("dtype", "f32").one_of({"f32", "f64"})
///
/// A parameter without a default must be given by the suite.
class Info {
public:
    Info(std::string called, std::string about) : name(std::move(called)), summary(std::move(about)) {}

    Info& integer(std::string called, std::optional<std::int64_t> fallback = {}) {
        return parameter(std::move(called), std::int64_t{}, fallback);
    }
    Info& number(std::string called, std::optional<double> fallback = {}) {
        return parameter(std::move(called), double{}, fallback);
    }
    Info& flag(std::string called, std::optional<bool> fallback = {}) {
        return parameter(std::move(called), bool{}, fallback);
    }
    Info& text(std::string called, std::optional<std::string> fallback = {}) {
        return parameter(std::move(called), std::string{}, fallback);
    }

    /// Least value of the last parameter, an integer.
    Info& at_least(std::int64_t minimum) {
        parameters.back().minimum = minimum;
        return *this;
    }
    /// Every value that the last parameter may have.
    Info& one_of(std::initializer_list<std::int64_t> choices) { return choose<std::int64_t>(choices); }
    Info& one_of(std::initializer_list<const char*> choices) { return choose<std::string>(choices); }

    /// Version of what is timed: raise it when the inputs or the timed region change, never when it merely gets faster.
    Info& defined(std::uint32_t version) {
        definition = version;
        return *this;
    }
    /// Timing modes; otherwise all that its kind of workload has.
    Info& timed(std::initializer_list<Timing> modes) {
        timing = modes;
        return *this;
    }

    std::string name, summary;
    std::uint32_t definition = 1;
    std::vector<detail::Parameter> parameters;
    std::vector<Timing> timing;
    std::vector<DeviceKind> devices;

private:
    template <class T>
    Info& parameter(std::string called, T kind, const std::optional<T>& fallback) {
        parameters.push_back({std::move(called), std::move(kind), {}, {}, {}});
        if (fallback) parameters.back().fallback = ParamValue(*fallback);
        return *this;
    }
    template <class T, class Given>
    Info& choose(std::initializer_list<Given> choices) {
        for (const Given& choice : choices) parameters.back().choices.push_back(ParamValue(T(choice)));
        return *this;
    }
};

/// Where to run: `cpu`, `cuda` (any), `cuda:0` (by index), `cuda:H100` (by part of the model's name).
struct DeviceSelector {
    DeviceKind kind = DeviceKind::cpu;
    std::optional<std::uint32_t> index;
    std::string model;

    static DeviceSelector parse(const std::string& text) {
        DeviceSelector out;
        if (text == "cpu") return out;
        out.kind = DeviceKind::cuda;
        if (text == "cuda") return out;
        const std::string which = text.substr(0, 5) == "cuda:" ? text.substr(5) : "";
        std::uint64_t index = 0;
        if (which.empty() || which.size() > 100) throw Failed("`" + text.substr(0, 100) + "` selects no device");
        const bool is_index = detail::JsonReader::to_u64(which, index) && index <= 0xFFFFFFFFu;
        if (is_index && std::to_string(index) == which)
            out.index = static_cast<std::uint32_t>(index);
        else
            out.model = which;
        return out;
    }
};

/// A case to prepare: every parameter has a value that fits what `Info` says.
class Case {
public:
    std::string workload;
    std::map<std::string, ParamValue> params;
    std::uint64_t seed = 0;
    DeviceSelector device;
    Timing timing = Timing::hot;

    std::int64_t integer(const std::string& name) const { return get<std::int64_t>(name); }
    double number(const std::string& name) const { return get<double>(name); }
    bool flag(const std::string& name) const { return get<bool>(name); }
    const std::string& text(const std::string& name) const { return get<std::string>(name); }
    /// An integer that counts something.
    std::size_t size(const std::string& name) const {
        const std::int64_t value = integer(name);
        if (value < 0) throw Failed("parameter `" + name + "`: expected no negative number");
        return static_cast<std::size_t>(value);
    }

private:
    template <class T>
    const T& get(const std::string& name) const {
        const auto found = params.find(name);
        if (found == params.end()) throw Failed("`" + workload + "` has no parameter `" + name + "`");
        if (const T* value = std::get_if<T>(&found->second)) return *value;
        throw Failed("`" + workload + "` asks for parameter `" + name + "` as another type than it declares");
    }
};

/// Work of one iteration as the algorithm defines it: each input read once, each output written once.
struct Work {
    std::optional<std::uint64_t> bytes, flops, items;
    std::string formula;
};

/// A quantity besides the time. `direction` is "lower", "higher" or "neutral" (shown, never judged); `kind` is
/// "sample" (see `Workload::observe`) or "case" (see `Workload::finish`).
struct Metric {
    std::string name, unit, direction, kind;
};

/// Values of metrics, by their names.
using Values = std::map<std::string, double>;

/// How the output of the last timed iteration compares with the reference.
struct Verification {
    bool passed = false;
    std::optional<double> error, tolerance;
    std::string output;  // its digest; may be empty
    std::string detail;  // what was compared, or what is wrong
};

/// Compares `count` elements: `found(i)` with `expected(i)`. What is not a number never passes.
template <class Found, class Expected>
Verification compare(std::size_t count, Found found, Expected expected, double tolerance) {
    double worst = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const double error = std::abs(static_cast<double>(found(i)) - static_cast<double>(expected(i)));
        if (!(error <= worst)) worst = error;
        if (std::isnan(worst)) break;
    }
    Verification out;
    out.passed = worst <= tolerance;
    out.error = worst;
    out.tolerance = tolerance;
    out.detail = "largest absolute difference from the reference";
    return out;
}

// --- the workload --------------------------------------------------------------------------------------------

/// One timed observation.
struct Sample {
    std::uint64_t start_ns = 0;
    std::uint64_t iterations = 1;
    std::uint64_t host_ns = 0;
    std::optional<std::uint64_t> device_ns;
    Values values;
    std::string invalid;  // why this is no observation, where it is none: it is thrown away, and another is taken
};

/// A prepared case. Its constructor takes a `const Case&`, builds the inputs from the seed, poisons the outputs, and
/// says what it will do in the members that follow. Derive from `HostWorkload` or `CudaWorkload`.
class Workload {
public:
    Work work;
    std::vector<Metric> metrics;                // besides the time
    std::map<std::string, std::string> inputs;  // digest of each
    bool deterministic = false;                 // whether the same inputs always give the same output bits
    // What follows is sent only where it is set.
    std::string bound_level;                    // memory that serves it: l1, shared, l2, l3, dram, host
    std::string bound_unit;                     // what does its arithmetic: f32, f64, bf16-tensor, ...
    std::uint64_t timer_resolution_ns = 0;      // of the clock that times it, where that is not the host's
    std::map<std::string, std::string> facts;   // what else was found out: versions, registers
    std::string device;                         // UUID of the device that was chosen, where it has one; of several, with commas between

    Workload() = default;
    Workload(const Workload&) = delete;
    Workload& operator=(const Workload&) = delete;
    virtual ~Workload() = default;

    /// Puts back inputs that an iteration changes. Called before every sample, never timed.
    virtual void restore() {}
    /// Compares the output of the last iteration with the reference.
    virtual Verification verify() = 0;
    /// Values of the sample-level metrics. Called after every sample, never timed.
    virtual void observe(Values&) {}
    /// Values of the case-level metrics, at the end.
    virtual void finish(Values&) {}
    /// Takes one sample of `iterations`.
    virtual Sample sample(std::uint64_t iterations) = 0;
};

/// A workload on the host's processor.
class HostWorkload : public Workload {
public:
    /// Runs the timed region `iterations` times, at least once.
    virtual void run(std::uint64_t iterations) = 0;

    Sample sample(std::uint64_t iterations) final {
        restore();
        Sample out;
        out.iterations = iterations;
        out.start_ns = monotonic_ns();
        run(iterations);
        out.host_ns = monotonic_ns() - out.start_ns;
        return out;
    }

    static void describe(Info& info) {
        info.devices = {DeviceKind::cpu};
        if (info.timing.empty()) info.timing = {Timing::hot};
    }
};

// --- the worker ----------------------------------------------------------------------------------------------

namespace detail {

/// Where replies go; see `Worker`.
inline int& output() {
    static int descriptor = STDOUT_FILENO;
    return descriptor;
}

inline bool write_all(std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(output(), text.data(), text.size());
        if (written < 0 && errno != EINTR) return false;
        text.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
    }
    return true;
}

inline Object line(const char* kind) {
    return Object().integer("v", PROTOCOL_VERSION).text("kind", kind);
}

/// A refusal, shortened where a program says more than anybody reads.
inline std::string refusal(const char* kind, std::string_view reason) {
    static constexpr std::size_t SHOWN = 4000;
    return line(kind).text("reason", reason.substr(0, SHOWN)).end() + '\n';
}

/// Lines of standard input, of bounded length.
class Lines {
public:
    enum class Next { line, too_long, end };

    /// The next line, without its newline. One that is too long is passed over.
    Next next(std::string& line) {
        line.clear();
        bool any = false, too_long = false;
        for (;; any = true) {
            if (at_ == end_ && !refill()) return !any ? Next::end : too_long ? Next::too_long : Next::line;
            const char* begin = buffer_ + at_;
            const auto* newline = static_cast<const char*>(std::memchr(begin, '\n', end_ - at_));
            const std::size_t taken = newline ? static_cast<std::size_t>(newline - begin) : end_ - at_;
            too_long = too_long || line.size() + taken > MAX_LINE_BYTES;
            if (!too_long) line.append(begin, taken);
            at_ += taken + (newline ? 1 : 0);
            if (newline) return too_long ? Next::too_long : Next::line;
        }
    }

private:
    bool refill() {
        ssize_t got;
        do got = ::read(STDIN_FILENO, buffer_, sizeof buffer_);
        while (got < 0 && errno == EINTR);
        at_ = 0;
        end_ = got > 0 ? static_cast<std::size_t>(got) : 0;
        return end_ > 0;
    }

    char buffer_[1 << 16];
    std::size_t at_ = 0, end_ = 0;
};

/// How many iterations make a sample long enough for the clock. Kept from one chunk to the next.
struct Batch {
    static constexpr std::uint64_t MAX_ITERATIONS = std::uint64_t{1} << 40;
    static constexpr std::uint64_t MAX_FACTOR = 16;  // a first sample can be far from typical
    static constexpr int MAX_INVALID = 20;           // in a row

    std::uint64_t iterations = 1;

    /// More iterations, by a power of two and never beyond `most`, after a sample that was too short.
    void adapt(std::uint64_t timed_ns, std::uint64_t min_sample_ns, std::uint64_t most) {
        if (timed_ns >= min_sample_ns && timed_ns > 0) return;
        const std::uint64_t ratio = min_sample_ns / std::max<std::uint64_t>(timed_ns, 1);
        std::uint64_t factor = 2;
        while (factor < MAX_FACTOR && factor <= ratio) factor *= 2;
        iterations = std::min(iterations * factor, most);
    }

    /// One chunk. Samples that turn out too short count like all others, since the harness judges warm-up; only one
    /// too short for the clock to notice is left out.
    std::vector<Sample> take(Workload& workload, Timing timing, std::uint64_t max_samples, std::uint64_t max_ns,
                             std::uint64_t min_sample_ns) {
        const std::uint64_t most = timing == Timing::cold ? 1 : MAX_ITERATIONS;
        const std::uint64_t begin_ns = monotonic_ns();
        std::vector<Sample> samples;
        int unusable = 0;
        while (samples.size() < max_samples && (samples.empty() || monotonic_ns() - begin_ns <= max_ns)) {
            Sample sample = workload.sample(iterations);
            const std::uint64_t timed_ns = sample.device_ns.value_or(sample.host_ns);
            const bool is_valid = sample.invalid.empty();
            if (is_valid && timed_ns > 0 && sample.host_ns > 0) {
                unusable = 0;
                workload.observe(sample.values);
                samples.push_back(std::move(sample));
            } else if (!is_valid && ++unusable == MAX_INVALID) {
                throw Failed(std::to_string(unusable) + " samples in a row were invalid, the last: " + sample.invalid);
            } else if (is_valid && iterations == most) {
                throw Failed(std::to_string(most) + " iterations take no time at all");
            }
            if (is_valid) adapt(timed_ns, min_sample_ns, most);
        }
        return samples;
    }
};

/// The case of a `prepare` request.
inline Case read_case(const Json& json) {
    if (json.kind != Json::Kind::object) throw Failed("not a request: field `case` is no object");
    json.only({"workload", "params", "seed", "device", "timing"});
    Case out;
    out.workload = json.text_at("workload");
    const std::string& seed = json.text_at("seed");
    // One value, one spelling: `007` is no canonical 7.
    if (!JsonReader::to_u64(seed, out.seed) || std::to_string(out.seed) != seed)
        throw Failed("not a request: field `seed` is no unsigned 64-bit integer in decimal, as text");
    out.device = DeviceSelector::parse(json.text_at("device"));
    const std::string& timing = json.text_at("timing");
    bool known = false;
    for (const Timing mode : {Timing::hot, Timing::cold, Timing::graph, Timing::host})
        if (timing == name_of(mode)) out.timing = mode, known = true;
    if (!known) throw Failed("not a request: no timing mode is called `" + timing + "`");
    const Json& params = json.at("params");
    if (params.kind != Json::Kind::object) throw Failed("not a request: field `params` is no object");
    for (std::size_t i = 0; i < params.keys.size(); ++i) {
        const Json& value = params.items[i];
        ParamValue& param = out.params[params.keys[i]];
        const bool fits = value.magnitude <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        if (value.kind == Json::Kind::boolean) {
            param = value.truth;
        } else if (value.kind == Json::Kind::text) {
            param = value.string;
        } else if (value.kind == Json::Kind::integer && fits) {
            const auto magnitude = static_cast<std::int64_t>(value.magnitude);
            param = value.negative ? -magnitude : magnitude;
        } else if (value.kind == Json::Kind::integer || value.kind == Json::Kind::number) {
            param = value.real;
        } else {
            throw Failed("parameter `" + params.keys[i] + "`: expected true, false, a number or text");
        }
    }
    return out;
}

inline void check_value(const Parameter& parameter, ParamValue& value) {
    static constexpr const char* kinds[] = {"true or false", "an integer", "a number", "text"};
    const std::string where = "parameter `" + parameter.name + "`: ";
    const auto* integer = std::get_if<std::int64_t>(&value);
    // Canonical JSON writes 2.0 as 2: an integer is a number, too.
    if (integer && std::holds_alternative<double>(parameter.kind)) value = static_cast<double>(*integer);
    if (value.index() != parameter.kind.index())
        throw Failed(where + "expected " + kinds[parameter.kind.index()] + ", found " + json(value));
    if (parameter.minimum && std::get_if<std::int64_t>(&value) && std::get<std::int64_t>(value) < *parameter.minimum)
        throw Failed(where + "expected at least " + std::to_string(*parameter.minimum) + ", found " + json(value));
    const auto& choices = parameter.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end())
        throw Failed(where + "expected one of " + array(choices, json) + ", found " + json(value));
}

/// Refuses a case that does not fit what its workload says of itself.
inline void check_case(const Info& info, Case& wanted) {
    for (const auto& [name, value] : wanted.params) {
        const auto is_called = [&name = name](const Parameter& parameter) { return parameter.name == name; };
        if (std::none_of(info.parameters.begin(), info.parameters.end(), is_called))
            throw Failed("`" + info.name + "` has no parameter `" + name + "`");
    }
    for (const Parameter& parameter : info.parameters) {
        const auto found = wanted.params.find(parameter.name);
        if (found == wanted.params.end()) throw Failed("parameter `" + parameter.name + "` is missing");
        check_value(parameter, found->second);
    }
    if (std::find(info.timing.begin(), info.timing.end(), wanted.timing) == info.timing.end())
        throw Failed("`" + info.name + "` does not support timing mode `" + name_of(wanted.timing) + "`");
    if (std::find(info.devices.begin(), info.devices.end(), wanted.device.kind) == info.devices.end())
        throw Skipped("`" + info.name + "` does not run on " + name_of(wanted.device.kind) + " devices");
}

inline std::string describe(const Info& info) {
    static constexpr const char* kinds[] = {"bool", "int", "float", "text"};
    const auto name_quoted = [](auto value) { return quoted(name_of(value)); };
    const auto parameter = [](const Parameter& p) {
        Object out;
        out.text("name", p.name).text("type", kinds[p.kind.index()]);
        if (p.fallback) out.raw("default", json(*p.fallback));
        if (p.minimum) out.raw("minimum", std::to_string(*p.minimum));
        if (!p.choices.empty()) out.raw("choices", array(p.choices, json));
        return out.end();
    };
    return Object()
        .text("name", info.name)
        .text("summary", info.summary)
        .integer("definition", info.definition)
        .raw("parameters", array(info.parameters, parameter))
        .raw("timing", array(info.timing, name_quoted))
        .raw("devices", array(info.devices, name_quoted))
        .end();
}

inline std::string describe(const Workload& workload) {
    const Work& work = workload.work;
    Object amounts;
    if (work.bytes) amounts.integer("bytes", *work.bytes);
    if (work.flops) amounts.integer("flops", *work.flops);
    if (work.items) amounts.integer("items", *work.items);
    if (!work.formula.empty()) amounts.text("formula", work.formula);
    const auto metric = [](const Metric& m) {
        Object out;
        return out.text("name", m.name).text("unit", m.unit).text("direction", m.direction).text("kind", m.kind).end();
    };
    Object out = line("prepared");
    out.raw("work", amounts.end()).raw("metrics", array(workload.metrics, metric));
    if (!workload.device.empty()) out.text("device", workload.device);
    out.raw("inputs", object(workload.inputs, quoted)).flag("deterministic", workload.deterministic);
    Object bound;
    if (!workload.bound_level.empty()) bound.text("level", workload.bound_level);
    if (!workload.bound_unit.empty()) bound.text("unit", workload.bound_unit);
    if (bound.end() != "{}") out.raw("bound", bound.end());
    if (workload.timer_resolution_ns > 0) out.integer("timer_resolution_ns", workload.timer_resolution_ns);
    if (!workload.facts.empty()) out.raw("facts", object(workload.facts, quoted));
    return out.end() + '\n';
}

/// JSON has no NaN and no infinity, and no measurement is one.
inline std::string describe(const Values& values) {
    for (const auto& [name, value] : values)
        if (!std::isfinite(value)) throw Failed("metric `" + name + "` has a value that is no finite number");
    return object(values, number);
}

inline std::string describe(const Sample& sample) {
    Object out = line("sample");
    out.integer("start_ns", sample.start_ns).integer("iterations", sample.iterations);
    out.integer("host_ns", sample.host_ns);
    if (sample.device_ns) out.integer("device_ns", *sample.device_ns);
    if (!sample.values.empty()) out.raw("values", describe(sample.values));
    return out.end() + '\n';
}

inline std::string describe(const Verification& verification) {
    Object out = line("verified");
    out.flag("passed", verification.passed);
    const auto amount = [&out](const char* key, std::optional<double> value) {
        if (value && std::isfinite(*value)) out.raw(key, number(*value));
    };
    amount("error", verification.error);
    amount("tolerance", verification.tolerance);
    if (!verification.output.empty()) out.text("output", verification.output);
    if (!verification.detail.empty()) out.text("detail", verification.detail);
    return out.end() + '\n';
}

}  // namespace detail

/// Tells the harness that something long goes on: each such line restarts its timeout. Never call it in a timed region.
inline void progress(std::string_view message) {
    detail::write_all(detail::line("progress").text("message", message).end() + '\n');
}

/// A device that the worker sees.
struct DeviceInfo {
    DeviceKind kind;
    std::uint32_t index;
    std::string name, uuid;
};

/// The program as a worker: its workloads, and the loop that serves them. There is one in a process.
class Worker {
public:
    /// From here on standard output is the protocol's alone: what the program prints goes to standard error.
    Worker(std::string name, std::string version) : name_(std::move(name)), version_(std::move(version)) {
        const int kept = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        if (kept >= 0 && ::dup2(STDERR_FILENO, STDOUT_FILENO) >= 0) detail::output() = kept;
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    virtual ~Worker() = default;

    /// Offers workload `T`, whose constructor takes a `const Case&`.
    template <class T>
    Worker& add(Info info) {
        T::describe(info);
        entries_.push_back({std::move(info), [](const Case& wanted) { return std::make_unique<T>(wanted); }});
        return *this;
    }

    /// Answers requests until the input ends; what `main` returns.
    int serve() {
        detail::Lines lines;
        std::string line;
        while (!is_over_) {
            const auto next = lines.next(line);
            if (next == detail::Lines::Next::end) return EXIT_SUCCESS;
            const std::string reply = next == detail::Lines::Next::line
                                          ? answer(line)
                                          : detail::refusal("failed", "a request is longer than " +
                                                                          std::to_string(MAX_LINE_BYTES) + " bytes");
            if (!detail::write_all(reply)) return EXIT_FAILURE;
        }
        return EXIT_FAILURE;
    }

protected:
    virtual std::vector<DeviceInfo> devices() {
        std::ifstream info("/proc/cpuinfo");
        std::string line, model = "unknown";
        while (std::getline(info, line) && line.rfind("model name", 0) != 0) {}
        const std::size_t colon = line.find(": ");
        if (info && colon != std::string::npos) model = line.substr(colon + 2);
        return {{DeviceKind::cpu, 0, model, ""}};
    }

    virtual std::map<std::string, std::string> software() {
        std::map<std::string, std::string> out;
        if (utsname system{}; ::uname(&system) == 0) out["kernel"] = std::string(system.sysname) + " " + system.release;
#ifdef __GLIBC__
        out["libc"] = std::string("glibc ") + gnu_get_libc_version();
#endif
#ifdef __clang__
        out["compiler"] = __VERSION__;
#elif defined(__GNUC__)
        out["compiler"] = "GCC " __VERSION__;
#endif
        return out;
    }

    /// Asked after every failure: whether this process can serve no more.
    virtual bool is_broken() { return false; }

private:
    struct Entry {
        Info info;
        std::function<std::unique_ptr<Workload>(const Case&)> make;
    };

    std::string answer(std::string_view line) {
        std::string reply;
        try {
            return dispatch(detail::JsonReader::read(line));
        } catch (const Skipped& skipped) {
            return detail::refusal("skipped", skipped.what());
        } catch (const Fatal& fatal) {
            is_over_ = true;
            reply = detail::refusal("failed", fatal.what());
        } catch (const Failed& failed) {
            reply = detail::refusal("failed", failed.what());
        } catch (const std::exception& error) {
            // Nobody meant to throw this: the state of the case can no longer be trusted.
            current_.reset();
            reply = detail::refusal("failed", error.what());
        } catch (...) {
            current_.reset();
            reply = detail::refusal("failed", "something was thrown that is no std::exception");
        }
        is_over_ = is_over_ || is_broken();
        return reply;
    }

    std::string dispatch(const detail::Json& request) {
        if (request.kind != detail::Json::Kind::object) throw Failed("not a request: expected an object");
        const std::string& name = request.text_at("request");
        if (name == "hello") return hello();
        if (name == "prepare") return prepare(request);
        if (name != "sample" && name != "verify" && name != "teardown")
            throw Failed("not a request: no request is called `" + name + "`");
        if (!current_) throw Failed("no case is prepared");
        if (name == "sample") return sample(request);
        if (name == "verify") return detail::describe(current_->verify());
        return tear_down();
    }

    std::string hello() {
        const auto device = [](const DeviceInfo& info) {
            detail::Object out;
            out.text("kind", name_of(info.kind)).integer("index", info.index).text("name", info.name);
            if (!info.uuid.empty()) out.text("uuid", info.uuid);
            return out.end();
        };
        return detail::line("hello")
                   .integer("protocol", PROTOCOL_VERSION)
                   .text("worker", name_)
                   .text("version", version_)
                   .raw("devices", detail::array(devices(), device))
                   .raw("software", detail::object(software(), detail::quoted))
                   .raw("workloads", detail::array(entries_, [](const Entry& e) { return detail::describe(e.info); }))
                   .end() +
               '\n';
    }

    /// Prepares a case in place of the one before, if that was never torn down.
    std::string prepare(const detail::Json& request) {
        current_.reset();
        Case wanted = detail::read_case(request.at("case"));
        const auto is_it = [&](const Entry& entry) { return entry.info.name == wanted.workload; };
        const auto entry = std::find_if(entries_.begin(), entries_.end(), is_it);
        if (entry == entries_.end()) throw Failed("no workload is called `" + wanted.workload + "`");
        detail::check_case(entry->info, wanted);
        try {
            current_ = entry->make(wanted);
        } catch (const OutOfMemory& error) {
            throw Skipped(std::string("not enough memory: ") + error.what());
        } catch (const std::bad_alloc&) {
            throw Skipped("not enough memory");
        }
        timing_ = wanted.timing;
        batch_ = {};
        return detail::describe(*current_);
    }

    /// Replies when the chunk is complete, so that no output disturbs a sample.
    std::string sample(const detail::Json& request) {
        request.only({"request", "max_samples", "max_ns", "min_sample_ns"});
        const std::uint64_t max_samples = request.integer_at("max_samples");
        if (max_samples < 1 || max_samples > MAX_SAMPLES_PER_CHUNK)
            throw Failed("`max_samples` is " + std::to_string(max_samples) + ": expected 1 to " +
                         std::to_string(MAX_SAMPLES_PER_CHUNK));
        const auto samples = batch_.take(*current_, timing_, max_samples, request.integer_at("max_ns"),
                                         request.integer_at("min_sample_ns"));
        std::string reply;
        for (const Sample& sample : samples) reply += detail::describe(sample);
        return reply + detail::line("sampled").integer("samples", samples.size()).end() + '\n';
    }

    std::string tear_down() {
        Values values;
        current_->finish(values);
        current_.reset();
        return detail::line("torn_down").raw("values", detail::describe(values)).end() + '\n';
    }

    std::string name_, version_;
    std::vector<Entry> entries_;
    std::unique_ptr<Workload> current_;
    Timing timing_ = Timing::hot;
    detail::Batch batch_;
    bool is_over_ = false;
};

}  // namespace assay

// --- CUDA ----------------------------------------------------------------------------------------------------

#ifdef __CUDACC__

/// Throws unless a CUDA call succeeded. Where the error has left the device unusable, the worker answers and then
/// exits with 1; see `CudaWorker::is_broken`.
#define ASSAY_CUDA(call) ::assay::detail::check_cuda((call), #call)

namespace assay {
namespace detail {

inline std::string words_of(cudaError_t error) {
    return std::string(cudaGetErrorName(error)) + " (" + cudaGetErrorString(error) + ")";
}

inline void check_cuda(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();  // what can be forgotten, is
    if (error == cudaErrorMemoryAllocation) throw OutOfMemory(call + (": " + words_of(error)));
    throw Failed(call + (": " + words_of(error)));
}

/// Frees what a CUDA call made. An error then is none of its own: it would hide the first.
template <auto Destroy>
struct Release {
    template <class T>
    void operator()(T* handle) const {
        (void)Destroy(handle);
    }
};
using Stream = std::unique_ptr<CUstream_st, Release<cudaStreamDestroy>>;
using Event = std::unique_ptr<CUevent_st, Release<cudaEventDestroy>>;
using Graph = std::unique_ptr<CUgraph_st, Release<cudaGraphDestroy>>;
using GraphExec = std::unique_ptr<CUgraphExec_st, Release<cudaGraphExecDestroy>>;

inline Event make_event() {
    cudaEvent_t event = nullptr;
    ASSAY_CUDA(cudaEventCreate(&event));
    return Event(event);
}

/// Page-locked host memory that kernels read and write in place.
template <class T>
class Pinned {
public:
    Pinned() {
        void* made = nullptr;
        ASSAY_CUDA(cudaHostAlloc(&made, sizeof(T), cudaHostAllocMapped));
        host_.reset(static_cast<T*>(made));
        std::memset(made, 0, sizeof(T));
        ASSAY_CUDA(cudaHostGetDevicePointer(&device_, made, 0));
    }
    T& operator*() const { return *host_; }
    T* operator->() const { return host_.get(); }
    T* on_device() const { return static_cast<T*>(device_); }

private:
    std::unique_ptr<T, Release<cudaFreeHost>> host_;
    void* device_ = nullptr;
};

// Kernels are templates so that several files of one program may include them.

__device__ inline unsigned long long global_ns() {
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    return now;
}

template <class T>
__global__ void fill_kernel(Philox random, T* out, std::size_t count) {
    const std::size_t threads = std::size_t{gridDim.x} * blockDim.x;
    for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += threads)
        out[i] = static_cast<T>(Philox::signed_unit(random.word(i)));
}

/// Holds back what was enqueued behind it, so that launch latency is over when the clock starts. `State` is filled in
/// by the host, `open`, and by the kernel, `timed_out`: then the host was not done in time, and the sample is invalid.
struct GateState {
    unsigned open, timed_out;
};

template <class State>
__global__ void gate_kernel(volatile State* state, unsigned long long limit_ns) {
    const unsigned long long begin = global_ns();
    while (state->open == 0) {
        if (global_ns() - begin > limit_ns) {
            state->timed_out = 1;
            return;
        }
    }
}

class Gate {
public:
    static constexpr unsigned long long LIMIT_NS = 250'000'000;

    void close(cudaStream_t stream) {
        *state_ = {};
        gate_kernel<<<1, 1, 0, stream>>>(state_.on_device(), LIMIT_NS);
        ASSAY_CUDA(cudaGetLastError());
    }
    void open() { __atomic_store_n(&state_->open, 1u, __ATOMIC_SEQ_CST); }
    /// Whether it did since it was last asked. Asked when the stream is idle.
    bool timed_out() { return __atomic_exchange_n(&state_->timed_out, 0u, __ATOMIC_SEQ_CST) != 0; }

private:
    Pinned<GateState> state_;
};

/// Clock of the multiprocessors over a sample: cycles and nanoseconds, read before and after on the same ones.
struct Tick {
    unsigned long long cycles, ns;
};

template <class T>
__global__ void tick_kernel(T* ticks, unsigned count) {
    unsigned multiprocessor;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(multiprocessor));
    if (multiprocessor < count) ticks[multiprocessor] = {static_cast<unsigned long long>(clock64()), global_ns()};
}

class SmClock {
public:
    static constexpr unsigned MOST = 1024;  // numbers of multiprocessors

    void before(cudaStream_t stream, int multiprocessors) {
        *ticks_ = {};
        read(stream, multiprocessors, 0);
    }
    void after(cudaStream_t stream, int multiprocessors) { read(stream, multiprocessors, 1); }

    /// MHz between the two, over all multiprocessors seen both times; 0 where there are none.
    double mhz() const {
        double cycles = 0, ns = 0;
        for (unsigned i = 0; i < MOST; ++i) {
            const Tick &first = ticks_->at[0][i], &last = ticks_->at[1][i];
            if (first.ns == 0 || last.ns <= first.ns) continue;
            cycles += static_cast<double>(last.cycles - first.cycles);
            ns += static_cast<double>(last.ns - first.ns);
        }
        return ns > 0 ? cycles / ns * 1e3 : 0;
    }

private:
    struct Ticks {
        Tick at[2][MOST];
    };

    void read(cudaStream_t stream, int multiprocessors, int which) {
        const auto blocks = static_cast<unsigned>(multiprocessors);
        tick_kernel<<<blocks, 1, 0, stream>>>(ticks_.on_device()->at[which], MOST);
        ASSAY_CUDA(cudaGetLastError());
    }

    Pinned<Ticks> ticks_;
};

template <class T>
__global__ void sweep_kernel(const T* data, std::size_t count, unsigned* never) {
    const std::size_t threads = std::size_t{gridDim.x} * blockDim.x;
    unsigned seen = 0;
    for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += threads) {
        const T four = data[i];
        seen |= four.x | four.y | four.z | four.w;
    }
    if (seen != 0) *never = seen;  // all is zero, which the compiler cannot know
}

}  // namespace detail

/// An array on the device.
template <class T>
class DeviceBuffer {
public:
    explicit DeviceBuffer(std::size_t count) : count_(count) {
        void* made = nullptr;
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw OutOfMemory("an absurd size");
        if (count > 0) ASSAY_CUDA(cudaMalloc(&made, bytes()));
        data_.reset(static_cast<T*>(made));
    }
    T* data() const { return data_.get(); }
    std::size_t size() const { return count_; }
    std::size_t bytes() const { return count_ * sizeof(T); }

    /// The bits of `Philox::fill`, made on the device.
    void fill(Philox random) {
        if (count_ == 0) return;
        const auto blocks = static_cast<unsigned>(std::min<std::size_t>((count_ + 255) / 256, 65535));
        detail::fill_kernel<<<blocks, 256>>>(random, data(), count_);
        ASSAY_CUDA(cudaGetLastError());
    }
    /// All bits set: not a number, so that what was never written cannot pass.
    void poison() { ASSAY_CUDA(cudaMemset(data(), 0xFF, bytes())); }
    void upload(const std::vector<T>& from) {
        if (from.size() != count_) throw Failed("upload: the sizes differ");
        ASSAY_CUDA(cudaMemcpy(data(), from.data(), bytes(), cudaMemcpyHostToDevice));
    }
    std::vector<T> download() const {
        std::vector<T> out(count_);
        ASSAY_CUDA(cudaMemcpy(out.data(), data(), bytes(), cudaMemcpyDeviceToHost));
        return out;
    }

private:
    std::size_t count_;
    std::unique_ptr<T, detail::Release<cudaFree>> data_;
};

/// A workload on a CUDA device, timed in every mode by events.
///
///     struct Triad : assay::CudaWorkload {
///         assay::DeviceBuffer<float> x, out;
///         explicit Triad(const assay::Case& c) : CudaWorkload(c), x(c.size("elements")), out(x.size()) { ... }
///         void launch(cudaStream_t stream) override { triad<<<blocks, 256, 0, stream>>>(x.data(), out.data(), ...); }
///         assay::Verification verify() override { ... }
///     };
///
/// `hot` and `cold` hide launch latency behind a gate kernel; `cold` flushes the L2 before its one launch and counts
/// nothing of that; `graph` replays one captured iteration; `host` measures from launch to completion. The very first
/// launch, which loads modules, is neither gated nor timed. Each sample has the clock of the multiprocessors,
/// `sm_clock` in MHz. The resolution of events is measured and declared.
class CudaWorkload : public Workload {
public:
    /// Chooses the device and makes it current: before the members of what derives from it allocate.
    explicit CudaWorkload(const Case& wanted) : timing_(wanted.timing) {
        choose_device(wanted.device);
        cudaStream_t made = nullptr;
        // A stream that the legacy default stream waits for, and waits for it: a launch that forgets `stream` is timed.
        ASSAY_CUDA(cudaStreamCreate(&made));
        stream_.reset(made);
        start_ = detail::make_event();
        stop_ = detail::make_event();
        gate_.emplace();
        clock_.emplace();
        if (timing_ == Timing::cold) {
            const auto l2_bytes = static_cast<std::size_t>(std::max(properties_.l2CacheSize, 0));
            sweep_.emplace(std::max<std::size_t>(3 * l2_bytes, 32 << 20) / sizeof(uint4));
            ASSAY_CUDA(cudaMemset(sweep_->data(), 0, sweep_->bytes()));
        }
        metrics.push_back({"sm_clock", "MHz", "neutral", "sample"});
        if (timing_ != Timing::host) timer_resolution_ns = measured_resolution_ns();
    }

    /// Enqueues one iteration on `stream`, the same every time, and does not wait for it.
    virtual void launch(cudaStream_t stream) = 0;

    cudaStream_t stream() const { return stream_.get(); }
    const cudaDeviceProp& properties() const { return properties_; }

    Sample sample(std::uint64_t iterations) final {
        if (!is_primed_) prime();
        restore();
        clock_->before(stream(), properties_.multiProcessorCount);
        if (timing_ == Timing::cold) flush();
        ASSAY_CUDA(cudaStreamSynchronize(stream()));
        Sample out = timing_ == Timing::host ? on_host(iterations) : between_events(iterations);
        clock_->after(stream(), properties_.multiProcessorCount);
        ASSAY_CUDA(cudaStreamSynchronize(stream()));
        out.values["sm_clock"] = clock_->mhz();
        if (out.values["sm_clock"] <= 0) out.invalid = "the clock of the multiprocessors could not be read";
        if (gate_->timed_out())
            after_timeout(out);
        else
            timeouts_ = 0;
        return out;
    }

    static void describe(Info& info) {
        info.devices = {DeviceKind::cuda};
        if (info.timing.empty()) info.timing = {Timing::hot, Timing::cold, Timing::graph, Timing::host};
    }

private:
    /// Most iterations that wait behind the gate: a stream takes some 1000 launches before it blocks the host.
    static constexpr std::uint64_t MOST_AHEAD = 128;

    void choose_device(const DeviceSelector& wanted);

    /// One iteration and each of our own kernels, so that all are loaded. No launch is held back meanwhile.
    void prime() {
        restore();
        clock_->before(stream(), properties_.multiProcessorCount);
        if (timing_ == Timing::cold) flush();
        gate_->close(stream());
        gate_->open();
        ASSAY_CUDA(cudaStreamSynchronize(stream()));
        issue();
        ASSAY_CUDA(cudaStreamSynchronize(stream()));
        if (timing_ == Timing::graph) {
            graph_ = capture();
            issue();
            ASSAY_CUDA(cudaStreamSynchronize(stream()));
        }
        is_primed_ = true;
    }

    void issue() {
        if (graph_) {
            ASSAY_CUDA(cudaGraphLaunch(graph_.get(), stream()));
        } else {
            launch(stream());
            ASSAY_CUDA(cudaGetLastError());
        }
    }

    detail::GraphExec capture() {
        ASSAY_CUDA(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
        cudaGraph_t captured = nullptr;
        try {
            launch(stream());
        } catch (...) {
            (void)cudaStreamEndCapture(stream(), &captured);
            detail::Graph released(captured);
            throw;
        }
        ASSAY_CUDA(cudaStreamEndCapture(stream(), &captured));
        const detail::Graph graph(captured);
        cudaGraphExec_t made = nullptr;
        ASSAY_CUDA(cudaGraphInstantiateWithFlags(&made, graph.get(), 0));
        return detail::GraphExec(made);
    }

    /// Reads three times the size of the L2: what it held is gone, and nothing that it now holds has to be written
    /// back while the iteration runs.
    void flush() {
        const auto blocks = static_cast<unsigned>(properties_.multiProcessorCount) * 8;
        auto* never = reinterpret_cast<unsigned*>(sweep_->data());
        detail::sweep_kernel<<<blocks, 256, 0, stream()>>>(sweep_->data(), sweep_->size(), never);
        ASSAY_CUDA(cudaGetLastError());
    }

    Sample on_host(std::uint64_t iterations) {
        Sample out;
        out.iterations = iterations;
        out.start_ns = monotonic_ns();
        for (std::uint64_t i = 0; i < iterations; ++i) {
            issue();
            ASSAY_CUDA(cudaStreamSynchronize(stream()));
        }
        out.host_ns = monotonic_ns() - out.start_ns;
        return out;
    }

    Sample between_events(std::uint64_t iterations) {
        Sample out;
        out.iterations = iterations;
        const std::uint64_t ahead = std::min(iterations, ahead_);
        // Opened on every way out: a closed gate would hold the stream until it times out.
        const auto open = [](detail::Gate* gate) { gate->open(); };
        std::unique_ptr<detail::Gate, decltype(open)> closed(&*gate_, open);
        if (ahead > 0) gate_->close(stream());
        ASSAY_CUDA(cudaEventRecord(start_.get(), stream()));
        for (std::uint64_t i = 0; i < ahead; ++i) issue();
        // Before the gate opens, or else the end of a short iteration would wait for this call.
        if (ahead == iterations) ASSAY_CUDA(cudaEventRecord(stop_.get(), stream()));
        out.start_ns = monotonic_ns();
        closed.reset();
        for (std::uint64_t i = ahead; i < iterations; ++i) issue();
        if (ahead < iterations) ASSAY_CUDA(cudaEventRecord(stop_.get(), stream()));
        ASSAY_CUDA(cudaEventSynchronize(stop_.get()));
        out.host_ns = monotonic_ns() - out.start_ns;
        out.device_ns = between_ns();
        return out;
    }

    std::uint64_t between_ns() const {
        float elapsed_ms = 0;
        ASSAY_CUDA(cudaEventElapsedTime(&elapsed_ms, start_.get(), stop_.get()));
        return static_cast<std::uint64_t>(std::llround(double{elapsed_ms} * 1e6));
    }

    /// The smallest step between the times of pairs of events with nothing between them; where none shows, what the
    /// CUDA documentation says: about half a microsecond.
    std::uint64_t measured_resolution_ns() const {
        std::vector<std::uint64_t> times(64);
        for (std::uint64_t& time : times) {
            ASSAY_CUDA(cudaEventRecord(start_.get(), stream()));
            ASSAY_CUDA(cudaEventRecord(stop_.get(), stream()));
            ASSAY_CUDA(cudaStreamSynchronize(stream()));
            time = between_ns();
        }
        std::sort(times.begin(), times.end());
        std::uint64_t smallest = std::numeric_limits<std::uint64_t>::max();
        for (std::size_t i = 1; i < times.size(); ++i)
            if (times[i] > times[i - 1]) smallest = std::min(smallest, times[i] - times[i - 1]);
        return smallest == std::numeric_limits<std::uint64_t>::max() ? 500 : smallest;
    }

    /// A gate that timed out once had a host that was busy elsewhere. If it does so again, fewer iterations wait behind
    /// the next. A batch can do without any; one launch whose latency cannot be hidden is no measurement.
    void after_timeout(Sample& sample) {
        sample.invalid = "the gate that hides launch latency timed out; does `launch` wait for the device, or "
                         "CUDA_LAUNCH_BLOCKING make it wait? Then time it as `host`";
        if (++timeouts_ < 2 || timing_ == Timing::cold) return;
        ahead_ = std::min(sample.iterations, ahead_) / 2;
        if (ahead_ == 0) std::fprintf(stderr, "assay: %s; launches are no longer held back\n", sample.invalid.c_str());
    }

    const Timing timing_;
    cudaDeviceProp properties_{};
    detail::Stream stream_;
    detail::Event start_, stop_;
    std::optional<detail::Gate> gate_;
    std::optional<detail::SmClock> clock_;
    std::optional<DeviceBuffer<uint4>> sweep_;
    detail::GraphExec graph_;
    std::uint64_t ahead_ = MOST_AHEAD;
    int timeouts_ = 0;  // in a row
    bool is_primed_ = false;
};

namespace detail {

/// Whether this process has used a device: before that there is nothing that could be broken.
inline bool& has_context() {
    static bool made = false;
    return made;
}

/// As NVML and nvidia-smi write it.
inline std::string uuid_of(const cudaDeviceProp& properties) {
    std::string out = "GPU-";
    for (int i = 0; i < 16; ++i) {
        const auto byte = static_cast<unsigned char>(properties.uuid.bytes[i]);
        if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 15];
    }
    return out;
}

}  // namespace detail

/// Takes the first device that fits the selector and gives us a context.
inline void CudaWorkload::choose_device(const DeviceSelector& wanted) {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        throw Skipped("no CUDA device: " + detail::words_of(error));
    }
    std::string why = "no CUDA device fits the selector; there are " + std::to_string(count);
    for (int index = 0; index < count; ++index) {
        ASSAY_CUDA(cudaGetDeviceProperties(&properties_, index));
        if (wanted.index && *wanted.index != static_cast<unsigned>(index)) continue;
        if (std::string_view(properties_.name).find(wanted.model) == std::string_view::npos) continue;
        error = cudaSetDevice(index);
        if (error == cudaSuccess) error = cudaFree(nullptr);  // makes the context
        if (error == cudaSuccess) {
            detail::has_context() = true;
            device = detail::uuid_of(properties_);
            return;
        }
        (void)cudaGetLastError();
        why += std::string("; ") + properties_.name + ": " + detail::words_of(error);
    }
    throw Skipped(why);
}

/// A worker that lists CUDA devices, and ends where one can be used no more.
class CudaWorker : public Worker {
public:
    using Worker::Worker;

protected:
    std::vector<DeviceInfo> devices() override {
        std::vector<DeviceInfo> out = Worker::devices();
        int count = 0;
        if (cudaGetDeviceCount(&count) != cudaSuccess) (void)cudaGetLastError();
        cudaDeviceProp properties{};
        for (int index = 0; index < count; ++index)
            if (cudaGetDeviceProperties(&properties, index) == cudaSuccess)
                out.push_back({DeviceKind::cuda, static_cast<unsigned>(index), properties.name,
                               detail::uuid_of(properties)});
        return out;
    }

    std::map<std::string, std::string> software() override {
        auto out = Worker::software();
        const auto version = [](int number) {
            return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
        };
        int number = 0;
        if (cudaRuntimeGetVersion(&number) == cudaSuccess) out["cuda"] = version(number);
        // What the driver supports; 0 where there is no driver.
        if (cudaDriverGetVersion(&number) == cudaSuccess && number > 0) out["cuda_driver"] = version(number);
#ifdef __CUDACC_VER_MAJOR__
        out["nvcc"] = std::to_string(__CUDACC_VER_MAJOR__) + "." + std::to_string(__CUDACC_VER_MINOR__) + "." +
                      std::to_string(__CUDACC_VER_BUILD__);
#endif
        return out;
    }

    /// After a fault of a kernel every further call answers with its error.
    bool is_broken() override { return detail::has_context() && cudaDeviceSynchronize() != cudaSuccess; }
};

}  // namespace assay

#endif  // __CUDACC__

#endif  // ASSAY_WORKER_HPP
