//! Tables as a classifier takes them: rows of features, each with a label, in a part to learn from and one that is held out.
//!
//! They come from the [census-like generator](census), or from a file of the user's, of which the last tenth of the rows is held out. What
//! is foretold is a column: of categories its labels, of numbers whether they lie above their median. Features are those of
//! [`Encoder`], learned from the first part alone. Columns that name rows have none, and are told; one that is taken for such because of a
//! few cells among numbers is refused.

use std::collections::HashSet;
use std::path::Path;

use assay_protocol::{Digest, Failure};
use rayon::prelude::*;

use super::leaks;
use crate::synthetic::quality::features::Encoder;
use crate::synthetic::table::doubts::{NearlyNumbers, nearly_numbers};
use crate::synthetic::table::{Column, MISSING, Table, Values, census, file};

/// Most labels of a column that is foretold.
pub(super) const MOST_CLASSES: usize = 1024;
/// Fewest rows of either part.
const LEAST_ROWS: usize = 10;
/// The generator's rows that are held out, by their numbers: those from here on.
const HELD_OUT: u64 = 1 << 32;

/// Rows of features, one behind the other, and the label of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// So many numbers a row.
    pub x: Vec<f32>,
    /// One a row.
    pub labels: Vec<u32>,
}

impl Labelled {
    /// The share of another part's rows that this one has as well, with their labels.
    pub fn leaked_to(&self, held_out: &Self) -> f64 {
        let [known, others] = [self, held_out].map(|part| {
            let rows = part
                .x
                .par_chunks_exact((part.x.len() / part.labels.len().max(1)).max(1));
            let rows = rows.zip(&part.labels);
            rows.map(|(row, label)| leaks::name(&[row], Some(*label)))
        });
        leaks::share(known, others)
    }
}

/// A table in two parts.
#[derive(Clone, Debug)]
pub struct Rows {
    /// What is trained on.
    pub train: Labelled,
    /// What a model is judged by.
    pub held_out: Labelled,
    /// Features of a row.
    pub features: usize,
    /// Different labels.
    pub classes: usize,
    /// Digest of the table.
    pub digest: Digest,
    /// What is foretold, in words.
    pub question: String,
    /// Columns that have no features, for nearly every value is another,
    pub keys: Vec<String>,
    /// and those of labels that would be of numbers but for some cells, in words.
    pub mixed: Vec<String>,
    /// Rows of which that is missing, and which are left out.
    pub unanswered: usize,
    /// Held-out rows with a label that no row to learn from has: they are left out, too.
    pub unknown: usize,
    /// The share of held-out rows that the model is trained on as well.
    pub leaked: f64,
}

impl Rows {
    /// So many rows of the generator, and a tenth of that held out.
    ///
    /// # Errors
    /// If it has no such column, or there are too few rows.
    pub fn of_census(seed: u64, rows: usize, target: &str) -> Result<Self, String> {
        let train = census::rows(seed, 0, rows);
        let held_out = census::rows(seed, HELD_OUT, rows.div_ceil(10));
        Self::of_parts(&train, &held_out, target)
    }

    /// A file's rows, of which the last tenth is held out.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, has no such column, or too few rows.
    pub fn of_file(path: &Path, target: &str) -> Result<Self, Failure> {
        let say = |what: String| Failure::Failed(format!("parameter `table`: {what}"));
        let table = file::read(path).map_err(|error| say(error.to_string()))?;
        let others = table.columns.iter().filter(|column| column.name != target);
        let mixed = mixed(others).map_err(|what| say(format!("{}: {what}", path.display())))?;
        let count = table.rows();
        let split = count - count.div_ceil(10);
        let part = |range: std::ops::Range<usize>| table.select(&range.collect::<Vec<_>>());
        let rows = Self::of_parts(&part(0..split), &part(split..count), target)
            .map_err(|what| say(format!("{}: {what}", path.display())))?;
        Ok(Self { mixed, ..rows })
    }

