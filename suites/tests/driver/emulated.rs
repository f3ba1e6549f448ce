//! The emulated driver with a plugin of every CUDA source, and the emulated cuFFT and NCCL, compiled by `c++` and kept in the target folder by
//! the digest of all that goes into each.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use assay_kernels::device::cuda::compiler;
use assay_kernels::ops;
use assay_protocol::Digest;

/// How all are compiled; the emulation's own tests compile with warnings.
const COMMON: &[&str] = &["-std=c++17", "-O2", "-w", "-fPIC", "-shared"];
const PLUGIN: &[&str] = &[
    "-fno-strict-aliasing",
    "-fno-gnu-unique",
    "-ffp-contract=off",
    "-DASSAY_EMULATION",
    "-DASSAY_EMULATION_PLUGIN",
];
const DRIVER: &[&str] = &["-fvisibility=hidden", "-Wl,-soname,libcuda.so.1"];
const CUFFT: &[&str] = &["-fvisibility=hidden", "-Wl,-soname,libcufft.so"];
const NCCL: &[&str] = &["-fvisibility=hidden", "-Wl,-soname,libnccl.so.2"];

/// Kernels as users write them.
pub const USER_SOURCE: &str = include_str!("user.cu");
const USER_KERNELS: &[&str] = &["axpy<float>", "half_axpy", "count_up", "idle", "wipe"];

/// A folder with `libcuda.so.1`, its plugins, `libcufft.so` and `libnccl.so.2`, made once. `None` where a tool is missing, which is said, or a failure
/// where `ASSAY_REQUIRE` names it.
pub fn driver() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| make(None)).as_deref()
}

/// A mistake in a source.
#[derive(Clone, Copy, Debug)]
pub struct Mistake {
    /// The source's path below `kernels/cuda`.
    pub path: &'static str,
    /// What stands there, once.
    pub from: &'static str,
    /// What is put in its place.
    pub to: &'static str,
}

/// The same as [`driver`], with a mistake in one of the sources.
pub fn mistaken(mistake: Mistake) -> Option<PathBuf> {
    make(Some(mistake))
}

/// `kernels/` in the source tree, from whichever crate has these tests.
fn kernels() -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("kernels/emulation").is_dir());
    root.unwrap().join("kernels")
}

fn missing(tool: &str, why: &str) {
    let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == tool), "{why}");
    println!("skipped: {why}");
}

fn make(mistake: Option<Mistake>) -> Option<PathBuf> {
    let Ok(version) = Command::new("c++").arg("--version").output() else {
        missing("c++", "no C++ compiler `c++`");
        return None;
    };
    if let Err(failure) = compiler::version() {
        missing("nvrtc", &failure.to_string());
        return None;
    }
    let common = Digest::of([version.stdout, contents()].concat());
    let libraries = [
        ("libcuda.so.1", "driver.cpp"),
        ("libcufft.so", "cufft.cpp"),
        ("libnccl.so.2", "nccl.cpp"),
    ];
    let include = |(name, file): (&str, &str)| (name.to_owned(), format!("#include \"{file}\"\n"));
    let mut jobs: Vec<_> = libraries.into_iter().map(include).collect();
    for (path, (source, kernels)) in ops::kernels() {
        if source.emulated {
            let text = match mistake.filter(|mistake| mistake.path == path) {
                Some(Mistake { from, to, .. }) => {
                    assert_eq!(source.text.matches(from).count(), 1, "{path}: {from}");
                    source.text.replace(from, to)
                }
                None => format!("#include \"{path}\"\n// {}\n", Digest::of(source.text)),
            };
            let text = plugin(&text, &kernels);
            jobs.push((format!("{}.so", path.replace('/', "_")), text));
        }
    }
    let user: Vec<_> = USER_KERNELS.iter().map(ToString::to_string).collect();
    jobs.push(("user.so".into(), plugin(USER_SOURCE, &user)));

    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver");
    let names: Vec<_> = jobs
        .iter()
        .map(|(name, text)| (name, built(&cache, common, name, text)))
        .collect();
    let all = Digest::of(format!("{names:?}"));
    let folder = cache.join(plain(all));
    fs::create_dir_all(&folder).unwrap();
    for (name, file) in names {
        link(&file, &folder.join(name));
        if name == "libcuda.so.1" {
            link(&file, &folder.join("libcuda.so"));
        }
    }
    Some(folder)
}

/// Everything that a plugin or the driver may include, but for the sources themselves.
fn contents() -> Vec<u8> {
    let mut all = vec![];
    for folder in ["emulation", "emulation/driver", "cuda/common"] {
        let mut files: Vec<_> = fs::read_dir(kernels().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.retain(|file| file.is_file());
        files.sort();
        all.extend(files.iter().flat_map(|file| fs::read(file).unwrap()));
    }
    all
}

/// A plugin's text: a source, and a table of its kernels.
fn plugin(source: &str, kernels: &[String]) -> String {
    let mut text = format!(
        "#include \"emulation.hpp\"\n{source}\nstatic const assay::emulation::Kernel kernels[] = {{\n"
    );
    for kernel in kernels {
        let _ = writeln!(text, "    ASSAY_KERNEL(\"{kernel}\", ({kernel})),");
    }
    text.push_str("};\nASSAY_EMULATION_MAIN(kernels)\n");
    text
}

/// The library of a text, compiled unless it is there.
/// Libraries that this process began to make.
static MADE: AtomicU32 = AtomicU32::new(0);

fn built(cache: &Path, common: Digest, name: &str, text: &str) -> PathBuf {
    let flags = match name {
        "libcuda.so.1" => DRIVER,
        "libcufft.so" => CUFFT,
        "libnccl.so.2" => NCCL,
        _ => PLUGIN,
    };
    let key = Digest::of(format!("{common}{COMMON:?}{flags:?}{text}"));
    let library = cache.join(format!("{}.so", plain(key)));
    if library.exists() {
        return library;
    }
    fs::create_dir_all(cache).unwrap();
    // Other processes, and other tests of this one, may be making the same.
    let turn = MADE.fetch_add(1, Ordering::Relaxed);
    let own = format!("{}-{turn}", std::process::id());
    let source = library.with_extension(format!("{own}.cpp"));
    let part = library.with_extension(format!("{own}.part"));
    fs::write(&source, text).unwrap();
    let output = Command::new("c++")
        .args(COMMON)
        .args(flags)
        .arg("-I")
        .arg(kernels().join("emulation"))
        .arg("-I")
        .arg(kernels().join("cuda"))
        .arg(&source)
        .arg("-o")
        .arg(&part)
        .args(["-ldl", "-lpthread"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{name}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::remove_file(&source).unwrap();
    fs::rename(&part, &library).unwrap();
    library
}

/// A digest without the colon that separates folders of a library path.
fn plain(digest: Digest) -> String {
    digest.to_string().replace(':', "-")
}

fn link(file: &Path, name: &Path) {
    if !name.exists() {
        // Another process may be making the same.
        let _ = std::os::unix::fs::symlink(file, name);
    }
    assert!(name.exists());
}
