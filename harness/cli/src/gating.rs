//! One run against its window of earlier runs: what `check`, `confirm` and `nightly` share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use assay_record::{Day, RunId, Source, Timestamp};
use assay_store::{RunRow, Store};
use assay_verdicts::calibration::Calibration;
use assay_verdicts::comparison::{Known, Options, Question};
use assay_verdicts::gate::State;
use assay_verdicts::window::{Baseline, DEFAULT_RUNS, MAIN_ARM, newest_nights};
use assay_verdicts::{Gate, Marks, Reading, RunView, Window};

use crate::errors::Exit;
use crate::marks;
use crate::settings::Settings;
use crate::show::{junit, markdown};
use crate::sides::{self, Side};

/// Which runs a gate compares with, and what it asks.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Asking {
    /// Runs to compare with: `last:N` (the newest but two), `tag:NAME`, `RUN..RUN`, or runs with commas between them; without it, `baseline` of
    /// assay.toml, else `last:20`.
    #[arg(long, value_name = "WINDOW")]
    baseline: Option<String>,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    files: Files,
}

/// What is asked of a change, shared by every command that judges.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wishes {
    /// What is within this many percent is equal; without it, 3, or what `assay calibrate` found possible if that is more.
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    margin: Option<f64>,
    /// Exit with 4 where something is inconclusive.
    #[arg(long)]
    pub fail_inconclusive: bool,
}

impl Wishes {
    /// Margins that calibration found possible on a run's machine; a margin that was asked for stands.
    pub fn margins(&self, store: &Store, of: &RunRow) -> Result<BTreeMap<String, f64>> {
        if self.margin.is_some() {
            return Ok(BTreeMap::new());
        }
        Ok(Calibration::margins(store, &of.suite, &of.machine)?)
    }

    /// These wishes on top of the defaults.
    pub fn options(&self, question: Question) -> Options {
        let mut options = Options::new(question);
        if let Some(margin) = self.margin {
            options.rules.margin = margin / 100.0;
        }
        options
    }
}

fn percentage(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim_end_matches('%').trim().parse().ok();
    number
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .ok_or_else(|| "expected a number of percent above 0 and up to 100, such as 2.5".into())
}

/// Where else a gate is written.
#[derive(Clone, Debug, Default, clap::Args)]
struct Files {
    /// Write JUnit XML there.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write Markdown there, such as `$GITHUB_STEP_SUMMARY`.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// A run that was checked, with the sides that were compared.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What is said of it.
    pub gate: Gate,
    /// What it was compared with; without runs where there is none.
    pub baseline: Side,
    /// The run.
    pub candidate: Side,
    /// How the two were compared.
    pub options: Options,
    /// Records of what was run to confirm it.
    pub records: Vec<PathBuf>,
}

impl Checked {
    /// Name of the suite.
    pub fn suite(&self) -> &str {
        self.candidate
            .newest()
            .map_or("assay", |view| view.run.suite.as_str())
    }
}

impl Asking {
    /// Checks a run against the window; says on standard error which marks fit nothing.
    pub fn check(&self, store: &Store, run: &RunId, settings: &Settings) -> Result<Checked> {
        let marks = marks::load(settings)?;
        let today = Timestamp::now().day();
        marks::complain(settings, &marks, store, today)?;
        self.check_with(store.into(), run, settings, (marks, today))
    }

