//! The figures of a report: what each is called and means, its value and those of both floors, in the order in which they are shown.
//!
//! Commands, pages and data cards show the same ones.

use std::collections::BTreeMap;

use serde::Serialize;

use super::closeness::Closeness;
use super::copies::Copies;
use super::detection::Detection;
use super::report::Report;
use super::scores::Scores;

/// A figure of a report.
pub struct Figure {
    /// As commands have it.
    pub name: &'static str,
    /// In a line, with what is best.
    pub meaning: &'static str,
    /// Whether more is better, so that to reach a value is to have at least that.
    pub is_better_high: bool,
    /// The least and the largest value that it can have.
    pub range: [f64; 2],
    values: Values,
}

/// What a figure is read off, of the synthetic table and of both floors alike.
enum Values {
    Scores(fn(&Scores) -> f64),
    Detection(fn(&Detection) -> f64),
    Utility,
    Copies(fn(&Copies) -> f64),
    Closeness(fn(&Closeness) -> Option<f64>),
    Constraints,
}

impl Figure {
    const fn new(name: &'static str, meaning: &'static str, values: Values) -> Self {
        Self {
            name,
            meaning,
            is_better_high: true,
            range: [0.0, 1.0],
            values,
        }
    }

    const fn without_most(mut self) -> Self {
        self.range[1] = f64::INFINITY;
        self
    }

    const fn better_low(mut self) -> Self {
        self.is_better_high = false;
        self
    }

    /// Of the synthetic table, of a bootstrap of the real one, of independent columns; what is not a number is absent.
    pub fn values(&self, report: &Report) -> [Option<f64>; 3] {
        let values = match self.values {
            Values::Scores(value) => {
                [&report.scores, &report.bootstrap, &report.independent].map(|of| Some(value(of)))
            }
            Values::Detection(value) => {
                let [bootstrap, independent] = report.detection_floors;
                [report.detection, bootstrap, independent].map(|of| of.as_ref().map(value))
            }
            Values::Utility => {
                let [bootstrap, independent] = report.utility_floors;
                [report.utility_kept, bootstrap, independent]
            }
            Values::Copies(value) => {
                let [bootstrap, independent] = &report.copies_floors;
                [&report.copies, bootstrap, independent].map(|of| Some(value(of)))
            }
            Values::Closeness(value) => {
                let [bootstrap, independent] = report.closeness_floors;
                [report.closeness, bootstrap, independent].map(|of| of.as_ref().and_then(value))
            }
            Values::Constraints => {
                let of = report.constraints.as_ref();
                [0, 1, 2].map(|which| of.map(|of| [of.broken, of.floors[0], of.floors[1]][which]))
            }
        };
        values.map(|value| value.filter(|value| value.is_finite()))
    }

    /// Of a table of which nothing but these scores is known; `None` where that does not tell it.
    pub fn of_scores(&self, scores: &Scores) -> Option<f64> {
        match self.values {
            Values::Scores(value) => Some(value(scores)).filter(|value| value.is_finite()),
            _ => None,
        }
    }

    /// Whether [`Figure::of_scores`] tells it.
    pub fn is_of_scores(&self) -> bool {
        matches!(self.values, Values::Scores(_))
    }

    /// Those values in four digits; `none` where there is none.
    pub fn words(&self, report: &Report) -> [String; 3] {
        let words = |value: Option<f64>| value.map_or_else(|| "none".into(), |x| format!("{x:.4}"));
        self.values(report).map(words)
    }
}

/// The one that needs rows held out.
pub const OVERFIT: &str = "overfit_protection";

/// The one that needs a declared table.
pub const CONSTRAINTS: &str = "constraints";

