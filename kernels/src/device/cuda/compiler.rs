//! Compiles CUDA sources with NVRTC to cubins, which are kept in the user's cache folder.
//!
//! A cubin is found again by the digest of all that it depends on: source, headers, flags, kernels,
//! architecture and the compiler's version. The driver's own compiler has no part in it.
#![allow(unsafe_code)] // NVRTC's interface takes pointers

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use assay_protocol::{Digest, Failure};
use cudarc::nvrtc::{result as nvrtc, sys};
use serde::{Deserialize, Serialize};

use super::driver::Version;

/// Version of the files in the cache.
const CACHE_VERSION: u32 = 1;

/// What every source may include.
const HEADERS: &[(&str, &str)] = &[
    (
        "common/block.cuh",
        include_str!("../../../cuda/common/block.cuh"),
    ),
    (
        "common/cuda.cuh",
        include_str!("../../../cuda/common/cuda.cuh"),
    ),
    (
        "common/exact.cuh",
        include_str!("../../../cuda/common/exact.cuh"),
    ),
    (
        "common/half.cuh",
        include_str!("../../../cuda/common/half.cuh"),
    ),
    (
        "common/philox.cuh",
        include_str!("../../../cuda/common/philox.cuh"),
    ),
    (
        "common/tensor.cuh",
        include_str!("../../../cuda/common/tensor.cuh"),
    ),
    (
        "common/loader.cuh",
        include_str!("../../../cuda/common/loader.cuh"),
    ),
    (
        "common/tiles.cuh",
        include_str!("../../../cuda/common/tiles.cuh"),
    ),
    (
        "common/wgmma.cuh",
        include_str!("../../../cuda/common/wgmma.cuh"),
    ),
    ("ml/heads.cuh", include_str!("../../../cuda/ml/heads.cuh")),
    ("ml/rows.cuh", include_str!("../../../cuda/ml/rows.cuh")),
    (
        "ceiling/tensor.cu",
        include_str!("../../../cuda/ceiling/tensor.cu"),
    ),
];

/// Flags of every compilation, besides the architecture.
const FLAGS: &[&str] = &[
    "--std=c++17",
    "--device-as-default-execution-space",
    "--extra-device-vectorization",
];

/// A source with the kernels of it that are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// What the source is called in messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Kernels, as C++ names.
    pub kernels: &'a [String],
}

/// A compiled source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cubin {
    version: u32,
    /// Machine code, an ELF file.
    #[serde(skip)]
    pub image: Vec<u8>,
    /// The name in the image of each kernel.
    pub names: BTreeMap<String, String>,
    /// What the compiler had to say.
    pub log: String,
    /// SHA-256 of the image.
    pub digest: Digest,
}

/// Version of NVRTC, where there is one.
pub fn version() -> Result<Version, Failure> {
    static FOUND: OnceLock<Result<Version, Failure>> = OnceLock::new();
    FOUND.get_or_init(load).clone()
}

/// Loads NVRTC: from a toolkit's folder where the environment names one, else as the system finds it.
fn load() -> Result<Version, Failure> {
    super::super::libraries::preload("nvrtc");
    // SAFETY: it loads the library and looks for no symbol.
    if !unsafe { sys::is_culib_present() } {
        return Err(Failure::Skipped(
            "no NVRTC: install the CUDA toolkit (or the package nvidia-cuda-nvrtc), and name its folder in CUDA_HOME".into(),
        ));
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are valid for the call.
    let outcome = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    checked("version", outcome)?;
    Ok(Version(major as u32, minor as u32))
}

fn checked(what: &str, outcome: sys::nvrtcResult) -> Result<(), Failure> {
    outcome
        .result()
        .map_err(|error| Failure::Failed(format!("NVRTC: {what}: {:?}", error.0)))
}

/// The cubin of a source for an architecture (`90a`), from the cache where it is there.
pub fn cubin(unit: &Unit, architecture: &str) -> Result<Cubin, Failure> {
    let key = key(unit, architecture, version()?);
    let folder = cache_folder();
    if let Some(found) = folder.as_deref().and_then(|folder| read(folder, &key)) {
        return Ok(found);
    }
    let cubin = compile(unit, architecture)?;
    if let Some(folder) = folder {
        // A cache that cannot be written costs time, and nothing else.
        let _ = write(&folder, &key, &cubin);
    }
    Ok(cubin)
}

/// Digest of all that a cubin depends on.
fn key(unit: &Unit, architecture: &str, version: Version) -> Digest {
    let parts = (
        CACHE_VERSION,
        unit.text,
        HEADERS,
        FLAGS,
        unit.kernels,
        architecture,
        version.to_string(),
    );
    Digest::of(serde_json::to_vec(&parts).unwrap_or_default())
}

/// `assay/cubins` below the user's cache folder.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("assay/cubins"))
}

