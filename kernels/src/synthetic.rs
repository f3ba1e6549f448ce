//! What synthetic data have on CUDA devices: bricks of programs whose results have the bits that the host's have.
//!
//! What is generated is the same whoever makes it, so a device may add nothing of its own: sums keep their order, nothing is fused, and
//! logarithms and exponentials are those of the host's library (`cuda/common/exact.cuh`).

pub mod closest;
pub mod spectra;
