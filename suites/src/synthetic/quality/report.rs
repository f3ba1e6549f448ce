//! All scores of a synthetic table beside its floors.

use assay_protocol::{DeviceSelector, Failure};
use serde::Serialize;

use super::closeness::{Closeness, Yardstick};
use super::constraints::{Constraints, Declared, constraints};
use super::copies::{CopiedKeys, Copies, copied_keys, copies};
use super::detection::{Detection, detect};
use super::scores::{ColumnScore, PairScore, Parts, Scores, column_scores, mean, pair_scores};
use super::utility::{Utility, utility};
use super::{some_places, some_rows};
use crate::synthetic::generators::independent::Independent;
use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{Table, TableError};

/// Rows of which detection and utility learn, at most.
const LEARNED_ROWS: usize = 20_000;
/// Columns that detection and utility see, at most, and of which utility is taken: their work goes with the square of the first (with
/// its cube, where there are fewer rows), and with the second.
const LEARNED_COLUMNS: usize = 100;
const TARGETS: usize = 25;
/// Random streams of those columns.
const COLUMNS_STREAM: u64 = 20;
const TARGETS_STREAM: u64 = 21;
/// What makes independent columns others than those that the generator of that name makes of a usual seed, which may be what is scored.
const FLOOR_SEED: u64 = 0x666c_6f6f_7273;
/// Random stream of a bootstrap, and the first of those of the rows that are learned of.
const BOOTSTRAP_STREAM: u64 = 4;
const LEARNED_STREAM: u64 = 10;

/// What a table scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Each column, beside both floors.
    pub columns: Vec<ColumnScore>,
    /// Each pair of columns that has a score, beside both floors.
    pub pairs: Vec<PairScore>,
    /// Columns of the synthetic table that the real one has not: nothing is said of them.
    pub extra_columns: Vec<String>,
    /// Columns of keys: no score is taken of them, and rows that differ by nothing else are the same.
    pub key_columns: Vec<CopiedKeys>,
    /// Columns of numbers in one table and of texts in the other, taken as what the real one holds.
    pub recast_columns: Vec<String>,
    /// How many columns detection and utility see, and of how many; absent where they see all.
    pub learned_columns: Option<[usize; 2]>,
    /// Of how many columns utility is taken, and of how many; absent where it is of all that they see.
    pub utility_targets: Option<[usize; 2]>,
    /// The scores in short.
    pub scores: Scores,
    /// What as many rows drawn from the real ones score: the best that can be hoped for.
    pub bootstrap: Scores,
    /// What independent columns score: what is to be beaten.
    pub independent: Scores,
    /// Whether a classifier tells rows apart.
    pub detection: Option<Detection>,
    /// Whether it tells those of the bootstrap apart, and independent columns.
    pub detection_floors: [Option<Detection>; 2],
    /// What can be learned from them, for each column.
    pub utility: Vec<Utility>,
    /// Mean of what is [kept](Utility::kept), over columns from which there is something to learn.
    pub utility_kept: Option<f64>,
    /// The same of the bootstrap, and of independent columns.
    pub utility_floors: [Option<f64>; 2],
    /// Rows that are no new ones.
    pub copies: Copies,
    /// The same of the bootstrap, which has nothing else, and of independent columns.
    pub copies_floors: [Copies; 2],
    /// How close they come to real ones.
    pub closeness: Option<Closeness>,
    /// How close the bootstrap comes, whose rows are real ones, and independent columns.
    pub closeness_floors: [Option<Closeness>; 2],
    /// What rows break of what is declared; absent where nothing is.
    pub constraints: Option<Constraints>,
}

/// Scores a synthetic table against the real one it was learned from. `held_out` are real rows that it was not learned from,
/// where there are some; without them, utility is tested on the rows that were learned from, and nothing is said of overfitting.
/// Rows of large tables, and columns of wide ones, are drawn at random where work would grow too much with them; copies are looked for
/// among all.
///
/// # Errors
/// If the tables have other columns, or no rows.
pub fn report(
    real: &Table,
    held_out: Option<&Table>,
    synthetic: &Table,
    seed: u64,
) -> Result<Report, TableError> {
    report_on(&DeviceSelector::CPU, real, held_out, synthetic, None, seed)
}

