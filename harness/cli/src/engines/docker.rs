//! Docker, through its daemon: GPUs by CDI where the daemon has it switched on, else by `--gpus`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use assay_record::{Arm, Image};
use serde_json::Value;

use super::client::Client;
use super::{DIR, Engine, Needs, Ran, Sandbox, Start, cdi, host, oci};
use crate::errors::CouldNotRun;
use crate::settings::Settings;

/// Its program.
pub const CLIENT: Client = Client {
    program: "docker",
    remedy: "install it, name another engine as `engine` in assay.toml, or run on the host, without --env or by `reproduce --on-host`",
    daemon: (
        &[
            "Cannot connect to the Docker daemon",
            "Is the docker daemon running",
            "failed to connect to the docker API",
            "permission denied while trying to connect",
        ],
        "start its daemon (`systemctl start docker`), become a member of the group `docker`, or name the daemon in DOCKER_HOST",
    ),
};

/// Containers of one image.
#[derive(Debug)]
pub struct Docker {
    sandbox: Sandbox,
    version: String,
    /// Who starts workers, so that what they write to the cache is this user's and not root's.
    user: String,
    host: host::Host,
}

impl Docker {
    /// With an image that is here.
    pub fn ready(arm: &Arm, image: &Image, settings: &Settings, needs: &Needs) -> Result<Self> {
        let version = version()?;
        let subject = oci::find(&CLIENT, image, settings)?;
        let gpus = gpus(needs)?;
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        let image_env = oci::image_env(&CLIENT, &subject)?;
        Ok(Self {
            sandbox: Sandbox {
                image_env,
                ..Sandbox::new(arm, image, subject, needs, gpus)?
            },
            version,
            user: format!("--user={}:{}", uid.as_raw(), gid.as_raw()),
            host: host::Host::new()?,
        })
    }
}

/// The version of its daemon. That it answers is the first thing to know.
pub fn version() -> Result<String> {
    let words = ["version", "--format", "{{.Server.Version}}"].map(OsStr::new);
    let version = CLIENT.act(&words)?;
    Ok(String::from_utf8_lossy(&version).trim().to_owned())
}

fn gpus(needs: &Needs) -> Result<Vec<String>> {
    if !needs.gpus || !cdi::has_driver(Path::new("/")) {
        return Ok(Vec::new());
    }
    let words = ["info", "--format", "{{json .}}"].map(OsStr::new);
    let info = CLIENT.inspect(&words)?.unwrap_or_default();
    gpu_options(&info, cdi::has_gpus(Path::new("/")))
}

/// By CDI where daemon and machine know it, else by NVIDIA's runtime.
fn gpu_options(info: &Value, has_cdi_files: bool) -> Result<Vec<String>> {
    let folders = info.get("CDISpecDirs").and_then(Value::as_array);
    if has_cdi_files && folders.is_some_and(|folders| !folders.is_empty()) {
        return Ok(vec![format!("--device={}", cdi::ALL_GPUS)]);
    }
    if info.pointer("/Runtimes/nvidia").is_some() {
        return Ok(vec!["--gpus=all".into()]);
    }
    Err(CouldNotRun(
        "docker has no way to give GPUs to containers: install nvidia-container-toolkit, then `nvidia-ctk runtime configure \
         --runtime=docker` and start the daemon again; or `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`, where the daemon knows CDI"
            .into(),
    )
    .into())
}

impl Engine for Docker {
    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let argv = oci::run(&self.sandbox, start, &[&self.user])?;
        Ok(self.host.guarded(CLIENT.program, argv))
    }

    fn inside(&self, _dir: &Path) -> PathBuf {
        DIR.into()
    }

    fn removal(&self, name: &str) -> Option<Vec<OsString>> {
        Some(
            [CLIENT.program, "rm", "--force", "--volumes", name]
                .map(OsString::from)
                .to_vec(),
        )
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
    use serde_json::json;

    use super::gpu_options;

    #[test]
    fn gpus_come_by_what_the_daemon_knows() {
        let cdi = json!({"CDISpecDirs": ["/etc/cdi"], "Runtimes": {"runc": {}}});
        assert_eq!(
            gpu_options(&cdi, true).unwrap(),
            ["--device=nvidia.com/gpu=all"]
        );
        let runtime = json!({"CDISpecDirs": [], "Runtimes": {"nvidia": {}}});
        assert_eq!(gpu_options(&runtime, true).unwrap(), ["--gpus=all"]);
        for (info, has_files) in [(&cdi, false), (&json!({}), true)] {
            let error = gpu_options(info, has_files).unwrap_err().to_string();
            assert!(error.contains("nvidia-container-toolkit"), "{error}");
        }
    }
}
