//! `assay history`: how a case did over its runs, and where it changed.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use assay_record::Timestamp;
use assay_store::{Access, SeriesKey};
use assay_verdicts::CaseHistory;

use crate::errors::Exit;
use crate::settings::Settings;
use crate::{database, history, marks, show};

/// Most cases that a message lists.
const LISTED: usize = 20;
/// How many near names are offered.
const NEAR: usize = 5;

/// Which case.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id of a case, or a part of just one.
    case: String,
    /// Only this metric.
    #[arg(long)]
    metric: Option<String>,
    /// Only on this machine.
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// How many runs to list.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Machine output on standard output: every run.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let marks = marks::load(&settings)?;
    let today = Timestamp::now().day();
    let store = database::open(&settings, Access::Read)?;
    marks::complain(&settings, &marks, &store, today)?;
    let keys = store.series_keys()?;
    let case = find(&args.case, &keys)?;
    check("metric", args.metric.as_deref(), case, &keys, |key| {
        &key.metric
    })?;
    check("machine", args.machine.as_deref(), case, &keys, |key| {
        &key.machine
    })?;
    let mut histories = CaseHistory::of_case(&store, case, &marks, today)?;
    drop(store);
    let is = |wanted: &Option<String>, name: &String| wanted.as_ref().is_none_or(|own| own == name);
    histories.retain(|history| {
        let key = &history.series.key;
        is(&args.metric, &key.metric) && is(&args.machine, &key.machine)
    });
    if args.json {
        show::json(&histories)?;
    } else {
        history::print(case, &histories, args.last);
    }
    Ok(Exit::Fine)
}

/// The case that a name means: its id, or a part of just one id.
fn find<'a>(name: &str, keys: &'a [SeriesKey]) -> Result<&'a str> {
    let cases: BTreeSet<&str> = keys.iter().map(|key| key.case.as_str()).collect();
    if let Some(case) = cases.get(name) {
        return Ok(case);
    }
    let holding: Vec<&str> = cases
        .iter()
        .copied()
        .filter(|case| case.contains(name))
        .collect();
    match holding[..] {
        [case] => Ok(case),
        [] if cases.is_empty() => {
            bail!("no case has been measured yet: run a suite first with `assay run`")
        }
        [] => bail!(
            "no case is called `{}`; near it: {}",
            shortened(name),
            near(name, &cases).join(", ")
        ),
        _ => bail!(
            "`{}` is a part of {} cases; name one: {}",
            shortened(name),
            holding.len(),
            listed(&holding)
        ),
    }
}

/// The cases most like a name, compared with the whole id and with the benchmark's name in it.
fn near<'a>(name: &str, cases: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let name = shortened(name);
    let distance = |case: &str| {
        let benchmark = case.split(['[', '@']).next().unwrap_or(case);
        let last = benchmark.rsplit('/').next().unwrap_or(benchmark);
        let parts = [case, benchmark, last].into_iter();
        parts.map(|part| strsim::osa_distance(&name, part)).min()
    };
    let mut near: Vec<&str> = cases.iter().copied().collect();
    near.sort_by_cached_key(|case| distance(case));
    near.truncate(NEAR);
    near
}

/// Refuses a metric or machine that the case does not have.
fn check(
    what: &str,
    wanted: Option<&str>,
    case: &str,
    keys: &[SeriesKey],
    of: fn(&SeriesKey) -> &String,
) -> Result<()> {
    let of_case = keys
        .iter()
        .filter(|key| key.case == case)
        .map(|key| of(key).as_str());
    let known: BTreeSet<&str> = of_case.collect();
    match wanted {
        Some(wanted) if !known.contains(wanted) => {
            let known: Vec<&str> = known.into_iter().collect();
            bail!(
                "{case} has no {what} `{}`; it has: {}",
                shortened(wanted),
                listed(&known)
            )
        }
        _ => Ok(()),
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(200).collect()
}

fn listed(names: &[&str]) -> String {
    let more = names.len().saturating_sub(LISTED);
    let text = names[..names.len() - more].join(", ");
    if more == 0 {
        return text;
    }
    format!("{text} and {more} more")
}
