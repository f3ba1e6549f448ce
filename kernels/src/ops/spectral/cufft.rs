//! Transforms on CUDA devices by cuFFT, which is loaded at run time where there is one.
#![allow(unsafe_code)] // its interface takes handles and addresses

use std::collections::BTreeMap;
use std::ptr;

use assay_protocol::Failure;
use cudarc::cufft::sys::{self, cufftResult, cufftType, libraryPropertyType as Property};

use crate::device::cuda::{Cuda, DeviceMemory};
use crate::device::{LibraryCall, libraries};
use crate::element::DType;

/// What is transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Real numbers, into the first half of their spectrum: `n / 2 + 1` complex numbers.
    Real,
    /// Complex numbers, into as many.
    Complex,
}

/// A batch of forward transforms out of one buffer into another, as a step of a program.
pub struct Transforms {
    signal: Signal,
    dtype: DType,
    points: usize,
    batch: usize,
    from: usize,
    to: usize,
    plan: Option<Plan>,
}

impl Transforms {
    /// Transforms of numbers of a type, `f32` or `f64`: how many points each and how many one after the other, out of which
    /// buffer into which.
    pub fn new(
        signal: Signal,
        dtype: DType,
        [points, batch]: [usize; 2],
        [from, to]: [usize; 2],
    ) -> Self {
        Self {
            signal,
            dtype,
            points,
            batch,
            from,
            to,
            plan: None,
        }
    }

    fn kind(&self) -> cufftType {
        match (self.signal, self.dtype) {
            (Signal::Real, DType::F64) => cufftType::CUFFT_D2Z,
            (Signal::Real, _) => cufftType::CUFFT_R2C,
            (Signal::Complex, DType::F64) => cufftType::CUFFT_Z2Z,
            (Signal::Complex, _) => cufftType::CUFFT_C2C,
        }
    }
}

impl LibraryCall for Transforms {
    fn prepare(&mut self, cuda: &Cuda, _: &[u64]) -> Result<BTreeMap<String, String>, Failure> {
        let mut facts = BTreeMap::from([("cufft".into(), version()?)]);
        // The library has no transforms of nothing.
        if self.points > 0 && self.batch > 0 {
            let plan = Plan::new(cuda, self)?;
            facts.insert(
                "cufft workspace".into(),
                format!("{} B", plan.workspace.bytes()),
            );
            self.plan = Some(plan);
        }
        Ok(facts)
    }

    fn enqueue(&mut self, _: &Cuda, addresses: &[u64]) -> Result<(), Failure> {
        match &self.plan {
            Some(plan) => plan.enqueue(self.kind(), addresses[self.from], addresses[self.to]),
            None => Ok(()),
        }
    }
}

/// Version of the library, loaded where it was not.
pub fn version() -> Result<String, Failure> {
    libraries::preload("cufft");
    // SAFETY: it loads the library and looks for no symbol.
    if !unsafe { sys::is_culib_present() } {
        return Err(Failure::Skipped(
            "no cuFFT: install the CUDA toolkit (or the package nvidia-cufft), and name its folder in CUDA_HOME".into(),
        ));
    }
    let parts = [
        Property::MAJOR_VERSION,
        Property::MINOR_VERSION,
        Property::PATCH_LEVEL,
    ];
    let parts: Vec<String> = parts.into_iter().map(property).collect::<Result<_, _>>()?;
    Ok(parts.join("."))
}

fn property(which: Property) -> Result<String, Failure> {
    let mut value = 0;
    // SAFETY: the library is there, and the pointer is valid for the call.
    checked("version", unsafe {
        sys::cufftGetProperty(which, &raw mut value)
    })?;
    Ok(value.to_string())
}