/// All of them.
pub static FIGURES: [Figure; 14] = [
    Figure::new(
        "quality",
        "Mean of shapes and trends; 1 is best",
        Values::Scores(|s| s.quality),
    ),
    Figure::new(
        "shapes",
        "How alike the distributions of columns are; 1 is best",
        Values::Scores(|s| s.shapes),
    ),
    Figure::new(
        "trends",
        "How alike pairs of columns hang together; 1 is best",
        Values::Scores(|s| s.trends),
    ),
    Figure::new(
        "coverage",
        "How much of the ranges and categories occurs; 1 is best",
        Values::Scores(|s| s.coverage),
    ),
    Figure::new(
        "two_way",
        "Distance of joint distributions of two columns; 0 is best",
        Values::Scores(|s| s.two_way),
    )
    .better_low(),
    Figure::new(
        "three_way",
        "The same of three columns; 0 is best",
        Values::Scores(|s| s.three_way),
    )
    .better_low(),
    Figure::new(
        "auc",
        "Whether a classifier tells rows from real ones; 0.5 is best",
        Values::Detection(|d| d.auc),
    )
    .better_low(),
    Figure::new(
        "pmse_ratio",
        "How far it tells them apart, over what chance makes of rows drawn from the real ones; 1 is best",
        Values::Detection(|d| d.pmse_ratio),
    )
    .better_low()
    .without_most(),
    Figure::new(
        "utility",
        "How much of what real rows teach of a column is learned from these, mean of columns; 1 is best",
        Values::Utility,
    ),
    Figure::new(
        "exact_copies",
        "Share of rows that are a real row; less is more private",
        Values::Copies(|c| c.exact_copies),
    )
    .better_low(),
    Figure::new(
        "duplicates",
        "Share of rows that occurred before among themselves",
        Values::Copies(|c| c.duplicates),
    )
    .better_low(),
    Figure::new(
        "baseline_protection",
        "Distance to the closest real row over that of uniform values; 1 is best",
        Values::Closeness(|c| c.baseline_protection),
    ),
    Figure::new(
        OVERFIT,
        "Whether rows are no closer to those learned from than to those held out; 1 is best",
        Values::Closeness(|c| c.overfit_protection),
    ),
    Figure::new(
        CONSTRAINTS,
        "Share of rows that break what is declared of their table; 0 is best",
        Values::Constraints,
    )
    .better_low(),
];

/// What a data card says of quality.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// The table that rows were compared with: the name of its file.
    pub real: String,
    /// How many rows it has.
    pub real_rows: usize,
    /// How many rows were held out, where there were some.
    pub held_out_rows: Option<usize>,
    /// Each figure by its name.
    pub scores: BTreeMap<&'static str, CardScore>,
}

/// A figure on a card; what is not a number is null.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CardScore {
    /// Of the rows.
    pub value: Option<f64>,
    /// Of as many rows drawn from the real ones.
    pub bootstrap: Option<f64>,
    /// Of independent columns.
    pub independent: Option<f64>,
}

/// A report's figures for a card.
pub fn card_scores(report: &Report) -> BTreeMap<&'static str, CardScore> {
    let score = |figure: &Figure| {
        let [value, bootstrap, independent] = figure.values(report);
        let score = CardScore {
            value,
            bootstrap,
            independent,
        };
        (figure.name, score)
    };
    FIGURES.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use assay_protocol::DeviceSelector;

    use super::{FIGURES, card_scores};
    use crate::synthetic::generators::copula::Copula;
    use crate::synthetic::quality::constraints::Declared;
    use crate::synthetic::quality::report::{report, report_on};
    use crate::synthetic::table::census;

    #[test]
    fn every_figure_has_both_floors_and_is_on_the_card() {
        let (real, held_out) = (census::rows(1, 0, 300), census::rows(1, 300, 300));
        let made = Copula::fit(&real).unwrap().rows(1, 0, 200);
        let (table, others) = (census::declared(census::COLUMNS), [].into());
        let declared = Declared {
            table: &table,
            others: &others,
        };
        let device = DeviceSelector::CPU;
        let report = report_on(&device, &real, Some(&held_out), &made, Some(declared), 1);
        let report = report.unwrap();
        let card = card_scores(&report);
        assert_eq!(card.len(), FIGURES.len());
        assert_eq!(
            card["constraints"].bootstrap,
            Some(0.0),
            "the census keeps to itself"
        );
        for figure in &FIGURES {
            let values = figure.values(&report);
            assert!(
                values.iter().all(Option::is_some),
                "{}: {values:?}",
                figure.name
            );
            let [low, high] = figure.range;
            let is_within = |value: &f64| (low..=high).contains(value);
            assert!(values.iter().flatten().all(is_within), "{values:?}");
            let [value, bootstrap, independent] = values;
            let on_card = card[figure.name];
            assert_eq!(
                [on_card.value, on_card.bootstrap, on_card.independent],
                [value, bootstrap, independent]
            );
            assert!(!figure.words(&report).contains(&"none".to_owned()));
        }
        // Nobody is copied more than by a bootstrap, and nobody's distances say less.
        assert_eq!(card["exact_copies"].bootstrap, Some(1.0));
        assert_eq!(card["baseline_protection"].bootstrap, Some(0.0));
        assert!(card["overfit_protection"].bootstrap < card["overfit_protection"].independent);
    }

    #[test]
    fn what_there_is_no_score_of_is_absent_and_never_no_number() {
        let real = census::rows(1, 0, 20);
        let report = report(&real, None, &real, 1).unwrap();
        let card = serde_json::to_value(card_scores(&report)).unwrap();
        for name in ["auc", "utility", "overfit_protection", "constraints"] {
            assert!(card[name]["value"].is_null(), "{name}: {}", card[name]);
            assert!(card[name]["bootstrap"].is_null(), "{name}");
        }
        assert!(card["quality"]["value"].is_number());
    }
}
