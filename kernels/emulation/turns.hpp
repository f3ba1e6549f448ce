// How the machine runs: the bodies of its functions, in every program, or once for many (`machine.cpp`).
#pragma once

#include "machine.hpp"

#ifdef ASSAY_EMULATION_APART
#define ASSAY_MACHINE
#else
#define ASSAY_MACHINE inline
#endif

namespace assay::emulation {

// ---- what a kernel asks ----

ASSAY_MACHINE const uint3& Machine::thread_index() const { return current_->index; }
ASSAY_MACHINE const uint3& Machine::block_index() const { return block_index_; }
ASSAY_MACHINE const dim3& Machine::block_size() const { return launch_->block; }
ASSAY_MACHINE const dim3& Machine::grid_size() const { return launch_->grid; }
ASSAY_MACHINE void* Machine::shared_memory() const { return shared_; }
ASSAY_MACHINE std::uint32_t Machine::lane() const { return current_->linear % kWarp; }
ASSAY_MACHINE std::uint32_t Machine::live_lanes() const { return warps_[current_->linear / kWarp].live; }

// ---- running blocks ----

ASSAY_MACHINE void Machine::check(const Launch& launch) const {
    const dim3 grid = launch.grid;
    const dim3 block = launch.block;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0)
        fail("a grid of %u x %u x %u blocks of %u x %u x %u threads has none", grid.x, grid.y, grid.z, block.x, block.y, block.z);
    if (grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535)
        fail("a grid of %u x %u x %u blocks is larger than CUDA allows", grid.x, grid.y, grid.z);
    if (block.x > 1024 || block.y > 1024 || block.z > 64 || std::uint64_t{block.x} * block.y * block.z > kMaxThreads)
        fail("a block of %u x %u x %u threads is larger than CUDA allows", block.x, block.y, block.z);
    if (launch.shared_bytes > kMaxSharedBytes)
        fail("%u bytes of shared memory are more than a block can have (%u)", launch.shared_bytes, kMaxSharedBytes);
}

ASSAY_MACHINE void Machine::run(const Launch& launch) {
    launch_ = &launch;
    check(launch);
    prepare_threads();
    // Exactly as long as asked for, so that a sanitizer sees an access one element further.
    shared_ = static_cast<char*>(std::calloc(launch.shared_bytes == 0 ? 16 : launch.shared_bytes, 1));
    if (shared_ == nullptr) fail("no memory for %u bytes of shared memory", launch.shared_bytes);
    if (launch.shared_bytes == 0) forbid(shared_, 16);
    const std::uint64_t blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    races_.begin_launch(blocks);
    races_.watch_shared(shared_, launch.shared_bytes, "dynamic shared memory");
    for (std::size_t region = 0; region < launch.static_count; ++region)
        races_.watch_shared(launch.statics[region].address, launch.statics[region].bytes, "a shared variable");
    if (order_ == Order::Shuffled) {
        auto* numbers = static_cast<std::uint64_t*>(std::malloc(blocks * sizeof(std::uint64_t)));
        if (numbers == nullptr) fail("no memory to shuffle the blocks");
        for (std::uint64_t number = 0; number < blocks; ++number) numbers[number] = number;
        random_.shuffle(numbers, blocks);
        for (std::uint64_t turn = 0; turn < blocks; ++turn) run_block(numbers[turn]);
        std::free(numbers);
    } else {
        for (std::uint64_t turn = 0; turn < blocks; ++turn)
            run_block(order_ == Order::Forward ? turn : blocks - 1 - turn);
    }
    races_.end_launch();
    if (launch.shared_bytes == 0) allow(shared_, 16);
    std::free(shared_);
    shared_ = nullptr;
    launch_ = nullptr;
}

ASSAY_MACHINE void Machine::prepare_threads() {
    const dim3 block = launch_->block;
    count_ = block.x * block.y * block.z;
    for (std::uint32_t linear = 0; linear < count_; ++linear) {
        threads_[linear].linear = linear;
        threads_[linear].index = {linear % block.x, linear / block.x % block.y, linear / (block.x * block.y)};
    }
}

