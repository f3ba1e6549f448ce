//! Podman, as root or not: no daemon, and GPUs by CDI.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use assay_record::{Arm, Image};

use super::client::Client;
use super::{DIR, Engine, Needs, Ran, Sandbox, Start, cdi, host, oci};
use crate::errors::CouldNotRun;
use crate::settings::Settings;

/// Its program.
pub const CLIENT: Client = Client {
    program: "podman",
    remedy: "install it (`apt-get install podman`), name another engine as `engine` in assay.toml, or run on the host, without --env or by `reproduce --on-host`",
    // Only where it is told to ask another machine, or its own service, does it need one.
    daemon: (
        &["Cannot connect to Podman", "unable to connect to Podman"],
        "start the service that CONTAINER_HOST names (`systemctl start podman.socket`), or take that variable away: podman needs none here",
    ),
};

/// Options of `run` that are podman's own: nothing but /tmp can be written, and no proxy of this machine is told of.
const OWN: [&str; 4] = [
    "--image-volume=ignore",
    "--read-only-tmpfs=false",
    "--http-proxy=false",
    "--no-hosts",
];

/// Containers of one image.
#[derive(Debug)]
pub struct Podman {
    sandbox: Sandbox,
    version: String,
    host: host::Host,
}

impl Podman {
    /// With an image that is here.
    pub fn ready(arm: &Arm, image: &Image, settings: &Settings, needs: &Needs) -> Result<Self> {
        let version = version()?;
        let subject = oci::find(&CLIENT, image, settings)?;
        let gpus = gpus(needs, Path::new("/"))?;
        let image_env = oci::image_env(&CLIENT, &subject)?;
        Ok(Self {
            sandbox: Sandbox {
                image_env,
                ..Sandbox::new(arm, image, subject, needs, gpus)?
            },
            version,
            host: host::Host::new()?,
        })
    }
}

/// Its version. That it answers is the first thing to know.
pub fn version() -> Result<String> {
    let words = ["version", "--format", "{{.Client.Version}}"].map(OsStr::new);
    let version = CLIENT.act(&words)?;
    Ok(String::from_utf8_lossy(&version).trim().to_owned())
}

/// Options that give GPUs to a container, on a machine seen from `root`.
fn gpus(needs: &Needs, root: &Path) -> Result<Vec<String>> {
    if !needs.gpus || !cdi::has_driver(root) {
        return Ok(Vec::new());
    }
    if cdi::has_gpus(root) {
        return Ok(vec![format!("--device={}", cdi::ALL_GPUS)]);
    }
    Err(CouldNotRun(
        "podman gives GPUs to containers by CDI, and no file in /etc/cdi names nvidia.com/gpu: install nvidia-container-toolkit, then \
         `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
            .into(),
    )
    .into())
}

impl Engine for Podman {
    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let argv = oci::run(&self.sandbox, start, &OWN)?;
        Ok(self.host.guarded(CLIENT.program, argv))
    }

    fn inside(&self, _dir: &Path) -> PathBuf {
        DIR.into()
    }

    fn removal(&self, name: &str) -> Option<Vec<OsString>> {
        let words = [
            CLIENT.program,
            "rm",
            "--force",
            "--volumes",
            "--ignore",
            "--time",
            "0",
            name,
        ];
        Some(words.map(OsString::from).to_vec())
    }

    fn inspect(&self, name: &str) -> Result<Option<Ran>> {
        oci::inspect(&CLIENT, &self.sandbox, name, &self.version).map(Some)
    }

    fn last_words(&self, name: &str, is_oom: bool) -> Option<String> {
        oci::last_words(&CLIENT, name, is_oom)
    }
}

#[cfg(test)]
mod tests {
    use super::gpus;
    use crate::engines::Needs;

    #[test]
    fn gpus_come_by_cdi_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let needs = Needs {
            gpus: true,
            ..Needs::default()
        };
        // Without a driver, cases on GPUs are skipped inside, as on the host.
        assert_eq!(gpus(&needs, root.path()).unwrap(), Vec::<String>::new());
        for (file, text) in [
            ("dev/nvidiactl", ""),
            ("etc/cdi/n.yaml", "kind: nvidia.com/gpu"),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if file.starts_with("etc") {
                let error = gpus(&needs, root.path()).unwrap_err().to_string();
                assert!(error.contains("nvidia-ctk cdi generate"), "{error}");
            }
            std::fs::write(path, text).unwrap();
        }
        let given = gpus(&needs, root.path()).unwrap();
        assert_eq!(given, ["--device=nvidia.com/gpu=all"]);
        assert!(gpus(&Needs::default(), root.path()).unwrap().is_empty());
    }
}
