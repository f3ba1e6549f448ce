//! Programs compiled from CUDA sources, kept by the digest of everything that went into them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use assay_kernels::ops;
use assay_protocol::Digest;

use super::mutants::Mutant;

const FLAGS: &[&str] = &[
    "-std=c++17",
    // Optimising a kernel takes longer than it then runs; what runs it is optimised (`machine.cpp`).
    "-O0",
    "-g1",
    "-w", // pragmas of CUDA's; the real compiler's warnings are read in `nvrtc.rs`
    "-fno-omit-frame-pointer",
    "-ffp-contract=off",
    "-DASSAY_EMULATION",
    "-DASSAY_EMULATION_APART",
];
/// How the parts are that all programs have in common.
const COMMON_FLAGS: &[&str] = &[
    "-std=c++17",
    "-O2",
    "-g1",
    "-fno-omit-frame-pointer",
    "-DASSAY_EMULATION",
    "-DASSAY_EMULATION_APART",
];

/// What a program watches for beside what the emulation always notices.
#[derive(Clone, Copy, Debug)]
pub enum Watch {
    /// Nothing. A mistake that changes results is seen by them, and such a program is compiled in a third of the time.
    Nothing,
    /// Accesses outside of memory, and undefined behaviour.
    Memory,
    /// Data races. Only accesses are reported by the compiled code, so it is linked without the option.
    Races,
}

impl Watch {
    fn compiling(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::Memory => &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
            Self::Races => &["-fsanitize=thread"],
        }
    }

    /// What the machine of such a program is told.
    fn machine(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::Memory => &["-DASSAY_ADDRESS_SANITIZER"],
            Self::Races => &["-DASSAY_WATCHES_RACES"],
        }
    }

    fn linking(self) -> &'static [&'static str] {
        match self {
            Self::Memory => self.compiling(),
            Self::Nothing | Self::Races => &[],
        }
    }
}

/// Names of kernels by the paths of their sources.
pub type Kernels = BTreeMap<&'static str, BTreeSet<String>>;

/// A program that serves jobs.
pub struct Compiled {
    /// Where it is.
    pub program: PathBuf,
}

fn kernels_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn emulation_folder() -> PathBuf {
    kernels_folder().join("emulation")
}

/// Where compiled programs are kept.
fn programs_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulation")
}

/// Whether there is a C++ compiler; where there is none, says so, or fails if `ASSAY_REQUIRE` names it.
pub fn has_compiler() -> bool {
    let found = Command::new("c++")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|name| name == "c++"),
            "no C++ compiler"
        );
        println!("skipped: no C++ compiler");
    }
    found
}

impl Compiled {
    /// With all kernels that ops launch of some sources.
    pub fn of_ops(paths: &[&str], watch: Watch) -> Result<Self, String> {
        let all = ops::kernels();
        let of = |path: &&str| (all[path].0.path, all[path].1.iter().cloned().collect());
        Self::with(&paths.iter().map(of).collect(), watch)
    }

    /// With some kernels.
    pub fn with(kernels: &Kernels, watch: Watch) -> Result<Self, String> {
        Self::new(kernels, &kernels_folder().join("cuda"), watch)
    }

    /// The same, where a source or header was changed.
    pub fn of_mutant(kernels: &Kernels, mutant: &Mutant, watch: Watch) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("mutants/{}", Digest::of(mutant.what)));
        copy_tree(&kernels_folder().join("cuda"), &folder).map_err(|error| error.to_string())?;
        let path = folder.join(mutant.path);
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if text.matches(mutant.from).count() != 1 {
            return Err(format!("`{}` is not there just once", mutant.from));
        }
        fs::write(&path, text.replace(mutant.from, mutant.to))
            .map_err(|error| error.to_string())?;
        Self::new(kernels, &folder, watch)
    }

    fn new(kernels: &Kernels, cuda: &Path, watch: Watch) -> Result<Self, String> {
        let main = main_program(kernels);
        let key = key(&format!("{watch:?} {main}"), &[cuda, &emulation_folder()]);
        let folder = programs_folder();
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let program = folder.join(format!("{key}"));
        // Tests that need the same wait for the first of them.
        let lock = lock(key);
        let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !program.exists() {
            let source = folder.join(format!("{key}.cpp"));
            fs::write(&source, main).map_err(|error| error.to_string())?;
            compile(&source, &program, cuda, watch)?;
        }
        Ok(Self { program })
    }
}

/// What is held while the program of a key is compiled.
fn lock(key: Digest) -> Arc<Mutex<()>> {
    static LOCKS: Mutex<BTreeMap<Digest, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    locks.entry(key).or_default().clone()
}