ASSAY_MACHINE uint3 Machine::block_of(std::uint64_t number) const {
    const dim3 grid = launch_->grid;
    const std::uint64_t row = number / grid.x;
    return {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(row % grid.y), static_cast<unsigned>(row / grid.y)};
}

ASSAY_MACHINE void Machine::run_block(std::uint64_t number) {
    block_index_ = block_of(number);
    fill_with_garbage(shared_, launch_->shared_bytes);
    for (std::size_t region = 0; region < launch_->static_count; ++region)
        fill_with_garbage(launch_->statics[region].address, launch_->statics[region].bytes);

    block_ = static_cast<std::uint32_t>(number);
    ended_ = in_barrier_ = barrier_sum_ = spins_ = barriers_ = 0;
    pass_length_ = pass_at_ = 0;
    for (std::uint32_t linear = 0; linear < count_; ++linear) {
        threads_[linear].state = State::Unstarted;
        make_ready(threads_[linear]);
    }
    for (std::uint32_t first = 0; first < count_; first += kWarp) {
        const std::uint32_t lanes = count_ - first < kWarp ? count_ - first : kWarp;
        warps_[first / kWarp] = {lanes == kWarp ? ~0u : (1u << lanes) - 1, 0};
    }
    current_ = pick();
    current_->fiber = take_fiber();
    main_.switch_to(*current_->fiber);
    current_ = nullptr;
}

/// What every fiber runs: one thread after the other, as long as the next thread in turn has not started. So the
/// threads of a kernel without barriers share one fiber and cost no switch.
ASSAY_MACHINE void Machine::fiber_body() {
    Machine& self = *machine;
    Fiber* const mine = self.current_->fiber;
    mine->arrived();
    for (;;) {
        self.launch_->kernel->invoke(self.launch_->kernel->function, self.launch_->arguments);
        self.end_current();
        Thread* const to = self.pick();
        if (to != nullptr && to->fiber == nullptr) {
            to->fiber = mine;
            self.current_ = to;
            continue;
        }
        if (to == nullptr && self.ended_ != self.count_) self.report_stuck();
        self.free_[self.free_count_++] = mine;
        if (to != nullptr) self.current_ = to;
        mine->switch_to(to == nullptr ? self.main_ : *to->fiber);
    }
}

ASSAY_MACHINE void Machine::end_current() {
    Thread& thread = *current_;
    thread.state = State::Ended;
    thread.fiber = nullptr;
    ++ended_;
    spins_ = 0;
    Warp& warp = warps_[thread.linear / kWarp];
    warp.live &= ~(1u << thread.linear % kWarp);
    // Those who waited for this lane need not any more.
    Thread* const lanes = &threads_[thread.linear / kWarp * kWarp];
    for (std::uint32_t left = warp.waiting; left != 0; left &= warp.waiting & (left - 1)) {
        const Thread& waiting = lanes[__builtin_ctz(left)];
        try_complete(thread.linear / kWarp, waiting.mask, waiting.kind);
    }
}

ASSAY_MACHINE Fiber* Machine::take_fiber() {
    if (free_count_ != 0) return free_[--free_count_];
    fibers_[fiber_count_] = new Fiber(&Machine::fiber_body, fiber_count_);
    return fibers_[fiber_count_++];
}

ASSAY_MACHINE void Machine::begin_pass() {
    pass_at_ = pass_length_ = 0;
    for (std::uint32_t word = 0; word * 64 < count_; ++word) {
        for (std::uint64_t left = next_[word]; left != 0; left &= left - 1)
            pass_[pass_length_++] = static_cast<std::uint16_t>(word * 64 + __builtin_ctzll(left));
        next_[word] = 0;
    }
    if (order_ == Order::Shuffled) random_.shuffle(pass_, pass_length_);
}

ASSAY_MACHINE Machine::Thread* Machine::pick() {
    if (pass_at_ == pass_length_) begin_pass();
    if (pass_at_ == pass_length_) return nullptr;
    const std::uint32_t turn = pass_at_++;
    return &threads_[pass_[order_ == Order::Reverse ? pass_length_ - 1 - turn : turn]];
}

