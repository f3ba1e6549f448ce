//! Scores agree with those of `SDMetrics` 0.32 where the formula is the same. `sdmetrics/golden.py` made the values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use assay_suites::synthetic::quality::scores::scores;
use assay_suites::synthetic::quality::{closeness, columns, pairs};
use assay_suites::synthetic::table::{Table, Values, file};
use serde_json::Value;

/// Where the golden values lie, and what makes them.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdmetrics")
}

/// Tables of a folder, aligned with the real one.
struct Tables {
    real: Table,
    synthetic: Table,
    held_out: Table,
    uniform: Table,
}

impl Tables {
    fn read(folder: &Path) -> Self {
        let table = |name: &str| file::read(&folder.join(name)).unwrap();
        let real = table("real.csv");
        let aligned = |name| real.align(&table(name)).unwrap();
        Self {
            synthetic: aligned("synthetic.csv"),
            held_out: aligned("held_out.csv"),
            uniform: aligned("uniform.csv"),
            real,
        }
    }

    /// A column in the real and in the synthetic table.
    fn values(&self, name: &str) -> [&Values; 2] {
        [&self.real, &self.synthetic].map(|of| &of.column(name).unwrap().values)
    }

    /// A part of the quality report on some columns.
    fn quality(&self, part: &str, names: &[&str]) -> f64 {
        let some = |table: &Table| {
            let columns = names.iter().map(|name| table.column(name).unwrap().clone());
            Table::new(columns.collect()).unwrap()
        };
        let scores = scores(&some(&self.real), &some(&self.synthetic), 1);
        match part {
            "shapes" => scores.shapes,
            "trends" => scores.trends,
            "quality" => scores.quality,
            _ => panic!("{part}: no part of a report"),
        }
    }

    fn distances(&self, from: &str, to: &str) -> Vec<f64> {
        let table = |name| match name {
            "real" => &self.real,
            "synthetic" => &self.synthetic,
            "held_out" => &self.held_out,
            "uniform" => &self.uniform,
            _ => panic!("{name}: no table"),
        };
        closeness::distances(table(from), table(to)).unwrap()
    }

    /// What we say where `SDMetrics` says something by a name.
    fn ours(&self, name: &str) -> Vec<f64> {
        let one = |score: Option<f64>| vec![score.unwrap_or_else(|| panic!("{name}: no score"))];
        let median = |from| closeness::median(&self.distances(from, "real")).unwrap();
        match name.split(' ').collect::<Vec<_>>()[..] {
            ["KSComplement" | "TVComplement", column] => {
                let [real, synthetic] = self.values(column);
                one(columns::shape(real, synthetic))
            }
            ["RangeCoverage" | "CategoryCoverage", column] => {
                let [real, synthetic] = self.values(column);
                one(columns::coverage(real, synthetic))
            }
            ["MissingValueSimilarity", column] => {
                let [real, synthetic] = self.values(column);
                one(Some(columns::missing_similarity(real, synthetic)))
            }
            ["CorrelationSimilarity" | "ContingencySimilarity", a, b] => {
                let ([a, c], [b, d]) = (self.values(a), self.values(b));
                one(pairs::trend([a, b], [c, d]))
            }
            ["QualityReport", part, ref names @ ..] => one(Some(self.quality(part, names))),
            ["calculate_dcr", from, to] => self.distances(from, to),
            ["DCROverfittingProtection"] => one(Some(closeness::overfit_protection(
                &self.distances("synthetic", "real"),
                &self.distances("synthetic", "held_out"),
            ))),
            ["DCRBaselineProtection"] => one(closeness::baseline_protection(
                median("synthetic"),
                median("uniform"),
            )),
            _ => panic!("{name}: no score of ours"),
        }
    }
}

/// Columns of which some hold numbers and some categories: the report puts the numbers of either table in bins of its own range, we
/// put both in those of the real one, as `ContingencySimilarity` does.
const DIFFERENT: [&str; 2] = [
    "QualityReport trends age pay job town",
    "QualityReport quality age pay job town",
];

/// Compares everything in a folder.
fn compare(folder: &Path) {
    let tables = Tables::read(folder);
    let golden: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    assert_eq!(golden.len(), 16 + 9 + 5);
    for (name, wanted) in golden {
        let wanted: Vec<f64> = match &wanted {
            Value::Array(values) => values.iter().map(|x| x.as_f64().unwrap()).collect(),
            value => vec![value.as_f64().unwrap()],
        };
        let found = tables.ours(&name);
        assert_eq!(found.len(), wanted.len(), "{name}");
        let pairs = found.iter().zip(&wanted);
        let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if DIFFERENT.contains(&name.as_str()) {
            assert!((1e-3..0.2).contains(&most), "{name}: {most}");
        } else {
            assert!(most < 1e-9, "{name}: {found:?}, SDMetrics {wanted:?}");
        }
    }
}

#[test]
fn scores_are_those_of_sdmetrics() {
    compare(&folder());
}

/// What runs Python with the packages of a folder, `SDMetrics` 0.32 among them: installed there if it is not yet.
fn python(folder: &Path) -> Result<impl Fn() -> Command, String> {
    const CHECK: &str = "import sdmetrics; assert sdmetrics.__version__.startswith('0.32.')";
    let packages = folder.to_path_buf();
    let python = move || {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &packages);
        command
    };
    let run = |command: &mut Command| {
        let output = command
            .output()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_done = output.status.success();
        is_done.then_some(()).ok_or(format!("{command:?}: {words}"))
    };
    if run(python().args(["-c", CHECK])).is_err() {
        let install =
            "-m pip install --quiet --no-input --disable-pip-version-check --upgrade --target";
        // Not of the folder that it installs to: what is broken there would break it.
        let mut pip = Command::new("python3");
        run(pip
            .args(install.split(' '))
            .arg(folder)
            .arg("sdmetrics==0.32.*"))?;
        run(python().args(["-c", CHECK]))?;
    }
    Ok(python)
}

/// In the folder that `ASSAY_SDMETRICS` names, which is kept, or else in one of its own.
#[test]
#[ignore = "installs SDMetrics, which takes a minute and needs python3, pip and a package index"]
fn scores_are_those_that_sdmetrics_gives_now() {
    let place = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("ASSAY_SDMETRICS").map(PathBuf::from);
    let packages = kept.unwrap_or_else(|| place.path().join("packages"));
    let python = match python(&packages) {
        Ok(python) => python,
        Err(reason) => {
            let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
            assert!(
                !required.contains("sdmetrics"),
                "SDMetrics 0.32 is required and not here: {reason}"
            );
            println!("skipped: SDMetrics 0.32 cannot be installed here: {reason}");
            return;
        }
    };
    let script = folder().join("golden.py");
    let status = python().arg(script).arg(place.path()).status();
    assert!(status.unwrap().success());
    compare(place.path());
}