fn read(folder: &Path, key: &Digest) -> Option<Cubin> {
    let mut cubin: Cubin =
        serde_json::from_slice(&fs::read(folder.join(format!("{key}.json"))).ok()?).ok()?;
    cubin.image = fs::read(folder.join(format!("{key}.cubin"))).ok()?;
    (cubin.version == CACHE_VERSION && Digest::of(&cubin.image) == cubin.digest).then_some(cubin)
}

fn write(folder: &Path, key: &Digest, cubin: &Cubin) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let put = |suffix: &str, bytes: &[u8]| {
        let part = folder.join(format!("{key}.{}.part", std::process::id()));
        fs::write(&part, bytes)?;
        fs::rename(part, folder.join(format!("{key}.{suffix}")))
    };
    put("cubin", &cubin.image)?;
    put("json", &serde_json::to_vec(cubin)?)
}

/// A program of NVRTC's.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once.
        let _ = unsafe { nvrtc::destroy_program(self.0) };
    }
}

/// Compiles a source, without looking into the cache.
pub fn compile(unit: &Unit, architecture: &str) -> Result<Cubin, Failure> {
    version()?;
    let program = create(unit)?;
    let kernels = c_strings(unit.kernels)?;
    for kernel in &kernels {
        // SAFETY: program and text are alive.
        checked("kernel name", unsafe {
            sys::nvrtcAddNameExpression(program.0, kernel.as_ptr())
        })?;
    }
    let target = format!("--gpu-architecture=sm_{architecture}");
    let flags: Vec<&str> = FLAGS.iter().copied().chain([target.as_str()]).collect();
    // SAFETY: the program is alive.
    let outcome = unsafe { nvrtc::compile_program(program.0, &flags) };
    let log = log(&program);
    if let Err(error) = outcome {
        return Err(Failure::Failed(format!(
            "{} does not compile for sm_{architecture}: {:?}\n{log}",
            unit.name, error.0
        )));
    }
    let image = image(&program)?;
    let digest = Digest::of(&image);
    let names = unit
        .kernels
        .iter()
        .cloned()
        .zip(kernels.iter().map(|kernel| lowered(&program, kernel)));
    let names = names
        .map(|(kernel, name)| Ok((kernel, name?)))
        .collect::<Result<_, Failure>>()?;
    Ok(Cubin {
        version: CACHE_VERSION,
        image,
        names,
        log,
        digest,
    })
}

fn create(unit: &Unit) -> Result<Program, Failure> {
    let text = c_string(unit.text)?;
    let name = c_string(unit.name)?;
    let texts = HEADERS
        .iter()
        .map(|(_, text)| c_string(text))
        .collect::<Result<Vec<_>, _>>()?;
    let names = HEADERS
        .iter()
        .map(|(name, _)| c_string(name))
        .collect::<Result<Vec<_>, _>>()?;
    let pointers = |strings: &[CString]| {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .collect::<Vec<*const c_char>>()
    };
    let (text_pointers, name_pointers) = (pointers(&texts), pointers(&names));
    let mut program = std::ptr::null_mut();
    // SAFETY: all texts end with NUL and live through the call, which copies them; both lists have the given length.
    let outcome = unsafe {
        sys::nvrtcCreateProgram(
            &raw mut program,
            text.as_ptr(),
            name.as_ptr(),
            HEADERS.len() as i32,
            text_pointers.as_ptr(),
            name_pointers.as_ptr(),
        )
    };
    checked("program", outcome)?;
    Ok(Program(program))
}

fn log(program: &Program) -> String {
    // SAFETY: the program is alive.
    let bytes = unsafe { nvrtc::get_program_log(program.0) }.unwrap_or_default();
    let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).collect();
    String::from_utf8_lossy(&bytes)
        .trim_end_matches('\0')
        .trim()
        .to_owned()
}

fn image(program: &Program) -> Result<Vec<u8>, Failure> {
    let mut size = 0;
    // SAFETY: the program is alive and was compiled.
    checked("size of the cubin", unsafe {
        sys::nvrtcGetCUBINSize(program.0, &raw mut size)
    })?;
    let mut image = vec![0_u8; size];
    // SAFETY: as much room as NVRTC asked for.
    checked("cubin", unsafe {
        sys::nvrtcGetCUBIN(program.0, image.as_mut_ptr().cast())
    })?;
    Ok(image)
}

fn lowered(program: &Program, kernel: &CStr) -> Result<String, Failure> {
    let mut name = std::ptr::null();
    // SAFETY: the program is alive and was compiled with this name.
    checked("kernel name", unsafe {
        sys::nvrtcGetLoweredName(program.0, kernel.as_ptr(), &raw mut name)
    })?;
    // SAFETY: NVRTC gives a text that lives as long as the program.
    Ok(unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned())
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::Failed("a CUDA source holds a NUL character".into()))
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, Failure> {
    texts.iter().map(|text| c_string(text)).collect()
}
