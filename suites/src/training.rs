//! Training: models made of the ops of `assay-kernels`, with a hand-written loop around them.
//!
//! A [`model`] is one program; [`layers`] and what is made of them append to it, [`step`] adds clipping and the optimizer to a
//! [`network`], a [`session`] runs it, [`run`] is a training, [`plan`] what every one is asked for, [`room`] whether it can fit, and [`workload`]
//! what is timed and judged of it. [`reference`](mod@reference) is what results are compared with.
//!
//! | workload    | model                   | data                 |
//! |-------------|-------------------------|----------------------|
//! | `train-lm`  | [`decoder`]             | [`grammar`], [`corpus`] of [`tokens`] |
//! | `train-mlp` | [`perceptron`]          | [`rows`] of tables   |
//! | `train-vae` | [`autoencoder`]         | [`spectra`]          |
//! | `train-cnn` | [`convnet`]             | [`images`]           |
//!
//! All data come from seeded generators, or from files of the user's; how much of what is held out is trained on as well is said.
//!
//! All of it runs on the host and on a GPU, and may be shared by several processes, of GPUs each with its own ([`ranks`]); language models
//! may multiply numbers of 16 bits, be asked for their largest batch ([`batches`]) and write ([`writing`]).

pub mod autoencoder;
pub mod batches;
pub mod beside;
pub mod checkpoint;
pub mod convnet;
pub mod corpus;
mod cuts;
pub mod decoder;
pub mod draw;
pub mod evaluation;
pub mod examine;
mod gauge;
pub mod grammar;
pub mod images;
pub mod language;
#[cfg(test)]
mod launched;
pub mod layers;
mod leaks;
pub mod mixture;
pub mod model;
pub mod network;
pub mod origin;
pub mod perceptron;
pub mod plan;
pub mod ranks;
pub mod reference;
pub mod room;
pub mod rows;
pub mod run;
pub mod session;
pub mod setup;
#[cfg(test)]
mod signs;
pub mod spectra;
pub mod step;
pub mod tokens;
pub mod units;
pub mod workload;
pub mod writing;