ASSAY_MACHINE void Machine::suspend() {
    Thread& self = *current_;
    spins_ = 0;
    Thread* const to = pick();
    if (to == nullptr) report_stuck();
    if (to == &self) return;
    if (to->fiber == nullptr) to->fiber = take_fiber();
    current_ = to;
    self.fiber->switch_to(*to->fiber);
}

// ---- waiting for each other ----

ASSAY_MACHINE std::uint32_t Machine::barrier(Kind kind, bool predicate, Place place) {
    Thread& self = *current_;
    self.state = State::InBarrier;
    self.kind = kind;
    self.place = place;
    if (in_barrier_ == 0) {
        first_in_barrier_ = &self;
    } else if (first_in_barrier_->kind != kind || !(first_in_barrier_->place == place)) {
        const Thread& first = *first_in_barrier_;
        fail("divergent barrier: thread (%u, %u, %u) waits in %s at %s:%d, thread (%u, %u, %u) in %s at %s:%d",
             first.index.x, first.index.y, first.index.z, name_of(first.kind), first.place.file, first.place.line,
             self.index.x, self.index.y, self.index.z, name_of(kind), place.file, place.line);
    }
    barrier_sum_ += predicate;
    if (++in_barrier_ == count_) {
        barrier_result_ = kind == Kind::BarrierCount ? barrier_sum_
                          : kind == Kind::BarrierAnd ? barrier_sum_ == count_
                                                     : barrier_sum_ != 0;
        in_barrier_ = barrier_sum_ = 0;
        ++barriers_;
        for (std::uint32_t linear = 0; linear < count_; ++linear) {
            threads_[linear].state = State::Ready;
            make_ready(threads_[linear]);
        }
    }
    suspend();
    return barrier_result_;
}

ASSAY_MACHINE std::uint64_t Machine::warp(Kind kind, std::uint32_t mask, std::uint64_t value, std::uint32_t source, Place place) {
    Thread& self = *current_;
    if ((mask >> lane() & 1) == 0)
        fail("%s at %s:%d: thread (%u, %u, %u), lane %u, calls it with mask %08x, which leaves it out", name_of(kind),
             place.file, place.line, self.index.x, self.index.y, self.index.z, lane(), mask);
    self.state = State::InWarp;
    self.kind = kind;
    self.mask = mask;
    self.value = value;
    self.source = source;
    self.place = place;
    const std::uint32_t number = self.linear / kWarp;
    warps_[number].waiting |= 1u << lane();
    try_complete(number, mask, kind);
    suspend();
    return self.result;
}

/// Completes an operation if all lanes of its mask that still live wait in it.
ASSAY_MACHINE void Machine::try_complete(std::uint32_t number, std::uint32_t mask, Kind kind) {
    Warp& warp = warps_[number];
    const std::uint32_t members = mask & warp.live;
    if (members == 0 || (members & ~warp.waiting) != 0) return;
    Thread* const lanes = &threads_[number * kWarp];
    for (std::uint32_t left = members; left != 0; left &= left - 1) {
        const Thread& lane = lanes[__builtin_ctz(left)];
        if (lane.kind != kind || lane.mask != mask) return;
    }
    warp.waiting &= ~members;
    if (kind == Kind::Sync) races_.sync_lanes(number, members);
    complete(lanes, members, kind);
}

ASSAY_MACHINE void Machine::complete(Thread* lanes, std::uint32_t members, Kind kind) {
    const bool individual = kind == Kind::Shuffle || kind == Kind::MatchAny;
    const std::uint64_t together = individual ? 0 : combine(lanes, members, kind);
    for (std::uint32_t left = members; left != 0; left &= left - 1) {
        Thread& lane = lanes[__builtin_ctz(left)];
        lane.result = together;
        if (kind == Kind::Shuffle) {
            constexpr std::uint64_t garbage = std::uint64_t{kGarbage} << 32 | kGarbage;
            lane.result = members >> lane.source & 1 ? lanes[lane.source].value : garbage;
        } else if (kind == Kind::MatchAny) {
            for (std::uint32_t others = members; others != 0; others &= others - 1)
                if (lanes[__builtin_ctz(others)].value == lane.value) lane.result |= others & -others;
        }
        lane.state = State::Ready;
        make_ready(lane);
    }
}

