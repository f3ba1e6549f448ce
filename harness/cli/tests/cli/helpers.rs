//! A small language for tests of the binary: a [`Place`] to stand in, what is written there, and the [`Outcome`] of a command.

use std::cell::Cell;
use std::fs::{DirEntry, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use assay_record::Record;
use assay_store::synthetic::Recipe;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

/// How long to wait for what is sure to come. No assertion about speed: only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Tests whose verdict depends on the machine being quiet run alone.
static TURNS: RwLock<()> = RwLock::new(());

enum Turn {
    Shared {
        _turn: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _turn: RwLockWriteGuard<'static, ()>,
    },
}

thread_local! {
    /// Places that this thread's test has: only the first waits for its turn, for one that waits for whoever waits for it never gets it.
    static PLACES: Cell<usize> = const { Cell::new(0) };
}

/// One of a test's places.
struct Counted;

impl Counted {
    fn new() -> Self {
        PLACES.set(PLACES.get() + 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        PLACES.set(PLACES.get() - 1);
    }
}

/// A folder to stand in, isolated from the machine's own settings, caches and locks.
pub struct Place {
    dir: PathBuf,
    // The folder goes before the next test may begin.
    _folder: Option<TempDir>,
    _turn: Option<Turn>,
    _counted: Counted,
}

impl Place {
    /// A fresh place.
    pub fn new() -> Self {
        let turn = (PLACES.get() == 0).then(|| Turn::Shared {
            _turn: TURNS.read().unwrap_or_else(PoisonError::into_inner),
        });
        Self::fresh(turn)
    }

    /// A fresh place, with no other test beside it.
    pub fn alone() -> Self {
        let turn = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        Self::fresh(Some(Turn::Alone { _turn: turn }))
    }

    fn fresh(turn: Option<Turn>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("assay-test-")
            .tempdir()
            .unwrap();
        Self {
            dir: folder.path().canonicalize().unwrap(),
            _folder: Some(folder),
            _turn: turn,
            _counted: Counted::new(),
        }
    }

    /// Another place within this one: another machine, as far as assay can tell.
    pub fn beside(&self, name: &str) -> Self {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self {
            dir,
            _folder: None,
            _turn: None,
            _counted: Counted::new(),
        }
    }

    /// A place with a suite `tiny.toml` of these benchmarks.
    pub fn with_suite(benchmarks: &[String]) -> Self {
        let place = Self::new();
        place.write("tiny.toml", suite("tiny", benchmarks));
        place
    }

    /// A place with a suite of one quick case, which ran `runs` times.
    pub fn with_runs(runs: usize) -> Self {
        let place = Self::with_suite(&[spin("control/spin", 1000)]);
        for _ in 0..runs {
            place.assay("run ./tiny.toml").exits(0);
        }
        place
    }

    /// A place whose database holds made-up runs.
    pub fn with_records(recipes: &[Recipe]) -> Self {
        let place = Self::new();
        for recipe in recipes {
            recipe
                .write(&place.path("assay-data/records"), None)
                .unwrap();
        }
        place.assay("ingest").exits(0);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a shell script that can be executed.
    pub fn script(&self, name: &str, body: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, format!("#!/bin/sh\n{body}\n"));
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program in this place, with no inputs.
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env("HOME", &self.dir)
            .env("XDG_CACHE_HOME", &self.dir)
            .env("ASSAY_LOCK_DIR", &self.dir);
        command
    }

    /// Runs `assay` with arguments that are split at spaces.
    #[track_caller]
    pub fn assay(&self, arguments: &str) -> Outcome {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        self.assay_with(&words)
    }

    /// Runs `assay` with arguments as they are.
    #[track_caller]
    pub fn assay_with(&self, arguments: &[&str]) -> Outcome {
        let output = self.program(ASSAY).args(arguments).output().unwrap();
        Outcome::of(&arguments.join(" "), &output)
    }

    /// Starts `assay` and leaves it running.
    pub fn start(&self, arguments: &str) -> Running {
        let mut command = self.program(ASSAY);
        command.args(arguments.split_whitespace());
        Running::begin(self, arguments, command)
    }

    /// Records in the default folder, oldest first: by their last write, for names tell seconds apart and no less.
    pub fn records(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("assay-data/records"));
        let written = |entry: std::io::Result<DirEntry>| {
            let path = entry.ok()?.path();
            // A run that ends just now takes its plain record away.
            let at = path.metadata().and_then(|meta| meta.modified()).ok()?;
            Record::is_record_name(&path).then_some((at, path))
        };
        let mut records: Vec<_> = entries.into_iter().flatten().filter_map(written).collect();
        records.sort();
        records.into_iter().map(|(_, path)| path).collect()
    }

    /// Ids of the runs that have records, oldest first.
    pub fn runs(&self) -> Vec<String> {
        let id = |path: &PathBuf| {
            path.file_name()?
                .to_str()?
                .split('.')
                .next()
                .map(str::to_owned)
        };
        let mut runs: Vec<String> = self.records().iter().filter_map(id).collect();
        runs.dedup();
        runs
    }

    /// How many blocks a run that goes on has written so far.
    pub fn blocks_written(&self) -> usize {
        let last = self
            .records()
            .pop()
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
        let text = last
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n') && line.contains(r#","body":{"block":{"#))
            .count()
    }

    /// Waits until a run has written that many blocks.
    #[track_caller]
    pub fn until_blocks(&self, count: usize) {
        let written = eventually(PATIENCE, || self.blocks_written() >= count);
        assert!(
            written,
            "{} blocks after all patience",
            self.blocks_written()
        );
    }

    /// Waits until a run has begun its record.
    #[track_caller]
    pub fn until_record(&self) {
        let begun = eventually(PATIENCE, || !self.records().is_empty());
        assert!(begun, "no record after all patience");
    }

    /// The last record.
    #[track_caller]
    pub fn record(&self) -> Record {
        Record::read(self.records().last().expect("a record")).unwrap()
    }

    /// Processes that were started from here: workers inherit the folder of caches.
    pub fn processes(&self) -> Vec<u32> {
        let marker = format!("XDG_CACHE_HOME={}", self.dir.display()).into_bytes();
        let is_ours = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|v| v == marker)
        };
        all_processes().filter(is_ours).collect()
    }

    /// Asserts that nothing started from here is left, soon.
    #[track_caller]
    pub fn is_left_alone(&self) {
        let gone = eventually(Duration::from_secs(5), || self.processes().is_empty());
        assert!(gone, "still running: {:?}", self.processes());
    }
}

