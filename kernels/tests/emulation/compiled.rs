//! Programs compiled from CUDA sources, kept by the digest of everything that went into them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use assay_kernels::ops;
use assay_protocol::Digest;

use super::mutants::Mutant;

const FLAGS: &[&str] = &[
    "-std=c++17",
    "-O1",
    "-g1",
    "-w", // pragmas of CUDA's; the real compiler's warnings are read in `nvrtc.rs`
    "-fno-omit-frame-pointer",
    "-ffp-contract=off",
    "-DASSAY_EMULATION",
];

/// What a program watches for beside what the emulation always notices.
#[derive(Clone, Copy, Debug)]
pub enum Watch {
    /// Accesses outside of memory, and undefined behaviour.
    Memory,
    /// Data races. Only accesses are reported by the compiled code, so it is linked without the option.
    Races,
}

impl Watch {
    fn compiling(self) -> &'static [&'static str] {
        match self {
            Self::Memory => &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
            Self::Races => &["-fsanitize=thread"],
        }
    }

    fn linking(self) -> &'static [&'static str] {
        match self {
            Self::Memory => self.compiling(),
            Self::Races => &[],
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
        let emulation = kernels_folder().join("emulation");
        let main = main_program(kernels);
        let key = key(&format!("{watch:?} {main}"), &[cuda, &emulation]);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulation");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let program = folder.join(format!("{key}"));
        if !program.exists() {
            let source = folder.join(format!("{key}.cpp"));
            fs::write(&source, main).map_err(|error| error.to_string())?;
            compile(&source, &program, cuda, watch)?;
        }
        Ok(Self { program })
    }
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
    let version = Command::new("c++")
        .arg("--version")
        .output()
        .expect("a C++ compiler")
        .stdout;
    let mut all =
        format!("{main}\n{FLAGS:?}\n{}\n", String::from_utf8_lossy(&version)).into_bytes();
    for folder in folders {
        for file in files(folder) {
            all.extend(fs::read(&file).expect("a source"));
        }
    }
    Digest::of(all)
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
    // Renamed into place: another test may be compiling the same.
    let part = program.with_extension(format!("{}.part", std::process::id()));
    let object = part.with_extension("o");
    let includes = [cuda, &kernels_folder().join("emulation")].map(|folder| {
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
            .arg(&object)
            .arg(serving_part()?)
            .arg("-o")
            .arg(&part),
    )?;
    fs::remove_file(&object)
        .and_then(|()| fs::rename(part, program))
        .map_err(|error| error.to_string())
}

/// The part of every program that reads jobs, compiled once.
fn serving_part() -> Result<&'static Path, String> {
    static PART: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let part = PART.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulation");
        let part = folder.join(format!("serve.{}.o", std::process::id()));
        let object = folder.join("serve.o");
        run_compiler(
            Command::new("c++")
                .args(FLAGS)
                .arg("-c")
                .arg(kernels_folder().join("emulation/serve.cpp"))
                .arg("-o")
                .arg(&part),
        )?;
        fs::rename(part, &object).map_err(|error| error.to_string())?;
        Ok(object)
    });
    part.as_deref().map_err(Clone::clone)
}

fn run_compiler(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {errors}"))
}
