//! Programs of `kernels/emulation`, compiled here and kept in the target folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use assay_protocol::Digest;

/// How a program of kernels is compiled: sanitizers and all warnings.
pub const KERNELS: &[&str] = &[
    "-O1",
    "-g1",
    "-fsanitize=address,undefined",
    "-DASSAY_EMULATION",
];
/// How a program that watches for races is: that its accesses are reported, but not linked to who else would answer.
const WATCHED: &[&str] = &["-O1", "-g1", "-fsanitize=thread", "-DASSAY_EMULATION", "-c"];
/// How a plugin of the emulated driver is.
pub const PLUGIN: &[&str] = &[
    "-O2",
    "-fno-strict-aliasing",
    "-fPIC",
    "-shared",
    "-fno-gnu-unique",
    "-DASSAY_EMULATION",
    "-DASSAY_EMULATION_PLUGIN",
];
/// How the emulated driver is.
pub const DRIVER: &[&str] = &[
    "-O2",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-Wl,-soname,libcuda.so.1",
];
/// Those that need only work.
pub const PLAIN: &[&str] = &["-O1"];

const COMMON: &[&str] = &[
    "-std=c++17",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
];

/// `kernels/` in the source tree.
pub fn kernels_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says that a test is skipped for want of a tool, or fails if `ASSAY_REQUIRE` names the tool.
pub fn missing(tool: &str, why: &str) {
    let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == tool), "{why}");
    println!("skipped: {why}");
}

/// Compiles sources below `kernels/emulation` to a file of this name, unless that was done before with the same content
/// of everything there. `None`, with the reason printed, where there is no compiler and none is required.
pub fn compiled(name: &str, flags: &[&str], sources: &[&str]) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let version = Command::new("c++").arg("--version").output();
    let Ok(version) = version else {
        missing("c++", "no C++ compiler `c++`");
        return None;
    };
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut inputs = vec![format!("{flags:?}{sources:?}").into_bytes(), version.stdout];
    for folder in [
        "emulation",
        "emulation/driver",
        "emulation/tests",
        "cuda/common",
    ] {
        read_all(&kernels_folder().join(folder), &mut inputs);
    }
    let key = Digest::of_parts(inputs.iter().map(Vec::as_slice));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("emulation_self/{key}"));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    if !file.exists() {
        let unfinished = folder.join(format!("{name}.{}", std::process::id()));
        compile(&unfinished, flags, sources);
        fs::rename(&unfinished, &file).unwrap();
    }
    Some(file)
}

fn read_all(folder: &Path, inputs: &mut Vec<Vec<u8>>) {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    inputs.extend(files.iter().map(|file| fs::read(file).unwrap()));
}

fn compile(to: &Path, flags: &[&str], sources: &[&str]) {
    let emulation = kernels_folder().join("emulation");
    let output = Command::new("c++")
        .args(COMMON)
        .args(flags)
        .arg("-I")
        .arg(&emulation)
        .arg("-I")
        .arg(kernels_folder().join("cuda"))
        .arg("-o")
        .arg(to)
        .args(sources.iter().map(|source| emulation.join(source)))
        .args(["-ldl", "-lpthread"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sources:?}:\n{errors}");
}

/// A program of kernels, with the part that reads jobs.
pub fn serving(test: &str) -> Option<PathBuf> {
    compiled(test, KERNELS, &[&format!("tests/{test}.cpp"), "serve.cpp"])
}

/// The same program, watching for races.
pub fn watching(test: &str) -> Option<PathBuf> {
    let object = compiled(
        &format!("{test}.o"),
        WATCHED,
        &[&format!("tests/{test}.cpp")],
    )?;
    compiled(
        &format!("{test}.watching"),
        PLAIN,
        &[object.to_str()?, "serve.cpp"],
    )
}

/// Runs a program on some input.
pub fn run(program: &Path, variables: &[(&str, &str)], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Whoever dies in the middle of a job reads no further.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}
