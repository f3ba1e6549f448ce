//! A made-up NVML that is compiled when a test needs it; tests of the command use this file too.

#![allow(dead_code)] // each of the two uses a part

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A compiled fake and the file that steers it.
pub struct Fake {
    folder: TempDir,
}

impl Fake {
    /// `None`, with the reason printed, where there is no C compiler and none is required.
    pub fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let fake = Self { folder };
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../machine/tests/fake_nvml.c");
        let control = format!("-DCONTROL=\"{}\"", fake.control().display());
        let output = Command::new(&compiler)
            .args([
                "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", &control, "-o",
            ])
            .arg(fake.library())
            .arg(source)
            .output();
        match output {
            Ok(output) => {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(
                    output.status.success(),
                    "fake_nvml.c does not compile:\n{errors}"
                );
                Some(fake)
            }
            Err(error) => {
                let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
                assert!(
                    !required.split([',', ' ']).any(|word| word == "cc"),
                    "no C compiler `{compiler}`: {error}"
                );
                eprintln!("skipped: no C compiler `{compiler}`: {error}");
                None
            }
        }
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// The library, as `ASSAY_NVML` names it.
    pub fn library(&self) -> PathBuf {
        self.folder.path().join("libnvidia-ml.so.1")
    }

    /// What was called that changes a setting, a line for each call.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("control.log")).unwrap_or_default()
    }

    /// Lines that change what the fake answers from now on.
    pub fn say(&self, lines: &str) {
        // In one step: the fake reads the file at any moment.
        let new = self.folder.path().join("control.new");
        std::fs::write(&new, lines).unwrap();
        std::fs::rename(&new, self.control()).unwrap();
    }
}
