//! What a device can do at most: the bandwidth of each level of its memory, and the arithmetic of each of its units.
//!
//! Their figures are ceilings that those of other ops are held against: what is beyond them was not computed, or not from
//! where it was said to come. So they do nothing but read, or multiply and add, and their results are
//! whole numbers that are known exactly.

mod arithmetic;
mod bandwidth;
mod tensor;

pub use arithmetic::PeakArithmetic;
pub use bandwidth::PeakBandwidth;
pub use tensor::PeakTensor;