    /// Checks a run against the window, by marks as they are on a day.
    pub fn check_with(
        &self,
        reading: Reading<'_>,
        run: &RunId,
        settings: &Settings,
        (marks, today): (Marks, Day),
    ) -> Result<Checked> {
        let store = reading.store;
        let asked = self.baseline.as_ref().or(settings.baseline.as_ref());
        let name = asked
            .cloned()
            .unwrap_or_else(|| format!("last:{DEFAULT_RUNS}"));
        let window = parse(store, &name).with_context(|| format!("the baseline `{name}`"))?;
        let candidate = RunView::load(store, run)?;
        let Baseline { runs, later } = window.baseline(store, &candidate.run)?;
        ensure!(
            self.baseline.is_none() || !runs.is_empty(),
            "the baseline `{name}` has no run to compare with {run}: those count that are earlier, complete, of the same suite and machine, with its arm: `{MAIN_ARM}`, or the only one"
        );
        ensure!(
            runs.iter().all(|view| view.run.run != *run),
            "the baseline `{name}`: {run} is the run that is checked, and no different from itself"
        );
        let candidate = sides::side(run.to_string(), vec![candidate]);
        let baseline = Side {
            label: sides::label_of(&runs),
            arm: candidate.arm.clone(),
            runs,
        };
        let margins = match candidate.newest() {
            Some(view) => self.wishes.margins(store, &view.run)?,
            None => BTreeMap::new(),
        };
        let options = Options {
            gap: later.len(),
            known: Some(Known {
                marks,
                today,
                between: later,
            }),
            margins,
            // Who names runs means all of them.
            at_known_level: matches!(window, Window::Last(_)),
            is_imported: candidate.newest().is_some_and(is_imported),
            ..self.wishes.options(Question::Gate)
        };
        let comparison = sides::compare(reading, &baseline, &candidate, options.clone())?;
        Ok(Checked {
            gate: Gate::new(name, run.clone(), comparison),
            baseline,
            candidate,
            options,
            records: Vec::new(),
        })
    }

    /// The options that confirmations share with this check.
    pub fn options(&self, question: Question) -> Options {
        self.wishes.options(question)
    }

    /// Writes the files that were asked for.
    pub fn write(&self, gate: &Gate, suite: &str) -> Result<()> {
        let write = |path: &Option<PathBuf>, content: String| match path {
            None => Ok(()),
            Some(path) => std::fs::write(path, content)
                .with_context(|| format!("{}: cannot be written", path.display())),
        };
        write(&self.files.junit, junit::gate(gate, suite))?;
        write(&self.files.markdown, markdown::gate(gate) + "\n")
    }

    /// The exit code of a gate.
    pub fn exit_of(&self, gate: &Gate) -> Exit {
        let open = [State::NoBaseline, State::NotMeasured, State::Inconclusive];
        let is_open = gate.comparison.is_inconclusive() || open.contains(&gate.state);
        if gate.is_worse() {
            Exit::Found
        } else if gate.state == State::NotMeasured && gate.missing() > 0 {
            // As `run` says of a run that measures nothing.
            Exit::CouldNotRun
        } else if self.wishes.fail_inconclusive && is_open {
            Exit::Inconclusive
        } else {
            Exit::Fine
        }
    }
}

/// Whether a run was measured by another tool, and so cannot be run again.
pub fn is_imported(view: &RunView) -> bool {
    matches!(view.manifest.suite.source, Source::Imported(_))
}

/// The run that is meant: the one that is named, else the newest that came to its end and is a night of its own.
pub fn night(store: &Store, name: Option<&str>) -> Result<RunId> {
    if let Some(name) = name {
        return Ok(store.resolve(name)?);
    }
    let mut nights = newest_nights(store, 1, |_| true)?;
    match nights.pop() {
        Some(row) => Ok(row.run),
        // Says what to do where there is no run at all.
        None => Ok(store.resolve("latest")?),
    }
}

fn parse(store: &Store, name: &str) -> Result<Window> {
    if let Some(count) = name.strip_prefix("last:") {
        let count = count.parse().ok().filter(|count| *count > 0);
        return Ok(Window::Last(count.context(
            "expected `last:N` with N a whole number from 1 on, such as last:20",
        )?));
    }
    if let Some(tag) = name.strip_prefix("tag:") {
        // An unknown tag is an error that lists those there are.
        store.resolve(name)?;
        return Ok(Window::Tag(tag.into()));
    }
    if let Some((first, last)) = name.split_once("..") {
        return Ok(Window::Between(store.resolve(first)?, store.resolve(last)?));
    }
    let runs = name.split(',').map(|part| store.resolve(part.trim()));
    Ok(Window::Runs(runs.collect::<Result<_, _>>()?))
}
