//! Who the built-in worker is.

use std::collections::BTreeMap;

use assay_kernels::device::{self, cuda, host};
use assay_protocol::{Hello, PROTOCOL_VERSION};

use crate::catalog::catalog;
use crate::spin;

/// What the built-in worker answers to `hello`.
pub fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        worker: "assay-worker".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        devices: device::list(),
        software: software(),
        workloads: catalog().iter().map(|entry| entry.info()).collect(),
    }
}

fn software() -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let kernel = format!(
        "{} {}",
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy()
    );
    let mut software = BTreeMap::from([
        ("kernel".into(), kernel),
        ("libc".into(), host::libc_version()),
        ("rustc".into(), env!("ASSAY_RUSTC_VERSION").into()),
        ("simd".into(), assay_kernels::instruction_set().into()),
    ]);
    software.extend(cuda::software());
    if let Some(injected) = spin::injected() {
        software.insert("fault_injection".into(), injected);
    }
    software
}
