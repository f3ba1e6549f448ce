//! NVIDIA GPUs, through the driver's own interface, which is loaded at run time where there is one.
//!
//! Three floors: [`driver`] owns what the driver lends (contexts, memory, events, graphs) and turns its
//! errors into [`Failure`]s; [`compiler`] makes cubins of our sources, and [`cubin`] reads what they say; [`CudaCase`] runs a program and times it,
//! [`CudaSession`] one that goes on from step to step.

mod case;
pub mod compiler;
pub mod cubin;
pub mod driver;
mod filler;
mod gate;
mod modules;
pub mod nccl;
mod session;
mod steps;
mod timing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use assay_protocol::case::Which;
use assay_protocol::{DeviceInfo, DeviceKind, Failure};

use crate::program::{BufferSpec, Launch, Source};

pub use case::{CudaCase, sm_clock};
pub use driver::{Cuda, DeviceMemory};
pub use modules::{Kernel, Modules, ReadyLaunch};
pub use session::{CudaSession, Launched, Ran};
pub use timing::{SM_CLOCK, event_resolution_ns};

/// Every GPU that the driver shows; none where there is no driver.
pub fn list() -> Vec<DeviceInfo> {
    let devices = driver::devices().unwrap_or_default();
    let info = |device: driver::Description| DeviceInfo {
        kind: DeviceKind::Cuda,
        index: device.index,
        name: device.name,
        uuid: Some(device.uuid),
    };
    devices.into_iter().map(info).collect()
}

/// Versions of what drives GPUs here, for `hello`: `driver`, `nvrtc`.
pub fn software() -> BTreeMap<String, String> {
    let mut software = BTreeMap::new();
    if let Ok(version) = driver::version() {
        software.insert("cuda_driver".into(), version.to_string());
    }
    if let Ok(version) = compiler::version() {
        software.insert("nvrtc".into(), version.to_string());
    }
    software
}

/// A device by its selector.
pub fn select(which: &Which) -> Result<driver::Description, Failure> {
    let mut devices = matching(which)?;
    Ok(devices.swap_remove(0))
}

/// As many devices by their selector, of one model: the first of those that are like the first of all.
pub fn select_alike(which: &Which, count: usize) -> Result<Vec<driver::Description>, Failure> {
    let mut devices = matching(which)?;
    let model = devices[0].name.clone();
    devices.retain(|device| device.name == model);
    if devices.len() < count {
        let found = devices.len();
        return Err(Failure::Skipped(format!(
            "{count} GPUs of one model are needed, and the case selects {found}: {model}"
        )));
    }
    devices.truncate(count);
    Ok(devices)
}

/// The devices of a selector, at least one.
fn matching(which: &Which) -> Result<Vec<driver::Description>, Failure> {
    let mut devices = driver::devices()?;
    let names: Vec<_> = devices.iter().map(|device| device.name.clone()).collect();
    devices.retain(|device| match which {
        Which::Any => true,
        Which::Index(index) => device.index == *index,
        Which::Model(model) => device.name.contains(model.as_str()),
    });
    if devices.is_empty() {
        return Err(Failure::Skipped(format!(
            "no such CUDA device; there are: {}",
            names.join(", ")
        )));
    }
    Ok(devices)
}

/// The kernels that the frame itself launches, by source.
pub fn kernels() -> [(&'static Source, Vec<String>); 2] {
    [filler::kernels(), gate::kernels()]
}

/// The launch that fills a buffer on a device, which is its only buffer; `None` for zeros and for what the host makes.
pub fn fill_launch(spec: &BufferSpec, seed: u64) -> Option<Launch> {
    filler::launch(spec, seed)
}

/// A call of a vendor's library as a step of a program.
pub trait LibraryCall {
    /// Makes handles, plans and workspace for buffers at these addresses, outside of any timed region. Gives facts for the
    /// record: the library's version, the algorithm that it chose.
    fn prepare(
        &mut self,
        cuda: &Cuda,
        addresses: &[u64],
    ) -> Result<BTreeMap<String, String>, Failure>;

    /// Enqueues one call on the device's stream. It must not wait for the device.
    fn enqueue(&mut self, cuda: &Cuda, addresses: &[u64]) -> Result<(), Failure>;

    /// Looks after what the call waits for besides the device, while a session waits for that. If it fails, the device waits for it
    /// no longer.
    fn watch(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

static LOST: AtomicBool = AtomicBool::new(false);

/// Whether the driver reported an error after which this process can use no device any more: whoever runs the worker
/// should end it, and start a fresh one.
pub fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

fn set_lost() {
    LOST.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use assay_protocol::Failure;
    use assay_protocol::case::Which;

    /// On a machine without a driver; with one, there is something to select.
    #[test]
    fn no_driver_is_said_and_no_panic() {
        match super::select(&Which::Any) {
            Err(Failure::Skipped(reason)) => assert!(super::list().is_empty(), "{reason}"),
            Err(failed) => panic!("{failed}"),
            Ok(device) => assert_eq!(super::list()[0].name, device.name),
        }
    }
}
