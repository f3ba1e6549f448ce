//! From what people name to sides that can be compared: runs by their names, groups by a property, arms of one run.

mod commits;
mod differences;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_record::{Arm, Fingerprint, Timestamp};
use assay_store::{RunRow, Store};
use assay_verdicts::ceilings::Ceilings;
use assay_verdicts::comparison::{Loaded, Options};
use assay_verdicts::few_runs::MIN_HISTORY;
use assay_verdicts::nights::{Place, newest_start};
use assay_verdicts::window::MAIN_ARM;
use assay_verdicts::{Comparison, History, Nights, Reading, RunView};

pub use self::commits::{at_common_commits, compare_pooled};
pub use self::differences::{Differences, Values, of_environments};

/// How many digits of a commit are shown.
const COMMIT_DIGITS: usize = 12;

/// What runs without a GPU are called among GPUs.
pub const NO_GPU: &str = "no GPU";

/// An arm of some runs, loaded.
#[derive(Clone, Debug)]
pub struct Side {
    /// What it is called.
    pub label: String,
    /// Name of the arm.
    pub arm: String,
    /// The runs, oldest first.
    pub runs: Vec<RunView>,
}

/// By what runs are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Property {
    /// Name of the machine.
    Machine,
    /// Model of the GPUs.
    Gpu,
    /// Version of the NVIDIA driver.
    Driver,
    /// Container image.
    Image,
    /// Commit of the measured project.
    Commit,
    /// Arms of one run, which were interleaved.
    Arm,
}

impl Side {
    /// The side as it is compared.
    pub fn loaded(&self) -> Loaded<'_> {
        Loaded {
            label: self.label.clone(),
            arm: self.arm.clone(),
            runs: self.runs.iter().collect(),
        }
    }

    /// Its last run.
    pub fn newest(&self) -> Option<&RunView> {
        self.runs.last()
    }
}

/// One side per name: a run, or several with commas between them.
pub fn named(store: &Store, names: &[String]) -> Result<Vec<Side>> {
    let mut seen = BTreeSet::new();
    let mut sides = Vec::new();
    for name in names {
        let mut runs = Vec::new();
        for part in name.split(',') {
            let run = store.resolve(part.trim())?;
            ensure!(
                seen.insert(run.clone()),
                "{run} is named twice, and is no different from itself; name another run"
            );
            runs.push(RunView::load(store, &run)?);
        }
        let side = side(String::new(), runs);
        sides.push(Side {
            label: label_of(&side.runs),
            ..side
        });
    }
    Ok(sides)
}

