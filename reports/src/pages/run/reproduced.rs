//! What a run says of the one that it reproduces.

use assay_protocol::Unit;
use assay_verdicts::{CaseReproduction, CaseSummary, Reproduction, RunSummary};
use serde::Serialize;

use super::{any_series, run_link};
use crate::format::Quantity;
use crate::model::Library;
use crate::pages::part::{self, Badge, LikenessView, Link, cell};
use crate::text;

/// The verdict in three parts, and its cases.
#[derive(Serialize)]
pub struct ReproductionView {
    original: Link,
    inputs: LikenessView,
    outputs: LikenessView,
    speed: Badge,
    speed_why: String,
    explanations: Vec<String>,
    cases: Vec<ReproducedCase>,
}

#[derive(Serialize)]
struct ReproducedCase {
    case: String,
    series: String,
    arm: String,
    inputs: Badge,
    outputs: Badge,
    speed: Badge,
    ratio: Option<Quantity>,
    note: String,
}

/// `None` where the run reproduces none that is known.
pub fn of(library: &Library<'_>, summary: &RunSummary, is_whole: bool) -> Option<ReproductionView> {
    let found = library
        .model
        .reproductions
        .iter()
        .find(|r| r.again == summary.run.run)?;
    let series = |case: &CaseReproduction| {
        let of = |own: &&CaseSummary| (&own.case.case, &own.case.arm) == (&case.case, &case.arm);
        let own = summary.cases.iter().find(of);
        own.map_or(String::new(), |own| {
            any_series(library, summary, own, is_whole)
        })
    };
    Some(reproduction_view(library, found, series))
}

fn reproduction_view(
    library: &Library<'_>,
    found: &Reproduction,
    series: impl Fn(&CaseReproduction) -> String,
) -> ReproductionView {
    let case = |case: &CaseReproduction| ReproducedCase {
        series: series(case),
        ..reproduced_case(case)
    };
    ReproductionView {
        original: run_link(library, &found.original),
        inputs: part::likeness(&found.inputs),
        outputs: part::likeness(&found.outputs),
        speed: part::speed(found),
        speed_why: speed_why(found),
        explanations: found
            .explanations
            .iter()
            .map(|one| text::clip(&one.text, 400).into_owned())
            .collect(),
        cases: found.cases.iter().map(case).collect(),
    }
}

/// Why the speed is a comparison, where it is one.
fn speed_why(found: &Reproduction) -> String {
    let why = found.comparison.as_deref().unwrap_or_default();
    text::clip(why, 400).into_owned()
}

fn reproduced_case(case: &CaseReproduction) -> ReproducedCase {
    ReproducedCase {
        case: cell(&case.case),
        series: String::new(),
        arm: cell(part::arm(&case.arm)),
        inputs: part::likeness(&case.inputs).badge,
        outputs: part::likeness(&case.outputs).badge,
        speed: part::verdict(case.speed),
        ratio: case
            .ratio
            .as_ref()
            .map(|ratio| part::number(ratio, &Unit::One)),
        note: text::clip(&case.note, 300).into_owned(),
    }
}