    fn of_parts(train: &Table, held_out: &Table, target: &str) -> Result<Self, String> {
        let names: Vec<_> = train.columns.iter().map(|c| c.name.as_str()).collect();
        let place = names.iter().position(|name| *name == target);
        let place = place.ok_or_else(|| {
            format!(
                "no column is called `{target}`; `target` is one of {}",
                names.join(", ")
            )
        })?;
        if names.len() < 2 {
            return Err(format!(
                "there is no column besides `{target}`: expected another one to foretell it from"
            ));
        }
        let digest =
            Digest::of([train.digest().to_string(), held_out.digest().to_string()].concat());
        let question = Question::of(&train.columns[place].values)?;
        let others = train.columns.iter().filter(|column| column.name != target);
        let keys = others.filter(|column| matches!(column.values, Values::Key { .. }));
        let keys = keys.map(|column| column.name.clone()).collect();
        let encoder = Encoder::of(train, &[place]);
        let unknown = question.unknown(&held_out.columns[place].values);
        let [(train, missing), (held_out, more)] =
            [train, held_out].map(|table| labelled(&encoder, table, place, &question));
        for (name, part) in [("training", &train), ("held-out", &held_out)] {
            if part.labels.len() < LEAST_ROWS {
                return Err(format!(
                    "{} rows in the {name} part have a `{target}`: expected at least {LEAST_ROWS}; give more rows",
                    part.labels.len()
                ));
            }
        }
        Ok(Self {
            leaked: train.leaked_to(&held_out),
            features: encoder.width(),
            classes: question.classes(),
            question: format!("{target}: {}", question.words()),
            keys,
            mixed: vec![],
            unanswered: missing + more - unknown,
            unknown,
            train,
            held_out,
            digest,
        })
    }
}

/// What of some columns is taken for labels though most of it is numbers, in words that have no value of the table.
///
/// # Errors
/// If one would be left out for that, as columns are that name rows: says which, and where.
fn mixed<'a>(columns: impl Iterator<Item = &'a Column>) -> Result<Vec<String>, String> {
    let found = columns.filter_map(|column| Some((column, nearly_numbers(column)?)));
    let in_words = |(column, found): (&Column, _)| {
        let NearlyNumbers { of, others, first } = found;
        let words = format!(
            "all but {others} of the {of} values of column `{}` are numbers, row {} having the first that is none",
            column.name,
            first + 1
        );
        match column.values {
            Values::Key { .. } => Err(format!(
                "{words}: it would be taken for names of rows, and left out; mend it, or leave it empty, or the column out of the file"
            )),
            _ => Ok(words),
        }
    };
    found.map(in_words).collect()
}

/// What is asked of a column.
enum Question {
    /// Whether it is above this.
    Above(f64),
    /// Which of these it is.
    Which(Vec<String>),
}

impl Question {
    fn of(values: &Values) -> Result<Self, String> {
        match values {
            Values::Number { values, .. } => {
                let mut sorted: Vec<_> = values.iter().copied().filter(|x| !x.is_nan()).collect();
                sorted.sort_unstable_by(f64::total_cmp);
                let median = sorted.get(sorted.len() / 2).copied();
                let median = median.ok_or("the `target` has no number at all")?;
                if sorted.last().is_none_or(|most| *most <= median) {
                    return Err(format!("no `target` is above the median, {median}"));
                }
                Ok(Self::Above(median))
            }
            Values::Category { codes, labels } => {
                // Those of a file are of all its rows.
                let there: HashSet<_> = codes.iter().map(|code| *code as usize).collect();
                let known = labels.iter().enumerate();
                let known = known.filter(|(code, _)| there.contains(code));
                let known: Vec<_> = known.map(|(_, label)| label.clone()).collect();
                match known.len() {
                    2..=MOST_CLASSES => Ok(Self::Which(known)),
                    count => Err(format!(
                        "the `target` has {count} labels: expected 2 to {MOST_CLASSES}"
                    )),
                }
            }
            Values::Key { .. } => Err("nearly every value of the `target` is another".into()),
        }
    }

