//! The page of a synthetic table's scores: a file of its own, that needs no other.
//!
//! It is given all that it shows, in words and shares: what synthetic data are is the business of whoever made them.

use serde::Serialize;

use crate::chart::{Bars, Heat, Words, bars, heat};
use crate::error::ReportError;
use crate::templates;

/// Most columns that are drawn, and that a map of pairs has.
const DRAWN: usize = 60;
const MAPPED: usize = 24;

/// What the page shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ScoreSheet {
    /// What it is about.
    pub title: String,
    /// That in a sentence.
    pub lead: String,
    /// What was required and not reached.
    pub missed: Vec<String>,
    /// The scores in short.
    pub scores: Vec<ScoreLine>,
    /// What else was found, a sentence each.
    pub notes: Vec<String>,
    /// What rows were declared to keep to and some do not.
    pub constraints: Vec<ConstraintLine>,
    /// How much else they were declared to keep to, and all do.
    pub kept_constraints: usize,
    /// What can be learned of columns.
    pub utility: Vec<UtilityLine>,
    /// Every column's scores.
    pub columns: Vec<ColumnLine>,
    /// Columns that are not drawn, for want of room.
    pub more_columns: usize,
    /// Distributions, in the order in which they are drawn.
    #[serde(skip)]
    pub distributions: Vec<Distribution>,
    /// The columns of the maps of pairs.
    #[serde(skip)]
    pub names: Vec<String>,
    /// Places of two columns, and how strongly they hang together in the real and in the synthetic table.
    #[serde(skip)]
    pub pairs: Vec<([usize; 2], [Option<f64>; 2])>,
    /// The pairs that fare worst.
    pub worst_pairs: Vec<PairLine>,
}

/// A score beside its floors.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreLine {
    /// The score.
    pub name: String,
    /// What it means, and which way is better.
    pub meaning: String,
    /// Of the synthetic table, of rows drawn from the real ones, of independent columns.
    pub values: [String; 3],
}

/// What rows were declared to keep to, and how many do not.
#[derive(Clone, Debug, Serialize)]
pub struct ConstraintLine {
    /// What ought to hold.
    pub what: String,
    /// The share of rows in which it does not: synthetic ones, rows drawn from the real ones, independent columns.
    pub broken: [String; 3],
    /// The first synthetic row in which it does not.
    pub first_row: String,
}

/// The scores of a column.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnLine {
    /// The column.
    pub name: String,
    /// Of its distribution: of the synthetic table, of rows drawn from the real ones, of independent columns.
    pub shape: [String; 3],
    /// Of its range or categories, likewise.
    pub coverage: [String; 3],
    /// Share of missing values: real, and then likewise.
    pub missing: [String; 4],
}

/// What synthetic rows teach of a column, tested on real ones.
#[derive(Clone, Debug, Serialize)]
pub struct UtilityLine {
    /// The column.
    pub column: String,
    /// What is foretold of it.
    pub question: String,
    /// Area under the curve of what was learned from synthetic rows.
    pub synthetic: String,
    /// The same of real rows.
    pub real: String,
    /// The same of rows drawn from the real ones, and of independent columns.
    pub floors: [String; 2],
    /// How much of the gain over chance is kept: by synthetic rows, by rows drawn from the real ones, by independent columns.
    pub kept: [String; 3],
}

/// The score of a pair.
#[derive(Clone, Debug, Serialize)]
pub struct PairLine {
    /// Both columns.
    pub names: String,
    /// Its score: of the synthetic table, of rows drawn from the real ones, of independent columns.
    pub trend: [String; 3],
}

/// A column's shares in bins.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// The column.
    pub name: String,
    /// Its score, and that of rows drawn from the real ones and of independent columns; `None` where it has none.
    pub shape: Option<[String; 3]>,
    /// Whether bins are of numbers.
    pub is_number: bool,
    /// What bins are called.
    pub bins: Vec<String>,
    /// Real and synthetic.
    pub shares: [Vec<f64>; 2],
}

#[derive(Serialize)]
struct Page<'a> {
    version: &'a str,
    stylesheet: &'a str,
    sheet: &'a ScoreSheet,
    columns: Vec<Figure>,
    heats: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    shape: Option<[String; 3]>,
    chart: String,
}

/// The page, as one file of HTML.
pub fn render(sheet: &ScoreSheet) -> Result<String, ReportError> {
    const PAGE: &str = "scores.html";
    let drawing = |reason| ReportError::Chart {
        page: PAGE.into(),
        reason,
    };
    let mut sheet = sheet.clone();
    sheet.more_columns = sheet.distributions.len().saturating_sub(DRAWN);
    let shown = sheet.distributions.iter().take(DRAWN).enumerate();
    let columns = shown.map(|(at, column)| figure(at, column));
    let columns = columns.collect::<Result<_, _>>().map_err(drawing)?;
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        stylesheet: templates::STYLESHEET,
        columns,
        heats: heats(&sheet).map_err(drawing)?,
        sheet: &sheet,
    };
    templates::render(PAGE, &page).map_err(|source| ReportError::Render {
        page: PAGE.into(),
        source: Box::new(source),
    })
}