/// What the library does not do, or has no room for, is skipped.
fn checked(what: &str, outcome: cufftResult) -> Result<(), Failure> {
    let text = || format!("cuFFT: {what}: {outcome:?}");
    match outcome {
        cufftResult::CUFFT_SUCCESS => Ok(()),
        cufftResult::CUFFT_ALLOC_FAILED
        | cufftResult::CUFFT_INVALID_SIZE
        | cufftResult::CUFFT_NOT_SUPPORTED => Err(Failure::Skipped(text())),
        _ => Err(Failure::Failed(text())),
    }
}

/// A handle of the library.
struct Handle(sys::cufftHandle);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made by `Plan::new`, destroyed once.
        let _ = unsafe { sys::cufftDestroy(self.0) };
    }
}

/// A plan on a device's stream, with the workspace that it asked for.
struct Plan {
    handle: Handle,
    // After what uses it: fields are dropped in this order.
    workspace: DeviceMemory,
}

impl Plan {
    fn new(cuda: &Cuda, transforms: &Transforms) -> Result<Self, Failure> {
        let mut handle = 0;
        // SAFETY: the pointer is valid for the call.
        checked("start", unsafe { sys::cufftCreate(&raw mut handle) })?;
        let handle = Handle(handle);
        // SAFETY: the handle is alive.
        checked("settings", unsafe {
            sys::cufftSetAutoAllocation(handle.0, 0)
        })?;
        let mut points = transforms.points as i64;
        let mut bytes = 0;
        // SAFETY: the handle is alive, and the pointers are valid for the call; without layouts, one transform follows the
        // other in both buffers.
        let planned = unsafe {
            sys::cufftMakePlanMany64(
                handle.0,
                1,
                &raw mut points,
                ptr::null_mut(),
                1,
                0,
                ptr::null_mut(),
                1,
                0,
                transforms.kind(),
                transforms.batch as i64,
                &raw mut bytes,
            )
        };
        checked(&format!("{} by {points} points", transforms.batch), planned)?;
        cuda.ensure_fits(bytes as u64)?;
        let workspace = DeviceMemory::new(bytes)?;
        let address = ptr::without_provenance_mut(workspace.address() as usize);
        // SAFETY: the handle is alive, the workspace as large as it asked for, and both live as long as the plan.
        checked("workspace", unsafe {
            sys::cufftSetWorkArea(handle.0, address)
        })?;
        // SAFETY: handle and stream are alive.
        checked("stream", unsafe {
            sys::cufftSetStream(handle.0, cuda.stream().raw().cast())
        })?;
        Ok(Self { handle, workspace })
    }

    fn enqueue(&self, kind: cufftType, from: u64, to: u64) -> Result<(), Failure> {
        const FORWARD: i32 = -1;
        let plan = self.handle.0;
        let (from, to) = (from as usize, to as usize);
        // SAFETY: the plan is alive, and the buffers are on the device and as large as it was made for.
        let outcome = unsafe {
            match kind {
                cufftType::CUFFT_R2C => sys::cufftExecR2C(plan, pointer(from), pointer(to)),
                cufftType::CUFFT_D2Z => sys::cufftExecD2Z(plan, pointer(from), pointer(to)),
                cufftType::CUFFT_Z2Z => {
                    sys::cufftExecZ2Z(plan, pointer(from), pointer(to), FORWARD)
                }
                _ => sys::cufftExecC2C(plan, pointer(from), pointer(to), FORWARD),
            }
        };
        checked("transforms", outcome)
    }
}

/// An address on the device.
fn pointer<T>(address: usize) -> *mut T {
    ptr::without_provenance_mut(address)
}

#[cfg(test)]
mod tests {
    use assay_protocol::Failure;

    /// The library tells its version without a device.
    #[test]
    fn the_version_is_told_or_its_absence() {
        match super::version() {
            Ok(version) => assert!(
                version.split('.').all(|part| part.parse::<u32>().is_ok()),
                "{version}"
            ),
            Err(Failure::Skipped(reason)) => {
                let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
                assert!(!required.split(',').any(|name| name == "cufft"), "{reason}");
                println!("skipped: {reason}");
            }
            Err(failure) => panic!("{failure}"),
        }
    }
}
