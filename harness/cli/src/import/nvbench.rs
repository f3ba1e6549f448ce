//! Results of NVBench: `--json FILE` and, with every sample in files beside it, `--jsonbin FILE`.
//!
//! The format is told by its keys, not by the version that newer files carry: files as they have been written since
//! 2021 are read ([`wire`]). An isolated measurement (`nv/cold`) becomes a case timed `cold`, a batch (`nv/batch`) one
//! timed `hot`, a CPU-only one (`nv/cpu_only`) one timed `host`.

mod sidecar;
mod site;
mod state;
mod wire;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use self::sidecar::Sidecars;
use self::site::Site;
use self::state::{MODES, Mode, Reader};
use super::Importer;
use super::found::{Found, Measurement, plain};

/// The importer.
pub struct NvBench;

impl Importer for NvBench {
    fn name(&self) -> &'static str {
        "nvbench"
    }

    fn read(&self, path: &Path, text: &str, samples: bool) -> Result<Found> {
        let file: wire::File =
            serde_json::from_str(text).context("not a result that NVBench wrote")?;
        let benchmarks = file
            .benchmarks
            .context("field `benchmarks` is missing: not a result that NVBench wrote")?;
        let site = Site::of(&file.devices.unwrap_or_default(), &file.meta)?;
        let sidecars = samples.then(|| Sidecars::beside(path)).transpose()?;
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