    fn classes(&self) -> usize {
        match self {
            Self::Above(_) => 2,
            Self::Which(labels) => labels.len(),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Above(median) => format!("whether above {median}"),
            Self::Which(labels) => format!("which of {}", labels.join(", ")),
        }
    }

    /// How many rows of another part have a label that this one does not know.
    fn unknown(&self, values: &Values) -> usize {
        let (Self::Which(known), Values::Category { codes, labels }) = (self, values) else {
            return 0;
        };
        let is_unknown =
            |code: &&u32| **code != MISSING && !known.contains(&labels[**code as usize]);
        codes.iter().filter(is_unknown).count()
    }

    /// The answer that a row has, if it has one. Labels of other parts are found by their names.
    fn answer(&self, values: &Values, row: usize) -> Option<u32> {
        match (self, values) {
            (Self::Above(median), Values::Number { values, .. }) => {
                let x = values[row];
                (!x.is_nan()).then_some(u32::from(x > *median))
            }
            (Self::Which(known), Values::Category { codes, labels }) => {
                let code = codes[row];
                let label = (code != MISSING).then(|| &labels[code as usize])?;
                let found = known.iter().position(|known| known == label)?;
                u32::try_from(found).ok()
            }
            _ => None,
        }
    }
}

/// The rows of a table that have an answer, and how many have none.
fn labelled(
    encoder: &Encoder,
    table: &Table,
    place: usize,
    question: &Question,
) -> (Labelled, usize) {
    let values = &table.columns[place].values;
    let features = encoder.rows(table);
    let mut part = Labelled {
        x: vec![],
        labels: vec![],
    };
    for (row, features) in features.chunks_exact(encoder.width()).enumerate() {
        if let Some(label) = question.answer(values, row) {
            part.x.extend(features.iter().map(|x| *x as f32));
            part.labels.push(label);
        }
    }
    let without = table.rows() - part.labels.len();
    (part, without)
}

#[cfg(test)]
mod tests {
    use super::Rows;

