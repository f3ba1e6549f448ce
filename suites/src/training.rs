//! Training: models made of the ops of `assay-kernels`, with a hand-written loop around them.
//!
//! A [`model`] is one program; [`layers`] and the [`decoder`] append to it, [`step`] adds clipping and the optimizer, a [`session`] runs it, and
//! [`run`] is a whole training with its judge. [`grammar`] and [`corpus`] are what is learned, [`reference`](mod@reference) is what the
//! results are compared with. [`workload`] offers it to suites.
//!
//! There are language models, dense or of experts, trained whole or by adapters, in `f32`, on the host. Not there yet: CUDA devices (the
//! programs have their launches, and nobody runs them), `bf16` and `f16`, several processes, Sophia-G, autoencoders, image classifiers,
//! models of tables, activation checkpointing, and a finder of batch sizes.

pub mod checkpoint;
pub mod corpus;
pub mod decoder;
pub mod grammar;
pub mod layers;
pub mod mixture;
pub mod model;
pub mod reference;
pub mod run;
pub mod session;
pub mod setup;
pub mod step;
pub mod workload;
