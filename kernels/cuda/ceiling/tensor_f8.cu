// The chains of `ceiling/tensor.cu` for operands of 8-bit floating point, which only later architectures multiply.
#include "ceiling/tensor.cu"
