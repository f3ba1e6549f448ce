//! The cases of a run that is not among the newest: the value that each series has of it.
//!
//! These rows are no template's, and what they show is bare of all but name, link and value: a site of a thousand runs has a
//! million of them, and a template takes ten times as long for each.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use assay_verdicts::RunSummary;
use serde::Serialize;

use crate::format::Quantity;
use crate::model::Library;
use crate::pages::part::{self, Tally};
use crate::text::escaped;
use crate::values::Value;

/// Usual length of a row, in bytes.
const ROW: usize = 260;

/// The values of a run.
#[derive(Serialize)]
pub struct ValuesView {
    /// Rows of the table, as HTML.
    rows: String,
    count: usize,
    /// Cases of the run that neither have a value nor are known to have gone wrong.
    others: usize,
    #[serde(skip)]
    pub tally: Tally,
}

/// What the series have of a run in which `troubles` went wrong.
pub fn view(library: &Library<'_>, troubles: &RunSummary) -> ValuesView {
    let run = &troubles.run;
    let count = library.values.of_run(&run.run).count();
    let arms: BTreeSet<&str> = library
        .values
        .of_run(&run.run)
        .map(|value| value.history.series.key.arm.as_str())
        .collect();
    let mut rows = String::with_capacity(ROW * count);
    let (mut good, mut beyond) = (BTreeSet::new(), BTreeSet::new());
    for value in library.values.of_run(&run.run) {
        let of = if value.impossible.is_empty() {
            &mut good
        } else {
            &mut beyond
        };
        of.insert(value.case);
        row(&mut rows, &value, arms.len() > 1);
    }
    let mut tally = part::tally(&troubles.cases);
    let known: BTreeSet<u32> = troubles
        .cases
        .iter()
        .filter_map(|case| library.values.case(&case.case.case, &case.case.arm))
        .collect();
    let own = good
        .difference(&known)
        .filter(|case| !beyond.contains(case));
    tally.ok += own.count();
    tally.wrong += beyond.difference(&known).count();
    let planned = library.manifest(&run.manifest);
    let planned = planned.map_or(0, |planned| planned.cases.len() * planned.arms.len());
    let told = tally.ok + tally.failed + tally.wrong + tally.skipped;
    ValuesView {
        rows,
        count,
        others: planned.saturating_sub(told),
        tally,
    }
}

/// Writing to a string does not fail.
fn row(rows: &mut String, value: &Value<'_>, has_arms: bool) {
    let unit = &value.history.series.metric.unit;
    let [name, arm] = value.head;
    rows.push_str("<tr><th scope=\"row\">");
    rows.push_str(name);
    if has_arms {
        rows.push_str(arm);
    }
    rows.push_str("</th><td class=\"num\">");
    quantity(rows, &part::number(value.estimate, unit));
    if !value.impossible.is_empty() {
        rows.push_str(
            " <span class=\"badge bad\"><span aria-hidden=\"true\">↯</span> impossible</span>",
        );
    }
    rows.push_str("</td></tr>\n");
}

/// As the component of this name.
fn quantity(rows: &mut String, shown: &Quantity) {
    let _ = write!(rows, "<data value=\"{}\">{}", shown.exact, shown.value);
    if let Some(words) = &shown.uncertainty {
        let words = escaped(words);
        let _ = write!(rows, " <span class=\"pm\">{words}</span>");
    }
    if !shown.unit.is_empty() {
        let unit = escaped(&shown.unit);
        let _ = write!(rows, " <span class=\"unit\">{unit}</span>");
    }
    rows.push_str("</data>");
}