fn all_processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether something comes true within `limit`.
pub fn eventually(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An `assay` that runs. What it says goes to files, so that it never waits for a reader.
pub struct Running {
    arguments: String,
    said: [PathBuf; 2],
    child: Child,
}

impl Running {
    /// Starts a command in a place.
    pub fn begin(place: &Place, arguments: &str, mut command: Command) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let said = ["stdout", "stderr"].map(|stream| place.path(&format!("{stream}-{number}")));
        let into = |path: &PathBuf| File::create(path).unwrap();
        command.stdout(into(&said[0])).stderr(into(&said[1]));
        Self {
            arguments: arguments.into(),
            child: command.spawn().unwrap(),
            said,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it says something on standard error.
    #[track_caller]
    pub fn until_it_says(&self, words: &str) {
        let heard = || std::fs::read_to_string(&self.said[1]).unwrap();
        let said = eventually(PATIENCE, || heard().contains(words));
        assert!(said, "`{words}` was not said in time: {}", heard());
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it, unless it has ended already.
    pub fn kill(mut self) -> Outcome {
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Outcome {
        let status = self.child.wait().unwrap();
        let [stdout, stderr] = self.said.map(|path| std::fs::read(path).unwrap());
        let output = Output {
            status,
            stdout,
            stderr,
        };
        Outcome::of(&self.arguments, &output)
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Outcome {
    arguments: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(arguments: &str, output: &Output) -> Self {
        Self {
            arguments: arguments.chars().take(200).collect(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that it said this, on either stream.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        let said = self.stdout.contains(words) || self.stderr.contains(words);
        assert!(said, "`{words}` was not said by {self}");
        self
    }

    /// Asserts that it did not say this.
    #[track_caller]
    pub fn lacks(self, words: &str) -> Self {
        let said = self.stdout.contains(words) || self.stderr.contains(words);
        assert!(!said, "`{words}` was said by {self}");
        self
    }

    /// Asserts that it was refused as bad input, in these words.
    #[track_caller]
    pub fn refuses(self, words: &[&str]) -> Self {
        let refused = self.exits(2).lacks("panicked");
        words
            .iter()
            .fold(refused, |outcome, word| outcome.says(word))
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// What follows `label` on a line of its standard output.
    #[track_caller]
    pub fn field(&self, label: &str) -> &str {
        let line = self
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("no line `{label}` in {self}"))
            .trim()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`assay {}` (exit {:?})", self.arguments, self.code)?;
        writeln!(f, "-- stdout\n{}\n-- stderr\n{}", self.stdout, self.stderr)
    }
}

/// A suite of benchmarks, measured as briefly as can be.
pub fn suite(name: &str, benchmarks: &[String]) -> String {
    const POLICY: &str = "rounds = 2, max_rounds = 2, min_samples = 2, max_samples = 200, warmup_ms = 10, round_ms = 10";
    suite_with(name, POLICY, benchmarks)
}

/// A suite of benchmarks with a policy of its own.
pub fn suite_with(name: &str, policy: &str, benchmarks: &[String]) -> String {
    let benchmarks = benchmarks.join("\n");
    format!("schema = 1\nname = \"{name}\"\npolicy = {{ {policy} }}\n{benchmarks}")
}

/// A benchmark, by the lines of its table.
pub fn benchmark(name: &str, lines: &str) -> String {
    format!("[[benchmark]]\nname = \"{name}\"\n{lines}\n")
}

/// A benchmark whose cost is known.
pub fn spin(name: &str, steps: u64) -> String {
    benchmark(
        name,
        &format!("workload = \"spin\"\nparams = {{ steps = {steps} }}"),
    )
}

/// A benchmark that goes wrong in one way.
pub fn fault(mode: &str) -> String {
    benchmark(
        &format!("fault/{mode}"),
        &format!("workload = \"fault\"\ntimeout_s = 1\nparams = {{ mode = \"{mode}\" }}"),
    )
}

/// Whether a program that a test needs is there; where it is not, says so, or fails if `ASSAY_REQUIRE` names it.
pub fn have(program: &str) -> bool {
    let answers = Command::new(program).arg("--version").output();
    if answers.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
    assert!(
        !required.contains(program),
        "{program} is required and not here"
    );
    println!("skipped: no {program} on this machine");
    false
}

/// The case of a run's JSON whose id contains `name`.
#[track_caller]
pub fn case<'a>(run: &'a Value, name: &str) -> &'a Value {
    let cases = run["cases"].as_array().unwrap();
    let found = cases
        .iter()
        .find(|case| case["case"]["case"].as_str().unwrap().contains(name));
    found.unwrap_or_else(|| panic!("no case {name} in {run:#}"))
}

/// State of that case: `ok`, or why not.
#[track_caller]
pub fn state(run: &Value, name: &str) -> String {
    let state = &case(run, name)["state"];
    let reason = state["reason"].as_str().unwrap_or_default();
    format!("{} {reason}", state["is"].as_str().unwrap())
}

/// Estimate of a case's time on an arm, in nanoseconds.
#[track_caller]
pub fn time_on(run: &Value, case: &str, arm: &str) -> f64 {
    metric_on(run, case, arm, 0)
}

/// Estimate of a case's metric on an arm, by the metric's place.
#[track_caller]
pub fn metric_on(run: &Value, case: &str, arm: &str, metric: usize) -> f64 {
    let cases = run["cases"].as_array().unwrap();
    let found = cases.iter().find(|found| {
        let row = &found["case"];
        row["case"].as_str().unwrap().contains(case) && row["arm"] == arm
    });
    let found = found.unwrap_or_else(|| panic!("no case {case} on {arm} in {run:#}"));
    let estimate = &found["metrics"][metric]["estimate"]["estimate"];
    estimate
        .as_f64()
        .unwrap_or_else(|| panic!("no estimate in {found:#}"))
}

/// Text of a repository file.
pub fn repository_file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
