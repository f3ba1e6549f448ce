// Kernels that do nothing, or next to nothing: what is timed is their launch.
#include "common/cuda.cuh"

using namespace assay;

__global__ void launch_empty() {}

// Launches that follow one another on a stream leave their number.
__global__ void launch_count(u32* counter) { *counter += 1; }
