//! Results of NVBench: `--json FILE` and, with every sample in files beside it, `--jsonbin FILE`.
//!
//! The format is told by its keys, not by the version that newer files carry: files as they have been written since
//! 2021 are read ([`wire`]). An isolated measurement (`nv/cold`) becomes a case timed `cold`, a batch (`nv/batch`) one
//! timed `hot`, a CPU-only one (`nv/cpu_only`) one timed `host`.

mod sidecar;
mod site;
mod state;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use self::sidecar::Sidecars;
use self::site::Site;
use self::state::{MODES, Mode, Reader};
use super::found::{Found, Measurement, plain};
use super::{Importer, Options, Results};

/// The importer.
pub struct NvBench;

impl Importer for NvBench {
    fn name(&self) -> &'static str {
        "nvbench"
    }

    fn open(&self, path: &Path, options: &Options) -> Result<Box<dyn Results>> {
        ensure!(
            options.repo.is_none(),
            "a result of NVBench names no commit that --repo could order; give it with --commit and --date"
        );
        Ok(Box::new(Single {
            files: [path.to_path_buf()],
            with_samples: !options.without_samples,
        }))
    }
}

/// A file is all there is; its samples lie beside it.
struct Single {
    files: [PathBuf; 1],
    with_samples: bool,
}

impl Results for Single {
    fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn read(&self, path: &Path, text: &str) -> Result<Found> {
        let file: wire::File =
            serde_json::from_str(text).context("not a result that NVBench wrote")?;
        let benchmarks = file
            .benchmarks
            .context("field `benchmarks` is missing: not a result that NVBench wrote")?;
        let site = Site::of(&file.devices.unwrap_or_default(), &file.meta)?;
        let sidecars = self.with_samples.then(|| Sidecars::beside(path));
        let sidecars = sidecars.transpose()?;
        let mut reader = Reader::new(&site, sidecars);
        let mut measurements = Vec::new();
        for (place, benchmark) in benchmarks.iter().enumerate() {
            let named = plain("name", &benchmark.name, 200)
                .with_context(|| format!("benchmark {place}"))?;
            let found = read_benchmark(&mut reader, benchmark);
            measurements.extend(found.with_context(|| format!("benchmark `{named}`"))?);
        }
        Ok(Found {
            measurements,
            caveats: reader.caveats(),
            ..site.found()
        })
    }
}

fn read_benchmark(
    reader: &mut Reader<'_>,
    benchmark: &wire::Benchmark,
) -> Result<Vec<Measurement>> {
    let states = benchmark
        .states
        .as_ref()
        .context("field `states` is missing: a list of benchmarks, not their results")?;
    // What was skipped does not say in which ways it would have been measured; the others do.
    let is_usual = |mode: &&Mode| states.0.iter().any(|(_, state)| mode.measured(state));
    let usual: Vec<&Mode> = MODES.iter().filter(is_usual).collect();
    let mut measurements = Vec::new();
    for (place, (key, state)) in states.0.iter().enumerate() {
        let name = key.as_ref().or(state.name.as_ref());
        let shown = || match name {
            Some(name) => format!("state `{}`", name.chars().take(200).collect::<String>()),
            None => format!("state {place}"),
        };
        let read = reader.state(&benchmark.name, state, &usual);
        measurements.extend(read.with_context(shown)?);
        ensure!(
            measurements.len() <= assay_record::validate::MAX_CASES,
            "too many states"
        );
    }
    Ok(measurements)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::{Importer as _, NvBench};
    use crate::import::Options;
    use crate::import::found::{Found, Outcome};

    const RESULTS: [&str; 4] = [
        include_str!("../../tests/fixtures/nvbench/2021-03.json"),
        include_str!("../../tests/fixtures/nvbench/2021-06.json"),
        include_str!("../../tests/fixtures/nvbench/2021-07.json"),
        include_str!("../../tests/fixtures/nvbench/2022-01.json"),
    ];

    fn read(text: &str) -> anyhow::Result<Found> {
        let path = Path::new("out.json");
        let options = Options {
            without_samples: true,
            ..Options::default()
        };
        NvBench.open(path, &options)?.read(path, text)
    }

    /// A list as the object that it was in the last days before it was one: entries by `key`.
    fn by(key: &str, list: &Value) -> Value {
        let entry = |entry: &Value| {
            let mut body = entry.as_object().unwrap().clone();
            let name = body.remove(key).unwrap().as_str().unwrap().to_owned();
            (name, Value::Object(body))
        };
        let entries = list.as_array().into_iter().flatten().map(entry);
        Value::Object(entries.collect())
    }

    #[test]
    fn nvbench_objects_with_tags_are_what_the_later_lists_are() {
        let mut file: Value = serde_json::from_str(RESULTS[3]).unwrap();
        for benchmark in file["benchmarks"].as_array_mut().unwrap() {
            for state in benchmark["states"].as_array_mut().unwrap() {
                state["axis_values"] = by("name", &state["axis_values"]);
                let mut summaries = by("tag", &state["summaries"]);
                for summary in summaries.as_object_mut().unwrap().values_mut() {
                    let values = by("name", &summary["data"]);
                    let hint = serde_json::json!({ "type": "string", "value": "x" });
                    let hint = Map::from_iter([("hint".to_owned(), hint)]);
                    *summary = Value::Object(
                        hint.into_iter()
                            .chain(values.as_object().unwrap().clone())
                            .collect(),
                    );
                }
                state["summaries"] = summaries;
            }
            benchmark["states"] = by("name", &benchmark["states"]);
        }
        assert!(file["benchmarks"][0]["states"]["Device=0"]["summaries"]["nv/cold/sample_size"]["value"].is_object());
        let [as_objects, as_lists] =
            [&file.to_string(), RESULTS[3]].map(|text| read(text).unwrap());
        let measured = as_lists
            .measurements
            .iter()
            .filter(|one| matches!(one.outcome, Outcome::Sum(_)));
        assert_eq!(measured.count(), 3);
        let sorted = |found: &Found| {
            let mut all: Vec<String> = found
                .measurements
                .iter()
                .map(|one| format!("{one:?}"))
                .collect();
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(&as_objects), sorted(&as_lists));
    }

    proptest! {
        /// Whatever is damaged, the answer is one in words.
        #[test]
        fn nvbench_damage_is_an_error_or_another_result(
            which in 0..RESULTS.len(), at in 0.0..1.0, with in "[-0-9eE.\"{}\\[\\]:,ntrue]{0,3}", drop in 0..40_usize
        ) {
            let text = RESULTS[which];
            let at = (text.len() as f64 * at) as usize;
            let rest = (at + drop).min(text.len());
            let damaged = format!("{}{with}{}", &text[..at], &text[rest..]);
            if let Err(error) = read(&damaged) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
