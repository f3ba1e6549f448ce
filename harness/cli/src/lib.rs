//! The `assay` command as a library: suites become manifests ([plan]), manifests become records
//! ([execute]), and each subcommand is one file under [commands].
//!
//! `run` is plan, then execute; `reproduce` is load, then the same execute: what can be run can be
//! reproduced. Everything measured runs in a worker process; this process loads no kernel.

pub mod bundle;
mod chart;
pub mod checkout;
pub mod clocks;
pub mod commands;
pub mod confirming;
pub mod database;
pub mod engines;
pub mod environments;
pub mod errors;
pub mod execute;
pub mod gating;
mod history;
pub mod import;
pub mod interrupt;
pub mod marks;
pub mod output;
pub mod plan;
pub mod reproduction;
pub mod settings;
pub mod show;
pub mod sides;
pub mod site;
pub mod suite;
pub mod workers;
