//! The formats on disk: [manifest], [fingerprint] and [record](body), and how they are hashed.
//!
//! A manifest determines a run before it starts; a record is what the run wrote, and is the truth:
//! the database is an index over records and can be rebuilt from them. Every format carries a
//! version, refuses unknown fields and refuses a newer version in words. This crate reads and
//! writes these files; it probes no machine and starts no process.

pub mod body;
pub mod canonical;
pub mod case_list;
pub mod chain;
pub mod digest;
pub mod error;
pub mod fingerprint;
pub mod manifest;
pub mod reader;
pub mod recent;
pub mod run_id;
mod sealed;
pub mod shared;
pub mod time;
pub mod validate;
pub mod whole;
pub mod writer;

pub use body::{
    Block, BlockStatus, Body, Event, EventKind, Footer, Header, Purpose, RunStatus, Samples,
};
pub use case_list::{CaseList, CaseLists};
pub use digest::digest_of;
pub use error::RecordError;
pub use fingerprint::{Field, Fingerprint, MachineIdentity, Scalar, Section};
pub use manifest::{
    Arm, ArmCommit, Case, Engine, Expect, Image, ImageFile, ImageFormat, Limits, Manifest,
    ManifestFile, OciDigests, Origin, Policy, Project, Source, WorkloadRef,
};
pub use reader::Record;
pub use recent::Recent;
pub use run_id::RunId;
pub use shared::Shared;
pub use time::{Day, Timestamp};
pub use writer::RecordWriter;
