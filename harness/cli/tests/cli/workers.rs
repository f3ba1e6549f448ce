//! Workers in C++ and CUDA C++: programs made of `suites/workers/assay_worker.hpp` are compiled and spoken to.

mod cuda;
mod host;
mod refusals;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use assay_protocol::{
    CaseSpec, Digest, Exchange, ParamValue, Params, Philox, Prepared, Reply, Request, Sample,
    SampleRequest, Step, TimingMode, U64, Verification,
};

use crate::helpers::Place;

/// Warnings of the host's compiler, all of them errors.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// What makes the smallest wrong step in memory an end of the program.
const SANITIZERS: [&str; 4] = [
    "-g",
    "-fsanitize=address",
    "-fsanitize=undefined",
    "-fno-sanitize-recover=all",
];

const HELLO: &str = r#"{"request":"hello","protocol":1}"#;

/// A repository path.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// A program that `build` makes of these files and flags, made once: it is kept under its name and the digest of all
/// that goes in.
fn built(
    name: &str,
    files: &[PathBuf],
    flags: &[&str],
    build: impl FnOnce(&Path, &Path),
) -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let header = repository("suites/workers/assay_worker.hpp");
    let compiler = Command::new("c++").arg("--version").output().unwrap();
    let mut parts = vec![compiler.stdout, flags.join(" ").into_bytes()];
    parts.extend(
        [&header]
            .into_iter()
            .chain(files)
            .map(|file| std::fs::read(file).unwrap()),
    );
    let digest = Digest::of_parts(parts.iter().map(Vec::as_slice));
    let programs = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("workers")
        .join(name);
    let program = programs.join(digest.short());
    if !program.exists() {
        // What was made of other sources is not needed again.
        let _ = std::fs::remove_dir_all(&programs);
        std::fs::create_dir_all(&programs).unwrap();
        let scratch = tempfile::tempdir_in(&programs).unwrap();
        let made = scratch.path().join("program");
        build(scratch.path(), &made);
        std::fs::rename(made, &program).unwrap();
    }
    program
}

/// Runs a compiler in `dir`, which must say nothing.
#[track_caller]
fn compile(dir: &Path, compiler: &Path, arguments: &[&str]) {
    let include = format!("-I{}", repository("suites/workers").display());
    let output = Command::new(compiler)
        .current_dir(dir)
        .args(["-std=c++17", &include])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let is_silent = said.trim().is_empty();
    assert!(
        output.status.success() && is_silent,
        "{arguments:?}\n{said}"
    );
}

/// What a program makes of requests.
#[derive(Debug)]
struct Session {
    code: Option<i32>,
    replies: Vec<Vec<u8>>,
    log: String,
}

/// Gives a program its whole input at once, and hears it to its end.
fn session(program: &Path, variables: &[(&str, String)], input: &[u8]) -> Session {
    let mut child = Command::new(program)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A worker that ends early leaves the rest unread.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let mut replies: Vec<_> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    assert_eq!(
        replies.pop(),
        Some(Vec::new()),
        "a reply is cut off: {output:?}"
    );
    Session {
        code: output.status.code(),
        replies,
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Session {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.log);
        self
    }

    /// The ends of the replies to these requests by the rules of the protocol, and all samples.
    #[track_caller]
    fn judged(&self, requests: &[Request]) -> (Vec<Sample>, Vec<Reply>) {
        let mut lines = self.replies.iter();
        let (mut samples, mut ends) = (Vec::new(), Vec::new());
        let mut prepared = Prepared::default();
        let mut last_end_ns = 0;
        for request in requests {
            let mut exchange = Exchange::new(request, &prepared.metrics, last_end_ns);
            let end = loop {
                let line = lines.next().unwrap_or_else(|| {
                    panic!("no reply to {request:?} ({:?}): {}", self.code, self.log)
                });
                match exchange.accept(line) {
                    Ok(Step::Sample(sample)) => samples.push(sample),
                    Ok(Step::Progress(_)) => {}
                    Ok(Step::Done(end)) => break end,
                    Err(fault) => panic!("{request:?}: {fault}"),
                }
            };
            last_end_ns = exchange.last_end_ns();
            match &end {
                Reply::Prepared(now) => {
                    prepared = now.clone();
                    last_end_ns = 0;
                }
                Reply::TornDown { .. } => prepared = Prepared::default(),
                _ => {}
            }
            ends.push(end);
        }
        assert_eq!(lines.next(), None, "more replies than requests");
        (samples, ends)
    }
}

