//! Made-up folders of results as airspeed velocity writes them, seeded, for tests and benches. Nothing here was measured,
//! and nothing in a shipped program calls it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use assay_protocol::{Digest, Philox};

/// 2020-01-01 00:00 UTC, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_577_836_800_000;
/// Between two commits.
const STEP_MS: u64 = 6 * 3600 * 1000;
/// What every file says of its columns.
const COLUMNS: &str = r#"["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b", "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile"]"#;

/// What a folder is like.
#[derive(Clone, Debug)]
pub struct AsvFolder {
    /// Whatever is random comes from this.
    pub seed: u64,
    /// Result files of all machines together.
    pub files: u32,
    /// Machines, which measured the same commits.
    pub machines: u32,
    /// Benchmarks. Every fifth has parameters, three or six combinations of them.
    pub benchmarks: u32,
}

/// A history of a year: what a busy project has.
impl Default for AsvFolder {
    fn default() -> Self {
        Self {
            seed: 1,
            files: 1400,
            machines: 2,
            benchmarks: 300,
        }
    }
}

impl AsvFolder {
    /// Writes it, and returns how many bytes the results have.
    pub fn write(&self, folder: &Path) -> io::Result<u64> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("benchmarks.json"), self.index())?;
        for machine in 0..self.machines {
            let name = machine_name(machine);
            fs::create_dir_all(folder.join(&name))?;
            let said = format!(
                r#"{{"arch": "x86_64", "cpu": "Made-up CPU {machine} @ 3.00GHz", "machine": "{name}", "num_cpu": "8", "os": "Linux 6.1", "ram": "16283300", "version": 1}}"#
            );
            fs::write(folder.join(&name).join("machine.json"), said)?;
        }
        (0..self.files).try_fold(0, |bytes, number| {
            Ok(bytes + self.write_file(folder, number)?)
        })
    }

    /// Writes one result file. `number` may be past those of the folder, for a commit that comes after them.
    pub fn write_file(&self, folder: &Path, number: u32) -> io::Result<u64> {
        let (commit, machine) = (number / self.machines, number % self.machines);
        let text = self.results(commit, machine);
        let name = format!("{}-conda-py3.11-numpy.json", &hash(commit)[..8]);
        fs::write(folder.join(machine_name(machine)).join(name), &text)?;
        Ok(text.len() as u64)
    }

    fn index(&self) -> String {
        let mut text = String::from("{");
        for number in 0..self.benchmarks {
            let benchmark = Benchmark(number);
            let (kind, unit) = benchmark.kind();
            let params = benchmark.params();
            let names = [r#""n""#, r#""dtype""#][..params.len()].join(", ");
            let version = benchmark.version(u32::MAX);
            let name = benchmark.name();
            let _ = write!(
                text,
                r#""{name}": {{"code": "def made_up(self, n):\n    return sum(range(n))\n", "name": "{name}", "param_names": [{names}], "params": {}, "type": "{kind}", "unit": "{unit}", "version": "{version}"}}, "#,
                listed(&params)
            );
        }
        text + r#""version": 2}"#
    }

    fn results(&self, commit: u32, machine: u32) -> String {
        let date = EPOCH_MS + u64::from(commit) * STEP_MS;
        let name = machine_name(machine);
        let mut text = format!(
            r#"{{"commit_hash": "{}", "env_name": "conda-py3.11-numpy", "date": {date}, "params": {{"arch": "x86_64", "machine": "{name}", "numpy": "", "python": "3.11"}}, "python": "3.11", "requirements": {{"numpy": ""}}, "env_vars": {{}}, "result_columns": {COLUMNS}, "results": {{"#,
            hash(commit)
        );
        for number in 0..self.benchmarks {
            if number > 0 {
                text.push_str(", ");
            }
            let row = Row {
                benchmark: Benchmark(number),
                commit,
                random: Philox::new(
                    self.seed ^ u64::from(machine) << 32,
                    u64::from(commit) << 32 | u64::from(number),
                ),
            };
            row.write(&mut text, date + 60_000 + u64::from(number) * 2000);
        }
        text + r#"}, "durations": {"<build>": 17.5}, "version": 2}"#
    }
}

fn machine_name(machine: u32) -> String {
    format!("machine-{machine}")
}

fn hash(commit: u32) -> String {
    Digest::of(format!("commit {commit}")).hex()[..40].into()
}

