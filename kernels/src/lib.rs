//! Ops on devices: for each op its work formula, its implementations, and the reference that judges it.
//!
//! An [op](ops) is something small that can be timed and checked alone: a triad, a GEMM, a softmax. Each
//! family of ops is one file in `ops/`, one CUDA source and one line in [`ops`]; it makes [programs](program),
//! which the frame runs on any [`device`]. This crate knows nothing of the wire: it offers
//! [`assay_protocol::Catalog`] entries and leaves serving them to a worker loop. `unsafe` may live here, module
//! by module, and in no other crate.

pub mod bound;
pub mod buffer;
mod check;
pub mod device;
pub mod element;
mod fill;
#[cfg(test)]
mod gradient;
pub mod lane;
pub mod math;
pub mod matrix;
pub mod ml;
pub mod normal;
pub mod ops;
pub mod parameters;
mod permutation;
pub mod program;
mod rows;
pub mod running;
mod simd;
mod store;
pub mod synthetic;
pub mod user;
mod word;

pub use ops::catalog;
pub use simd::instruction_set;
