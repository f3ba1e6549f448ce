// One thread walks along a cycle of lines, each of which says where the next one is.
#include "common/cuda.cuh"

using namespace assay;

// The beginning of a line: the next line's place in units of 8 bytes, and the line's number along the cycle of `count`.
// `position` is where the walk goes on, in the same form; `found` is how many of the `steps` loads found the right number.
__global__ void pointer_chase(u64* found, uint2* position, const uint2* lines, u32 count, u64 steps) {
    u32 number = position->y;
    u64 right = 0;
    uint2 line = make_uint2(position->x, 0);
    // What a load brought is looked at while the next is on its way: nothing but `x` waits for it.
    const auto look = [&] {
        right += line.y == number;
        number = number + 1 == count ? 0 : number + 1;
    };
    if (steps > 0) line = lines[line.x];
#pragma unroll 8
    for (u64 step = 1; step < steps; ++step) {
        const uint2 next = lines[line.x];
        look();
        line = next;
    }
    if (steps > 0) look();
    *position = make_uint2(line.x, number);
    *found = right;
}