/// A benchmark by its number.
#[derive(Clone, Copy)]
struct Benchmark(u32);

impl Benchmark {
    fn kind(self) -> (&'static str, &'static str) {
        match self.0 % 25 {
            7 => ("memory", "bytes"),
            11 | 17 => ("peakmemory", "bytes"),
            21 => ("track", "widgets"),
            _ => ("time", "seconds"),
        }
    }

    fn is_time(self) -> bool {
        self.kind().0 == "time"
    }

    fn name(self) -> String {
        let prefix = match self.kind().0 {
            "memory" => "mem",
            "peakmemory" => "peakmem",
            other => other,
        };
        let number = self.0;
        format!(
            "module{}.Suite{}.{prefix}_case_{number}",
            number / 50,
            number / 10
        )
    }

    /// Lists of values as Python writes them.
    fn params(self) -> Vec<Vec<&'static str>> {
        let numbers = vec!["10", "1000", "100000"];
        match self.0 % 10 {
            0 => vec![numbers],
            5 => vec![numbers, vec!["'int64'", "'float64'"]],
            _ => Vec::new(),
        }
    }

    /// One in fifty is rewritten at the 350th commit.
    fn version(self, commit: u32) -> String {
        let is_new = self.0.is_multiple_of(50) && commit >= 350;
        Digest::of(format!("version {is_new} of {}", self.0)).hex()
    }

    /// Its time in seconds at a point, without noise: one in twenty gets slower, one in thirty faster.
    fn level(self, commit: u32, point: usize) -> f64 {
        let base = 1e-6 * f64::from(1 + self.0 % 97) * 10_f64.powi((point % 3) as i32);
        let slower = self.0 % 20 == 3 && commit >= 100 + self.0;
        let faster = self.0 % 30 == 4 && commit >= 50 + self.0;
        base * if slower { 1.15 } else { 1.0 } * if faster { 0.8 } else { 1.0 }
    }
}

/// A benchmark's row in a file.
struct Row {
    benchmark: Benchmark,
    commit: u32,
    random: Philox,
}

impl Row {
    fn write(&self, text: &mut String, at_ms: u64) {
        let params = self.benchmark.params();
        let count = params.iter().map(Vec::len).product();
        let _ = write!(
            text,
            r#""{}": [{}, {}, "{}", {at_ms}, 1.2345"#,
            self.benchmark.name(),
            self.column(count, |value| format!("{value:e}")),
            listed(&params),
            self.benchmark.version(self.commit)
        );
        if self.benchmark.is_time() {
            for factor in [0.985, 1.02, 0.99, 1.01] {
                let rounded = |value| format!("{:.4e}", value * factor);
                let _ = write!(
                    text,
                    ", {}",
                    self.column(count, rounded).replace("NaN", "null")
                );
            }
            let number = |value: f64| (0.01 / value).ceil().max(1.0).to_string();
            for column in [
                self.column(count, number),
                self.column(count, |_| "10".into()),
            ] {
                let _ = write!(text, ", {}", column.replace("NaN", "null"));
            }
        }
        text.push(']');
    }

    /// A list over the parameters, or null where all of it is. One in 500 failed, and as many were skipped.
    fn column(&self, count: usize, shown: impl Fn(f64) -> String) -> String {
        let entry = |point: usize| match self.random.word(1000 + point as u64) % 500 {
            1 => "null".to_owned(),
            2 => "NaN".to_owned(),
            _ => shown(self.value(point)),
        };
        let entries: Vec<String> = (0..count).map(entry).collect();
        if entries.iter().all(|one| one == "null") {
            return "null".into();
        }
        format!("[{}]", entries.join(", "))
    }

    fn value(&self, point: usize) -> f64 {
        let word = |k: u64| f64::from(self.random.word(4 * point as u64 + k)) / f64::from(u32::MAX);
        // The sum of three uniform numbers: nearly normal, of 1 %.
        let noise = 1.0 + 0.02 * (word(0) + word(1) + word(2) - 1.5);
        let value = self.benchmark.level(self.commit, point) * noise;
        if self.benchmark.is_time() {
            value
        } else {
            (value * 1e10).round()
        }
    }
}

fn listed(params: &[Vec<&str>]) -> String {
    let list = |values: &Vec<&str>| {
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    format!(
        "[{}]",
        params.iter().map(list).collect::<Vec<_>>().join(", ")
    )
}
