//! `assay compare`: two sides or more, in every metric that has a direction.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use assay_store::{Access, Store};
use assay_verdicts::Comparison;
use assay_verdicts::comparison::{Options, Question, Reason};

use crate::database;
use crate::errors::Exit;
use crate::gating::Wishes;
use crate::settings::Settings;
use crate::show::{self, markdown, verdicts};
use crate::sides::{self, Property, Side, Values};

/// How many reasons an error lists.
const LISTED: usize = 3;

/// What to compare and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs: an id, a unique prefix of one, `latest`, `latest~1`, or `tag:NAME`; `A,B,C` is one side of several. The first is the
    /// baseline. With --by, the runs to group; one or none stands for all runs of its suite on its machine.
    runs: Vec<String>,
    /// Group the runs by a property and compare the groups, the first with each other one.
    #[arg(long, value_name = "PROPERTY")]
    by: Option<Property>,
    /// Only this metric; may be given again.
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// Compare cases whose definitions differ all the same.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wishes: Wishes,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
    /// Markdown on standard output, for a job summary.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let comparisons = {
        let store = database::open(&settings, Access::Read)?;
        compare(&store, args)?
    };
    if args.json {
        match &comparisons[..] {
            [one] => show::json(one)?,
            many => show::json(&many)?,
        }
    } else if args.markdown {
        crate::say!("{}", markdown::comparisons(&comparisons));
    } else {
        crate::say!("{}", verdicts::comparisons(&comparisons));
    }
    Ok(exit_of(&comparisons, args.wishes.fail_inconclusive))
}

/// The first side with each other one.
fn compare(store: &Store, args: &Args) -> Result<Vec<Comparison>> {
    let sides = if let Some(by) = args.by {
        sides::grouped(store, &args.runs, by)?
    } else {
        ensure!(
            args.runs.len() > 1,
            "expected two runs or more, such as `assay compare latest~1 latest`; with --by gpu, driver, image, commit or arm, one or none is enough"
        );
        sides::named(store, &args.runs)?
    };
    let Some((baseline, others)) = sides.split_first() else {
        bail!("there is nothing to compare");
    };
    // Only the terminal is read by nobody else.
    let values = if args.json || args.markdown {
        Values::Hidden
    } else {
        Values::Shown
    };
    let options = Options {
        force: args.force,
        metrics: metrics(&args.metric, &sides)?,
        ..args.wishes.options(Question::Difference)
    };
    others
        .iter()
        .map(|other| {
            let margins = match other.newest() {
                Some(newest) => args.wishes.margins(store, &newest.run)?,
                None => BTreeMap::new(),
            };
            let options = Options {
                margins,
                ..options.clone()
            };
            let pair = [baseline, other];
            // Arms are of one run, and commits are what differs.
            let is_pooled = !matches!(args.by, None | Some(Property::Arm | Property::Commit));
            let comparison = if is_pooled {
                sides::compare_pooled(values, store.into(), pair, options)?
            } else {
                sides::compare_saying(values, store.into(), pair, options)?
            };
            refuse_nothing(comparison)
        })
        .collect()
}

/// The metrics that were asked for, if any case has them.
fn metrics(asked: &[String], sides: &[Side]) -> Result<Option<BTreeSet<String>>> {
    if asked.is_empty() {
        return Ok(None);
    }
    let cases = sides
        .iter()
        .flat_map(|side| &side.runs)
        .flat_map(|view| view.cases.iter());
    let known: BTreeSet<&str> = cases
        .flat_map(|case| &case.metrics)
        .map(|metric| metric.name.as_str())
        .collect();
    for metric in asked {
        if !known.contains(metric.as_str()) {
            let names: Vec<&str> = known.into_iter().collect();
            bail!(
                "--metric {metric}: no case has it; there are {}",
                names.join(", ")
            );
        }
    }
    Ok(Some(asked.iter().cloned().collect()))
}

/// Two sides with nothing in common are an error that says why.
fn refuse_nothing(comparison: Comparison) -> Result<Comparison> {
    if !comparison.is_empty() {
        return Ok(comparison);
    }
    let (baseline, candidate) = (&comparison.baseline.label, &comparison.candidate.label);
    let reasons: Vec<String> = comparison
        .left_out
        .iter()
        .take(LISTED)
        .map(|left| format!("{}: {}", left.case, left.note))
        .collect();
    let more = comparison.left_out.len().saturating_sub(LISTED);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    let is_different = comparison
        .left_out
        .iter()
        .any(|left| left.reason == Reason::Different);
    let hint = if is_different {
        "; --force compares them all the same"
    } else {
        ""
    };
    let why = if reasons.is_empty() {
        "no case of either was measured in a metric that has a direction".to_owned()
    } else {
        reasons.join("; ")
    };
    Err(anyhow::anyhow!("{why}{more}{hint}"))
        .with_context(|| format!("{baseline} and {candidate} have nothing in common to compare"))
}

fn exit_of(comparisons: &[Comparison], fail_inconclusive: bool) -> Exit {
    let any = |is: fn(&Comparison) -> bool| comparisons.iter().any(is);
    if any(Comparison::is_worse) {
        Exit::Found
    } else if fail_inconclusive && any(Comparison::is_inconclusive) {
        Exit::Inconclusive
    } else {
        Exit::Fine
    }
}