/// Requests as a worker reads them.
fn lines(requests: &[Request]) -> Vec<u8> {
    let mut text = Vec::new();
    for request in requests {
        serde_json::to_writer(&mut text, request).unwrap();
        text.push(b'\n');
    }
    text
}

fn hello() -> Request {
    serde_json::from_str(HELLO).unwrap()
}

fn prepare(workload: &str, device: &str, timing: TimingMode, params: Params) -> Request {
    let case = CaseSpec {
        workload: workload.into(),
        params,
        seed: U64(u64::MAX - 7),
        device: device.parse().unwrap(),
        timing,
        command: None,
        kernel: None,
    };
    Request::Prepare { case }
}

fn chunk(max_samples: u32, min_sample_ns: u64) -> Request {
    Request::Sample(SampleRequest {
        max_samples,
        max_ns: u64::MAX,
        min_sample_ns,
    })
}

fn saxpy(elements: i64) -> Params {
    BTreeMap::from([
        ("elements".to_owned(), ParamValue::Int(elements)),
        ("a".to_owned(), ParamValue::Float(0.75)),
    ])
}

/// The digests that the inputs of `saxpy` must have, by the Rust generator.
fn saxpy_inputs(elements: usize) -> BTreeMap<String, Digest> {
    let digest = |stream| {
        let mut values = vec![0.0f32; elements];
        Philox::new(u64::MAX - 7, stream).fill_signed_f32(0, &mut values);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Digest::of(bytes)
    };
    BTreeMap::from([("x".into(), digest(0)), ("y".into(), digest(1))])
}

/// The digest that the output of `saxpy` must have where the compiler fuses no multiplication and addition, and where it does.
fn saxpy_outputs(elements: usize) -> [Digest; 2] {
    let at = |stream, i| Philox::new(u64::MAX - 7, stream).signed_f32(i);
    let digest = |value: &dyn Fn(f32, f32) -> f32| {
        let bytes = (0..elements as u64).flat_map(|i| value(at(0, i), at(1, i)).to_le_bytes());
        Digest::of(bytes.collect::<Vec<u8>>())
    };
    [
        digest(&|x, y| 0.75 * x + y),
        digest(&|x, y| 0.75f32.mul_add(x, y)),
    ]
}

#[track_caller]
fn prepared(end: &Reply) -> &Prepared {
    match end {
        Reply::Prepared(prepared) => prepared,
        other => panic!("not prepared: {other:?}"),
    }
}

#[track_caller]
fn verified(end: &Reply) -> &Verification {
    match end {
        Reply::Verified(verification) => verification,
        other => panic!("not verified: {other:?}"),
    }
}

#[track_caller]
fn failed(end: &Reply) -> &str {
    match end {
        Reply::Failed { reason } => reason,
        other => panic!("not failed: {other:?}"),
    }
}

#[track_caller]
fn skipped(end: &Reply) -> &str {
    match end {
        Reply::Skipped { reason } => reason,
        other => panic!("not skipped: {other:?}"),
    }
}

/// A suite of a worker `mine`, this program, which lies beside it as `worker`.
fn suite_of_mine(place: &Place, program: &Path, benchmark: &str) {
    // A copy would be written by a process that starts others, and could be busy when it is to run.
    std::os::unix::fs::symlink(program, place.path("worker")).unwrap();
    let benchmark = crate::helpers::benchmark("own/saxpy", benchmark);
    let mine = "[workers.mine]\nargv = [\"{dir}/worker\"]\n".to_owned();
    place.write(
        "tiny.toml",
        crate::helpers::suite("tiny", &[benchmark, mine]),
    );
}