/// The program's text: the sources, and a table of their kernels.
fn main_program(kernels: &Kernels) -> String {
    let mut text = "#include \"emulation.hpp\"\n".to_owned();
    for path in kernels.keys() {
        let _ = writeln!(text, "#include \"{path}\"");
    }
    text.push_str("static const assay::emulation::Kernel kernels[] = {\n");
    for kernel in kernels.values().flatten() {
        let _ = writeln!(text, "    ASSAY_KERNEL(\"{kernel}\", ({kernel})),");
    }
    text.push_str("};\nint main() { return assay::emulation::serve(kernels, sizeof kernels / sizeof *kernels); }\n");
    text
}

/// Digest of everything that goes in: the text, the flags, the compiler, and all files of these folders.
fn key(main: &str, folders: &[&Path]) -> Digest {
    let mut all = format!("{main}\n{FLAGS:?}\n{}\n", compiler_version()).into_bytes();
    for folder in folders {
        for file in files(folder) {
            all.extend(fs::read(&file).expect("a source"));
        }
    }
    Digest::of(all)
}

/// What the compiler calls itself.
fn compiler_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let output = Command::new("c++").arg("--version").output();
        String::from_utf8_lossy(&output.expect("a C++ compiler").stdout).into_owned()
    })
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("a file of the folder"));
        fs::create_dir_all(target.parent().expect("a folder"))?;
        fs::copy(file, target)?;
    }
    Ok(())
}

fn compile(source: &Path, program: &Path, cuda: &Path, watch: Watch) -> Result<(), String> {
    // Renamed into place: another process may be compiling the same.
    let part = program.with_extension(format!("{}.part", std::process::id()));
    let object = part.with_extension("o");
    let includes = [parsed_headers(watch)?, cuda, &emulation_folder()].map(|folder| {
        let mut include = OsString::from("-I");
        include.push(folder);
        include
    });
    run_compiler(
        Command::new("c++")
            .args(FLAGS)
            .args(watch.compiling())
            .args(includes)
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(&object),
    )?;
    run_compiler(
        Command::new("c++")
            .args(watch.linking())
            .args(common_parts(watch)?)
            .arg(&object)
            .arg("-o")
            .arg(&part),
    )?;
    fs::remove_file(&object)
        .and_then(|()| fs::rename(part, program))
        .map_err(|error| error.to_string())
}

/// The folder of the emulation's header as GCC keeps it once it has parsed it, for programs that watch for the same; other
/// compilers read the text. That saves half of the time that a small program takes.
fn parsed_headers(watch: Watch) -> Result<&'static Path, String> {
    static FOLDERS: [OnceLock<Result<PathBuf, String>>; 3] = [const { OnceLock::new() }; 3];
    let folder = FOLDERS[watch as usize].get_or_init(|| {
        let key = key(&format!("{watch:?}"), &[&emulation_folder()]);
        let folder = programs_folder().join(format!("{key}.headers"));
        let parsed = folder.join("emulation.hpp.gch");
        if !parsed.exists() {
            fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            let part = folder.join(format!("{}.part", std::process::id()));
            run_compiler(
                Command::new("c++")
                    .args(FLAGS)
                    .args(watch.compiling())
                    .args(["-x", "c++-header"])
                    .arg(emulation_folder().join("emulation.hpp"))
                    .arg("-o")
                    .arg(&part),
            )?;
            fs::rename(part, parsed).map_err(|error| error.to_string())?;
        }
        Ok(folder)
    });
    folder.as_deref().map_err(Clone::clone)
}

/// The parts of every program that run kernels and read jobs, each compiled once.
fn common_parts(watch: Watch) -> Result<&'static [PathBuf], String> {
    static PARTS: [OnceLock<Result<Vec<PathBuf>, String>>; 3] = [const { OnceLock::new() }; 3];
    let parts = PARTS[watch as usize].get_or_init(|| {
        let names = ["machine", "serve"].into_iter();
        names.map(|name| common_part(name, watch)).collect()
    });
    parts.as_deref().map_err(Clone::clone)
}

fn common_part(name: &str, watch: Watch) -> Result<PathBuf, String> {
    let part = programs_folder().join(format!("{name}.{watch:?}.{}.part", std::process::id()));
    let object = programs_folder().join(format!("{name}.{watch:?}.o"));
    run_compiler(
        Command::new("c++")
            .args(COMMON_FLAGS)
            .args(watch.machine())
            .arg("-c")
            .arg(emulation_folder().join(format!("{name}.cpp")))
            .arg("-o")
            .arg(&part),
    )?;
    fs::rename(part, &object).map_err(|error| error.to_string())?;
    Ok(object)
}

fn run_compiler(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {errors}"))
}
