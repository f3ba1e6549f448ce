//! NVIDIA GPUs through NVML, whose library is loaded at run time where there is one.
//!
//! A machine without the library, a driver that does not answer and a GPU that has fallen off the
//! bus are all ordinary here: each costs the fields it holds, never the program.

pub(crate) mod fields;
pub(crate) mod mig;
pub(crate) mod state;
mod users;

pub use users::users;

use std::path::Path;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::reading::{Gap, Reading};

/// The GPUs of this machine as far as NVML shows them.
#[derive(Debug)]
pub enum Gpus {
    /// NVML answers.
    Nvml(Box<Nvml>),
    /// It does not, for this reason.
    Absent(String),
}

/// Loads NVML from `library`, or from where the driver puts it. Never fails: what stood in the way
/// is in [`Gpus::Absent`].
pub fn open_nvml(library: Option<&Path>) -> Gpus {
    let mut builder = Nvml::builder();
    if let Some(path) = library {
        builder.lib_path(path.as_os_str());
    }
    match builder.init() {
        Ok(nvml) => Gpus::Nvml(Box::new(nvml)),
        Err(NvmlError::LibloadingError(error)) => {
            Gpus::Absent(format!("NVML could not be loaded: {error}"))
        }
        Err(error) => Gpus::Absent(format!("NVML does not start: {error}")),
    }
}

impl Gpus {
    /// NVML from the library that the environment variable `ASSAY_NVML` names, else the driver's.
    pub fn from_environment() -> Self {
        let library = std::env::var_os("ASSAY_NVML").filter(|path| !path.is_empty());
        open_nvml(library.as_deref().map(Path::new))
    }

    /// No GPUs, said to be so for this reason.
    pub fn none(reason: impl Into<String>) -> Self {
        Self::Absent(reason.into())
    }

    /// Every GPU by index, each alone: one that is lost is an error in its place.
    pub(crate) fn devices(&self) -> Vec<(u32, Reading<Device<'_>>)> {
        let Self::Nvml(nvml) = self else {
            return Vec::new();
        };
        let count = nvml.device_count().unwrap_or(0).min(1024);
        (0..count)
            .map(|index| (index, reading(nvml.device_by_index(index))))
            .collect()
    }
}

/// What NVML answered, as a value or one of the three gaps.
pub(crate) fn reading<T>(answer: Result<T, NvmlError>) -> Reading<T> {
    answer.map_err(|error| match error {
        // A driver older than the function lacks its symbol.
        NvmlError::NotSupported
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::FunctionNotFound => Gap::Unsupported,
        NvmlError::NoPermission => Gap::Denied,
        other => Gap::Error(other.to_string()),
    })
}
