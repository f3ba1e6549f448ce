//! Arms: environments that a run interleaves, and the images that they run in.

use std::collections::BTreeMap;

use assay_protocol::{Digest, U64};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An environment in which cases run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name: `main`, or as given.
    pub name: String,
    /// What starts its workers.
    pub engine: Engine,
    /// The image that they run in; absent on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// SHA-256 of the built-in worker's executable; of no bytes for an image that has none.
    pub worker: Digest,
    /// Command put before every worker: `numactl`, `taskset`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<String>,
    /// Variables that determine the run, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The commit of the measured project that it stands for; absent: the project as it lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<ArmCommit>,
}

/// A commit that an arm stands for: `{dir}` means its files there, and its worker is built of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmCommit {
    /// The commit, in hexadecimal.
    pub commit: String,
    /// Command that builds it, run in the folder of its `assay.toml`; empty where nothing is built.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<String>,
    /// Where the build leaves the built-in worker, from the same folder; absent where it builds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// What starts an arm's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// This machine, without a container.
    Host,
    /// Podman, as root or not.
    Podman,
    /// Docker, through its daemon.
    Docker,
    /// Apptainer, which runs SIF files.
    Apptainer,
}

impl Engine {
    /// Its name, which is also that of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Apptainer => "apptainer",
        }
    }
}

/// A container image, by what it contains: no tag is in it, and no tag is looked up to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Name of the environment, as the lock file has it. It is part of the series' key; the digests are not.
    pub environment: String,
    /// The repository it came from, without tag and digest: `localhost/assay-worker-cpu`; of a SIF file, its name.
    pub reference: String,
    /// Operating system and architecture: `linux/amd64`.
    pub platform: String,
    /// What it is in a registry and in an engine's store; absent for a SIF file, which has none of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciDigests>,
    /// The one file it comes as; absent where an engine has it in its store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<ImageFile>,
    /// What its containers may use.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// The three names of an image's content; see the OCI image specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OciDigests {
    /// Of the index over all platforms, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Of this platform's manifest.
    pub manifest: Digest,
    /// Of its configuration, which names every layer by the digest of its uncompressed content.
    pub config: Digest,
}

/// An image as one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// What it is.
    pub format: ImageFormat,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// Files that images come as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// A tar file of an OCI image layout.
    OciArchive,
    /// A Singularity image file, as Apptainer runs it.
    Sif,
}

/// What a container may use; what is absent has the harness's usual bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory, in bytes; there is no swap beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<U64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