/// As [`report`], with distances taken by a device: a CUDA device compares more rows. `declared` is what rows are to keep to, if that is
/// known.
///
/// # Errors
/// If the tables have other columns or no rows, or if the device cannot.
pub fn report_on(
    device: &DeviceSelector,
    real: &Table,
    held_out: Option<&Table>,
    synthetic: &Table,
    declared: Option<Declared<'_>>,
    seed: u64,
) -> Result<Report, TableError> {
    // Before columns are compared: those of a table without rows hold nothing that could fit.
    ensure_rows("real", Some(real))?;
    ensure_rows("synthetic", Some(synthetic))?;
    ensure_rows("held-out", held_out)?;
    let extra_columns = real.lacks(synthetic);
    let recast_columns = real.recast(synthetic);
    let real = real.with_keys_of(synthetic);
    let real = real.as_ref();
    let synthetic = &real.align(synthetic)?;
    let held_out = held_out.map(|table| {
        let aligned = real.align(table);
        aligned.map_err(|error| TableError::Table(format!("the held-out table: {error}")))
    });
    let held_out = held_out.transpose()?;
    let rows = synthetic.rows();
    let independent = Independent::fit(real)?.rows(seed ^ FLOOR_SEED, 0, rows);
    let independent = real.align(&independent)?;
    let drawn = drawn(real.rows(), rows, seed);
    let bootstrap = real.select(&drawn);
    let tables = [synthetic, &bootstrap, &independent];
    let parts = tables.map(|table| Parts::of(real, table));
    let [scores, of_again, of_apart] =
        [0, 1, 2].map(|which| parts[which].scores(real, tables[which], seed));
    let constraints = declared
        .map(|declared| constraints(declared, [real, synthetic, &independent], &drawn))
        .transpose()?;
    let test = held_out.as_ref().unwrap_or(real);
    let learned = learned([real, synthetic, test, &bootstrap, &independent], seed);
    let close = closeness(
        device,
        [real, synthetic, &bootstrap, &independent],
        held_out.as_ref(),
        seed,
    );
    let [close, of_bootstrap, of_independent] = close.map_err(|failure| {
        TableError::Table(format!("distances to the closest record: {failure}"))
    })?;
    Ok(Report {
        extra_columns,
        key_columns: copied_keys(real, synthetic),
        recast_columns,
        learned_columns: learned.columns,
        utility_targets: learned.targets,
        columns: column_scores(real, &parts),
        pairs: pair_scores(real, &parts),
        scores,
        bootstrap: of_again,
        independent: of_apart,
        utility_kept: learned.kept(0),
        utility_floors: [learned.kept(1), learned.kept(2)],
        utility: learned.utility,
        detection: learned.detection,
        detection_floors: learned.detection_floors,
        copies: copies(real, synthetic),
        copies_floors: [&bootstrap, &independent].map(|table| copies(real, table)),
        closeness: close,
        closeness_floors: [of_bootstrap, of_independent],
        constraints,
    })
}

/// What classifiers learn.
struct Learned {
    columns: Option<[usize; 2]>,
    targets: Option<[usize; 2]>,
    detection: Option<Detection>,
    detection_floors: [Option<Detection>; 2],
    utility: Vec<Utility>,
}

impl Learned {
    /// Mean of what synthetic rows, a bootstrap or independent columns keep.
    fn kept(&self, which: usize) -> Option<f64> {
        let of_columns = self.utility.iter().filter_map(Utility::kept);
        Some(mean(of_columns.map(|kept| kept[which]))).filter(|mean| !mean.is_nan())
    }
}

/// Detection and utility of the real table, the synthetic one, what utility is tested on, a bootstrap and independent columns; of some
/// rows and columns, where there are many.
fn learned(tables: [&Table; 5], seed: u64) -> Learned {
    let all = tables[0].columns.len();
    let columns = some_places(all, LEARNED_COLUMNS, seed, COLUMNS_STREAM);
    let targets = some_places(columns.len(), TARGETS, seed, TARGETS_STREAM);
    let mut stream = LEARNED_STREAM;
    let [train, made, test, again, apart] = tables.map(|table| {
        stream += 1;
        some_rows(table, LEARNED_ROWS, seed, stream).columns_at(&columns)
    });
    let of = |some: usize, all: usize| (some < all).then_some([some, all]);
    let utility = targets
        .iter()
        .filter_map(|column| utility(&train, [&made, &again, &apart], &test, *column));
    Learned {
        utility: utility.collect(),
        columns: of(columns.len(), all),
        targets: of(targets.len(), columns.len()),
        detection: detect(&train, &made),
        detection_floors: [&again, &apart].map(|table| detect(&train, table)),
    }
}

/// That a table, if there is one, has rows.
fn ensure_rows(which: &str, table: Option<&Table>) -> Result<(), TableError> {
    if table.is_some_and(|table| table.rows() == 0) {
        return Err(TableError::Table(format!(
            "the {which} table has no rows: there is nothing to score"
        )));
    }
    Ok(())
}