/// The result that all lanes share.
ASSAY_MACHINE std::uint64_t Machine::combine(const Thread* lanes, std::uint32_t members, Kind kind) const {
    const std::uint64_t first = lanes[__builtin_ctz(members)].value;
    std::uint64_t result = kind == Kind::Ballot || kind == Kind::All || kind == Kind::Any ? 0 : first;
    bool equal = true;
    for (std::uint32_t left = members; left != 0; left &= left - 1) {
        const std::uint64_t value = lanes[__builtin_ctz(left)].value;
        equal = equal && value == first;
        if (kind == Kind::Ballot || kind == Kind::All || kind == Kind::Any) result |= value != 0 ? left & -left : 0;
        if (left == members) continue;  // `result` began with the first lane's value
        const auto a = static_cast<std::int32_t>(result);
        const auto b = static_cast<std::int32_t>(value);
        switch (kind) {
            case Kind::ReduceAdd: result = static_cast<std::uint32_t>(result + value); break;
            case Kind::ReduceMin: result = result < value ? result : value; break;
            case Kind::ReduceMax: result = result > value ? result : value; break;
            case Kind::ReduceMinSigned: result = static_cast<std::uint32_t>(a < b ? a : b); break;
            case Kind::ReduceMaxSigned: result = static_cast<std::uint32_t>(a > b ? a : b); break;
            case Kind::ReduceAnd: result &= value; break;
            case Kind::ReduceOr: result |= value; break;
            case Kind::ReduceXor: result ^= value; break;
            default: break;
        }
    }
    if (kind == Kind::All) return result == members;
    if (kind == Kind::Any) return result != 0;
    if (kind == Kind::MatchAll) return equal ? members : 0;
    return result;
}

// ---- words ----

ASSAY_MACHINE void Machine::describe_current(std::FILE* out) const {
    if (launch_ == nullptr) return;
    std::fprintf(out, "%s, block (%u, %u, %u)", launch_->kernel->name, block_index_.x, block_index_.y, block_index_.z);
    if (current_ != nullptr)
        std::fprintf(out, ", thread (%u, %u, %u)", current_->index.x, current_->index.y, current_->index.z);
}

ASSAY_MACHINE void Machine::fail(const char* format, ...) const {
    std::fprintf(stderr, "emulation: %s, block (%u, %u, %u): ", launch_->kernel->name, block_index_.x, block_index_.y, block_index_.z);
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
    std::fflush(stderr);
    std::_Exit(2);
}

/// Says where the threads are when none can go on.
ASSAY_MACHINE void Machine::report_stuck() const {
    char text[4096];
    std::size_t length = 0;
    std::uint32_t in_barrier = 0;
    std::uint32_t told[kMaxThreads / 32] = {};
    for (std::uint32_t first = 0; first < count_ && length < sizeof text - 512; ++first) {
        if (told[first / 32] >> first % 32 & 1) continue;
        const Thread& one = threads_[first];
        const bool ended = one.state == State::Ended;
        std::uint32_t same = 0;
        for (std::uint32_t other = first; other < count_; ++other) {
            const Thread& two = threads_[other];
            if (one.state != two.state || (!ended && (one.kind != two.kind || !(one.place == two.place)))) continue;
            if (one.state == State::InWarp && one.mask != two.mask) continue;
            told[other / 32] |= 1u << other % 32;
            ++same;
        }
        if (one.state == State::InBarrier) in_barrier += same;
        length += std::snprintf(text + length, sizeof text - length, "%s%u %s", length == 0 ? "" : "; ", same,
                                ended ? "ended" : "wait in ");
        if (!ended)
            length += std::snprintf(text + length, sizeof text - length, "%s at %s:%d", name_of(one.kind), one.place.file, one.place.line);
        if (one.state == State::InWarp) length += std::snprintf(text + length, sizeof text - length, " with mask %08x", one.mask);
        length += std::snprintf(text + length, sizeof text - length, " (the first is thread (%u, %u, %u))", one.index.x, one.index.y, one.index.z);
    }
    const bool divergent = in_barrier != 0 && in_barrier + ended_ == count_;
    fail("%s: of %u threads, %s", divergent ? "divergent barrier" : "deadlock", count_, text);
}

}  // namespace assay::emulation