    fn file(name: &str, text: &str, target: &str) -> Result<Rows, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Rows::of_file(&path, target).map_err(|failure| failure.to_string())
    }

    fn csv(rows: usize, row: impl Fn(usize) -> String) -> String {
        let rows = (0..rows).map(|i| row(i) + "\n");
        ["a,b\n".to_owned()].into_iter().chain(rows).collect()
    }

    #[test]
    fn a_file_is_divided_and_what_leaks_is_counted() {
        let text = csv(200, |i| format!("{}.5,{}", i % 180, ["x", "y"][i % 2]));
        let rows = file("t.csv", &text, "b").unwrap();
        assert_eq!(
            (rows.train.labels.len(), rows.held_out.labels.len()),
            (180, 20)
        );
        // Its number, and the one that all rows have.
        assert_eq!((rows.features, rows.classes), (2, 2));
        assert!((rows.leaked - 1.0).abs() < 1e-12);
        let text = csv(200, |i| format!("{i}.5,{}", ["x", "y", ""][i % 3]));
        let rows = file("t.csv", &text, "b").unwrap();
        assert!(rows.leaked < 1e-12);
        assert_eq!(rows.unanswered, 66);
        let rows = file("t.csv", &text, "a").unwrap();
        assert_eq!(rows.classes, 2);
        let above = rows.train.labels.iter().sum::<u32>();
        assert!((88..=90).contains(&above), "{above}");
        assert!(rows.held_out.labels.iter().all(|label| *label == 1));
    }

    /// They can be foretold by nobody who has not seen them.
    #[test]
    fn labels_that_only_the_held_out_part_has_are_counted_apart() {
        let label = |i: usize| match i {
            185 | 190 => "z",
            195 => "",
            _ => ["x", "y"][i % 2],
        };
        let text = csv(200, |i| format!("{}.5,{}", i % 180, label(i)));
        let rows = file("t.csv", &text, "b").unwrap();
        assert_eq!((rows.unknown, rows.unanswered, rows.classes), (2, 1, 2));
        assert_eq!(rows.held_out.labels.len(), 17);
    }

    #[test]
    fn bad_tables_are_refused_in_words() {
        let good = csv(200, |i| format!("{i}.5,{}", ["x", "y"][i % 2]));
        let words = file("t.csv", &good, "c").unwrap_err();
        assert!(
            words.contains("no column is called `c`; `target` is one of a, b"),
            "{words}"
        );
        let words = file("t.csv", &csv(12, |i| format!("{i},x{}", i % 2)), "a").unwrap_err();
        assert!(words.contains("2 rows in the held-out part"), "{words}");
        let words = file("t.csv", &csv(200, |_| "1,x".into()), "b").unwrap_err();
        assert!(words.contains("has 1 labels: expected 2"), "{words}");
        let words = file("t.csv", &csv(200, |_| "1,x".into()), "a").unwrap_err();
        assert!(words.contains("above the median"), "{words}");
        let alone = "b\n".to_owned() + &"x\ny\n".repeat(100);
        let words = file("t.csv", &alone, "b").unwrap_err();
        assert!(words.contains("there is no column besides `b`"), "{words}");
        let words = file("t.csv", "a,b\n1,x\n2\n", "b").unwrap_err();
        assert!(
            words.contains("parameter `table`") && words.contains("t.csv"),
            "{words}"
        );
        assert!(
            file("t.txt", &good, "b")
                .unwrap_err()
                .contains(".csv, .jsonl or .parquet")
        );
    }

    /// A cell that is no number among numbers: of those that all differ it would leave out the column.
    #[test]
    fn columns_without_features_are_told_or_refused() {
        let with = |row: usize, cell: &str, number: &dyn Fn(usize) -> String| {
            let cell = cell.to_owned();
            let number = |i: usize| if i == row { cell.clone() } else { number(i) };
            csv(400, |i| format!("{},{}", number(i), ["x", "y"][i % 2]))
        };
        let differing = |i: usize| format!("{i}.51");
        let good = file("t.csv", &with(13, "", &differing), "b").unwrap();
        assert_eq!(
            (good.features, good.keys.len(), good.mixed.len()),
            (3, 0, 0)
        );
        let words = file("t.csv", &with(13, "x", &differing), "b").unwrap_err();
        let expected = "t.csv: all but 1 of the 400 values of column `a` are numbers, row 14 having the first that is none: it would be \
                        taken for names of rows, and left out";
        assert!(words.contains(expected), "{words}");
        // Of few different numbers it is a column of labels, and used as such.
        let few = file("t.csv", &with(13, "x", &|i| (i % 7).to_string()), "b").unwrap();
        assert_eq!(few.features, 9);
        let expected = "all but 1 of the 400 values of column `a` are numbers, row 14 having the first that is none";
        assert_eq!((few.keys.len(), few.mixed), (0, vec![expected.to_owned()]));
        let named = file(
            "t.csv",
            &csv(400, |i| format!("n{i},{}", ["x", "y"][i % 2])),
            "b",
        );
        assert_eq!(named.unwrap().keys, ["a"]);
        // Codes with a zero in front are none.
        let codes = csv(400, |i| format!("{i:03},{}", ["x", "y"][i % 2]));
        assert_eq!(file("t.csv", &codes, "b").unwrap().keys, ["a"]);
    }

    #[test]
    fn rows_of_the_generator_are_apart() {
        let rows = Rows::of_census(4, 600, "occupation").unwrap();
        assert_eq!(rows.classes, 8);
        assert!(rows.leaked < 0.01 && rows.train.labels.len() > 500);
        let words = Rows::of_census(4, 600, "shoe size").unwrap_err();
        assert!(words.contains("`target` is one of age, sex"), "{words}");
    }
}