/// How close three tables come to the first.
fn closeness(
    device: &DeviceSelector,
    [real, synthetic, bootstrap, independent]: [&Table; 4],
    held_out: Option<&Table>,
    seed: u64,
) -> Result<[Option<Closeness>; 3], Failure> {
    let yardstick = Yardstick::new(device, real, held_out, synthetic.rows(), seed)?;
    let Some(yardstick) = yardstick else {
        return Ok([None; 3]);
    };
    Ok([
        yardstick.closeness(synthetic)?,
        yardstick.closeness(bootstrap)?,
        yardstick.closeness(independent)?,
    ])
}

/// `rows` of `of` rows, with repetition.
fn drawn(of: usize, rows: usize, seed: u64) -> Vec<usize> {
    let row = |row| Draws::of_row(seed, BOOTSTRAP_STREAM, row).below(of as u64) as usize;
    (0..rows as u64).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::synthetic::generators::copula::Copula;
    use crate::synthetic::table::census;

    #[test]
    fn a_copula_lies_between_its_floors() {
        let (real, held_out) = (census::rows(1, 0, 2000), census::rows(1, 2000, 500));
        let made = Copula::fit(&real).unwrap().rows(1, 0, 2000);
        let report = report(&real, Some(&held_out), &made, 7).unwrap();
        assert!(
            report.bootstrap.quality > report.scores.quality,
            "{report:?}"
        );
        assert!(
            report.scores.trends > report.independent.trends + 0.01,
            "{report:?}"
        );
        assert!(
            report.scores.three_way < report.independent.three_way,
            "{report:?}"
        );
        assert!(report.copies.exact_copies < 0.01);
        let [bootstrap, independent] = report.detection_floors.map(Option::unwrap);
        let detection = report.detection.unwrap();
        assert!(detection.pmse_ratio < independent.pmse_ratio + 1.0 && bootstrap.pmse_ratio < 1.5);
        let kept = report.utility_kept.unwrap();
        let [best, worst] = report.utility_floors.map(Option::unwrap);
        assert!(worst + 0.1 < kept && kept < best, "{worst} {kept} {best}");
        // A bootstrap gives rows away; columns that are independent give away nothing but ranges.
        let [bootstrap, independent] = report.copies_floors;
        assert_eq!((bootstrap.copied_rows, independent.copied_rows), (2000, 0));
        let [bootstrap, independent] = report.closeness_floors.map(Option::unwrap);
        let close = report.closeness.unwrap();
        assert!(bootstrap.distance < 1e-9 && close.distance < independent.distance);
        // A quarter of the rows learned from are compared, as many as are held out; of the rest nothing is told.
        assert!(
            bootstrap.overfit_protection.unwrap() < 0.85,
            "{bootstrap:?}"
        );
        for protected in [close, independent] {
            assert!(
                protected.overfit_protection.unwrap() > 0.85,
                "{protected:?}"
            );
        }
        assert_eq!((report.columns.len(), report.pairs.len()), (15, 105));
    }

    #[test]
    fn of_wide_tables_some_columns_are_learned_of_and_that_is_said() {
        let table = |from: u64| census::households_from(1, from, 120, 130);
        let found = report(&table(0), None, &table(120), 7).unwrap();
        assert_eq!(found.learned_columns, Some([100, 130]));
        assert_eq!(found.utility_targets, Some([25, 100]));
        assert!(found.utility.len() <= 25 && found.utility.len() > 15);
        let different: std::collections::HashSet<_> =
            found.utility.iter().map(|one| &one.target).collect();
        assert_eq!(different.len(), found.utility.len());
        assert_eq!(found.columns.len(), 130, "all else is of all");
        let narrow = report(&census::rows(1, 0, 60), None, &table(0), 7).unwrap();
        assert_eq!(
            (narrow.learned_columns, narrow.utility_targets),
            (None, None)
        );
        assert_eq!(narrow.extra_columns.len(), 115);
    }

    #[test]
    fn copies_are_found_wherever_they_lie_and_without_rows_held_out() {
        // Beyond the first five thousand rows, which are as many as are compared one by one.
        let real = census::rows(1, 0, 5600);
        let places: Vec<usize> = (5400..5500).chain(5400..5450).collect();
        let copied = real.select(&places);
        let found = report(&real, None, &copied, 7).unwrap();
        assert_eq!(
            (found.copies.copied_rows, found.copies.repeated_rows),
            (150, 50)
        );
        let closeness = found.closeness.unwrap();
        assert_eq!((closeness.real_rows, closeness.synthetic_rows), (5000, 150));
        // Most of the rows that were copied are among those drawn, wherever they lie.
        assert!(closeness.distance < 1e-9, "{closeness:?}");
        assert!(closeness.overfit_protection.is_none());
    }
}