/// One side per value that a property has among the runs that are named; where none or one is, among all of its suite
/// (without a name the newest run's), of its arm and of its machine; for machines and GPUs, of every machine. The side that came first is the first.
pub fn grouped(store: &Store, names: &[String], by: Property) -> Result<Vec<Side>> {
    if by == Property::Arm {
        return arms(store, names);
    }
    let mut runs = group_members(store, names, by)?;
    runs.sort_by(|a, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
    let sides = groups(store, RunView::load_all(store, runs)?, by)?;
    if let [only] = &sides[..] {
        let runs = only.runs.len();
        bail!(
            "there is one {} among {runs} run{}, `{}`: nothing to compare; name runs that differ in it",
            format!("{by:?}").to_lowercase(),
            if runs == 1 { "" } else { "s" },
            only.label
        );
    }
    Ok(sides)
}

/// One side per value that a property has among runs, oldest first; the side that came first is the first.
pub fn groups(
    store: &Store,
    views: impl IntoIterator<Item = RunView>,
    by: Property,
) -> Result<Vec<Side>> {
    let views: Vec<RunView> = views.into_iter().collect();
    let prints = prints(store, &views, &[by])?;
    let mut sides: Vec<Side> = Vec::new();
    for view in views {
        let label = property(&prints, &view, by)?;
        match sides.iter_mut().find(|side| side.label == label) {
            Some(side) => side.runs.push(view),
            None => sides.push(side(label, vec![view])),
        }
    }
    Ok(sides)
}

/// Sides by two properties at once, each with what it has of both, where that is wanted; the side that came first is the first.
pub fn crossed(
    store: &Store,
    views: &[RunView],
    by: [Property; 2],
    is_wanted: impl Fn(&[String; 2]) -> bool,
) -> Result<Vec<([String; 2], Side)>> {
    let prints = prints(store, views, &by)?;
    let mut sides: Vec<([String; 2], Side)> = Vec::new();
    for view in views {
        let labels = [
            property(&prints, view, by[0])?,
            property(&prints, view, by[1])?,
        ];
        if !is_wanted(&labels) {
            continue;
        }
        match sides.iter_mut().find(|(have, _)| *have == labels) {
            Some((_, side)) => side.runs.push(view.clone()),
            None => sides.push((labels.clone(), side(labels.join(", "), vec![view.clone()]))),
        }
    }
    Ok(sides)
}

fn group_members(store: &Store, names: &[String], by: Property) -> Result<Vec<RunRow>> {
    let mut rows = Vec::new();
    for name in names.iter().flat_map(|name| name.split(',')) {
        rows.push(store.run(&store.resolve(name.trim())?)?);
    }
    if rows.len() > 1 {
        let mut seen = BTreeSet::new();
        rows.retain(|row| seen.insert(row.run.clone()));
        return Ok(rows);
    }
    let of = match rows.pop() {
        Some(row) => row,
        None => store.run(&store.resolve("latest")?)?,
    };
    let all = store.runs()?;
    let nights = Nights::among(store, &all, newest_start(&all, Timestamp::now()))?;
    let is_wide = matches!(by, Property::Gpu | Property::Machine);
    let has = |runs: &[&RunRow]| runs.iter().any(|row| row.run == of.run);
    let place = nights.places().find(|(_, runs)| has(runs));
    let arm = place.map(|(place, _)| &place.arm);
    // A side is of one arm: that of the run that was named.
    let belongs = |place: &Place| {
        let is_here = is_wide || place.machine == of.machine;
        is_here && place.suite == of.suite && arm.is_none_or(|arm| place.arm == *arm)
    };
    let own = nights.places().filter(|(place, _)| belongs(place));
    let all: Vec<RunRow> = own
        .flat_map(|(_, runs)| runs)
        .map(|row| (*row).clone())
        .collect();
    ensure!(
        !all.is_empty(),
        "no run of suite `{}` came to its end; name the runs to group",
        of.suite
    );
    Ok(all)
}

/// Arms of one run, in the order of its manifest.
fn arms(store: &Store, names: &[String]) -> Result<Vec<Side>> {
    ensure!(
        names.len() <= 1,
        "arms are compared within one run, and {} runs are named; without --by arm their arms named `{MAIN_ARM}` are compared",
        names.len()
    );
    let name = names.first().map_or("latest", String::as_str);
    let view = RunView::load(store, &store.resolve(name)?)?;
    let arms: Vec<String> = view
        .manifest
        .arms
        .iter()
        .map(|arm| arm.name.clone())
        .collect();
    if let [only] = &arms[..] {
        bail!(
            "run {} has one arm, `{only}`: nothing to compare; `assay run SUITE --arm A=... --arm B=...` interleaves several",
            view.run.run
        );
    }
    let sides = arms.into_iter().map(|arm| Side {
        label: arm.clone(),
        arm,
        runs: vec![view.clone()],
    });
    Ok(sides.collect())
}

/// Some runs by their arm `main`, or where there is none, their first.
pub fn side(label: String, mut runs: Vec<RunView>) -> Side {
    runs.sort_by(|a, b| (a.run.started, &a.run.run).cmp(&(b.run.started, &b.run.run)));
    let arms = runs.last().map_or(&[][..], |view| &view.manifest.arms);
    let main = arms
        .iter()
        .find(|arm| arm.name == MAIN_ARM)
        .or(arms.first());
    Side {
        label,
        arm: main.map_or(MAIN_ARM.into(), |arm| arm.name.clone()),
        runs,
    }
}

/// What runs are called where nobody named them otherwise.
pub fn label_of(runs: &[RunView]) -> String {
    match runs {
        [] => "no run".into(),
        [one] => one.run.run.to_string(),
        [first, .., last] => {
            format!("{} runs, {} to {}", runs.len(), first.run.run, last.run.run)
        }
    }
}

/// Fingerprints of runs by their digests, where a property asks for them: by one scan for all.
fn prints(
    store: &Store,
    views: &[RunView],
    by: &[Property],
) -> Result<BTreeMap<Digest, Fingerprint>> {
    let is_asked = |by: &Property| matches!(by, Property::Gpu | Property::Driver);
    if !by.iter().any(is_asked) {
        return Ok(BTreeMap::new());
    }
    let digests = views.iter().map(|view| view.run.before).collect();
    Ok(store.fingerprints(&digests)?)
}

fn property(
    prints: &BTreeMap<Digest, Fingerprint>,
    view: &RunView,
    by: Property,
) -> Result<String> {
    let fingerprint = || {
        let found = prints.get(&view.run.before);
        found.with_context(|| {
            format!(
                "run {}: its fingerprint is not in the database",
                view.run.run
            )
        })
    };
    Ok(match by {
        Property::Machine => view.run.machine.clone(),
        Property::Gpu => gpus(fingerprint()?),
        Property::Driver => {
            let field = fingerprint()?.software.get("nvidia.driver");
            let known = field.filter(|field| field.value().is_some());
            known.map_or("no NVIDIA driver".into(), ToString::to_string)
        }
        Property::Image => {
            let arm = view.manifest.arms.first();
            arm.map_or("no image".into(), image_of)
        }
        Property::Commit => commit_of(&view.run),
        Property::Arm => MAIN_ARM.into(),
    })
}

/// An arm's image as it is shown: `worker-cpu (1b2c3d4e5f60)`, by the digest that says what is in it.
fn image_of(arm: &Arm) -> String {
    let Some(image) = &arm.image else {
        return "no image".into();
    };
    let config = image.oci.map(|oci| oci.config);
    let digest = config.or(image.file.as_ref().map(|file| file.digest));
    let digest = digest.map_or(String::new(), |digest| format!(" ({})", digest.short()));
    format!("{}{digest}", image.environment)
}

fn gpus(fingerprint: &Fingerprint) -> String {
    let mut models: BTreeMap<String, usize> = BTreeMap::new();
    for (name, field) in &fingerprint.hardware {
        let of_gpu = name.strip_prefix("gpu.");
        let is_model = of_gpu.is_some_and(|rest| rest.split('.').nth(1) == Some("name"));
        if is_model && field.value().is_some() {
            *models.entry(field.to_string()).or_default() += 1;
        }
    }
    let named = models.into_iter().map(|(model, count)| match count {
        1 => model,
        _ => format!("{count} x {model}"),
    });
    let all = named.collect::<Vec<_>>().join(" + ");
    if all.is_empty() { NO_GPU.into() } else { all }
}

/// A run's commit as it is shown: `3e724a6db1c0`, `3e724a6db1c0 with changes`, `no commit`.
fn commit_of(row: &RunRow) -> String {
    let changes = if row.dirty { " with changes" } else { "" };
    row.commit.as_ref().map_or("no commit".into(), |commit| {
        format!("{}{changes}", short(commit))
    })
}

fn short(commit: &str) -> String {
    commit.chars().take(COMMIT_DIGITS).collect()
}

/// The comparison of two sides, with what differs between their last runs said first. Pages, files and logs of CI systems are read by
/// anybody: of variables they get the names.
pub fn compare(
    reading: Reading<'_>,
    baseline: &Side,
    candidate: &Side,
    options: Options,
) -> Result<Comparison> {
    compare_saying(Values::Hidden, reading, [baseline, candidate], options)
}

/// The same, with values of variables or without.
pub fn compare_saying(
    values: Values,
    reading: Reading<'_>,
    [baseline, candidate]: [&Side; 2],
    options: Options,
) -> Result<Comparison> {
    let store = reading.store;
    let runs = baseline.runs.len().max(candidate.runs.len());
    let history = match candidate.newest() {
        Some(newest) if runs < MIN_HISTORY => History::before(reading, newest)?,
        _ => History::default(),
    };
    let views = baseline.runs.iter().chain(&candidate.runs);
    let options = Options {
        differences: Differences::between(store, [baseline, candidate], values)?.all(),
        ceilings: Ceilings::of_all(store, views.map(|view| view.run.machine.as_str()))?,
        ..options
    };
    Ok(Comparison::of(
        &baseline.loaded(),
        &candidate.loaded(),
        &history,
        options,
    ))
}