fn figure(at: usize, column: &Distribution) -> Result<Figure, String> {
    let differences = column.shares[0].iter().zip(&column.shares[1]);
    let most = differences.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let description = format!(
        "{} bins of column {}, real and synthetic; the shares of one bin differ by at most {:.1} %",
        column.bins.len(),
        column.name,
        100.0 * most
    );
    let words = Words {
        id: &format!("column-{at}"),
        title: &format!("Distribution of {}", column.name),
        description: &description,
    };
    let chart = bars(
        &Bars {
            bins: &column.bins,
            is_number: column.is_number,
            shares: &column.shares,
        },
        words,
    )?;
    Ok(Figure {
        name: column.name.clone(),
        shape: column.shape.clone(),
        chart,
    })
}

/// What a map shows of how strongly a pair hangs together in both tables.
type Value = fn(&[Option<f64>; 2]) -> Option<f64>;

/// Maps of the first columns: real, synthetic, and by how much they differ.
fn heats(sheet: &ScoreSheet) -> Result<Vec<Figure>, String> {
    let names = &sheet.names[..sheet.names.len().min(MAPPED)];
    if names.len() < 2 || sheet.pairs.is_empty() {
        return Ok(vec![]);
    }
    let maps: [(&str, Value); 3] = [
        ("Real", |[real, _]| *real),
        ("Synthetic", |[_, synthetic]| *synthetic),
        ("Difference", |[real, synthetic]| {
            Some(((*real)? - (*synthetic)?).abs())
        }),
    ];
    let map = |(at, (name, value)): (usize, (&str, Value))| {
        let mut values = vec![vec![None; names.len()]; names.len()];
        let shown = sheet
            .pairs
            .iter()
            .filter(|([a, b], _)| *a < names.len() && *b < names.len());
        for ([a, b], strengths) in shown {
            values[*a][*b] = value(strengths);
            values[*b][*a] = value(strengths);
        }
        let title = format!("{name}: pairs of {} columns", names.len());
        let words = Words {
            id: &format!("pairs-{at}"),
            title: &title,
            description: "The darker a cell, the more; each says its value when it is pointed at",
        };
        Ok(Figure {
            name: name.into(),
            shape: None,
            chart: heat(
                &Heat {
                    names,
                    values: &values,
                },
                words,
            )?,
        })
    };
    maps.into_iter().enumerate().map(map).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        ColumnLine, ConstraintLine, Distribution, PairLine, ScoreLine, ScoreSheet, UtilityLine,
        render,
    };

    /// A sheet whose every text is hostile.
    fn sheet() -> ScoreSheet {
        let text = || "<script>x</script>".to_owned();
        let column = Distribution {
            name: text(),
            shape: Some(["0.9", "0.98", "0.97"].map(str::to_owned)),
            is_number: false,
            bins: vec![text(), "b".into()],
            shares: [vec![0.25, 0.75], vec![0.5, 0.5]],
        };
        ScoreSheet {
            title: text(),
            lead: text(),
            missed: vec![text()],
            scores: vec![ScoreLine {
                name: text(),
                meaning: text(),
                values: [text(), text(), text()],
            }],
            notes: vec![text()],
            constraints: vec![ConstraintLine {
                what: text(),
                broken: [text(), text(), text()],
                first_row: text(),
            }],
            kept_constraints: 7,
            utility: vec![UtilityLine {
                column: text(),
                question: text(),
                synthetic: text(),
                real: text(),
                floors: [text(), text()],
                kept: [text(), text(), text()],
            }],
            columns: vec![ColumnLine {
                name: text(),
                shape: [text(), text(), text()],
                coverage: [text(), text(), text()],
                missing: [text(), text(), text(), text()],
            }],
            more_columns: 0,
            distributions: vec![column; 70],
            names: vec![text(), "b".into()],
            pairs: vec![([0, 1], [Some(0.5), Some(0.25)])],
            worst_pairs: vec![PairLine {
                names: text(),
                trend: [text(), text(), text()],
            }],
        }
    }

    #[test]
    fn a_page_is_whole_by_itself_and_lets_no_text_through() {
        let page = render(&sheet()).unwrap();
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;"));
        assert!(page.contains("--paper"), "the stylesheet is within");
        assert!(!page.contains("href=\"assay.css"));
        assert_eq!(page.matches("class=\"chart bars\"").count(), 60);
        assert_eq!(page.matches("shape 0.9, beside 0.98 and 0.97").count(), 60);
        assert!(page.contains("And 10 more."));
        assert!(page.contains("h-utility") && page.contains("h-constraints"));
        assert!(page.contains("And 7 others"));
        // Both halves of each of three maps.
        assert_eq!(page.matches("<rect").count(), 6);
    }

    #[test]
    fn one_column_has_no_pairs() {
        let mut one = sheet();
        one.names.truncate(1);
        one.missed.clear();
        one.utility.clear();
        one.constraints.clear();
        one.kept_constraints = 0;
        let page = render(&one).unwrap();
        assert!(
            !["h-pairs", "h-missed", "h-utility", "h-constraints"]
                .iter()
                .any(|id| page.contains(id))
        );
    }
}
