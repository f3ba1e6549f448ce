//! Ops on devices: for each op its work formula, its implementation, and the reference that judges it.
//!
//! An [op](ops) is something small that can be timed and checked alone: a triad, a GEMM, a softmax.
//! Each family of ops is one file in `ops/` and one line in [`ops::catalog`]. A [`device::Device`]
//! runs them; today that is the host's processor, driven by a [`device::Team`] of threads. This crate
//! knows nothing of the wire: it offers [`assay_protocol::Catalog`] entries and leaves serving them to
//! a worker loop. `unsafe` may live here, module by module, and in no other crate.

pub mod bound;
pub mod buffer;
mod check;
pub mod device;
pub mod element;
pub mod ops;
mod parameters;
mod simd;

pub use ops::catalog;
pub use simd::instruction_set;
