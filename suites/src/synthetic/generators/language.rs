//! Texts that a language model writes: one of the user's, from a checkpoint of `train-lm`, or a small one that is trained here and
//! now on the grammar of known entropy.
//!
//! A line of bytes, each drawn from what the model says after those before; see [`writing`]. Such bytes need not be UTF-8: as rows
//! of a table ([`table_of`]) a line is its text, or its bytes in hexadecimal where it has none, so that nothing of it is lost.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use assay_protocol::{Digest, Failure, ParamValue, Params};
use serde::{Deserialize, Serialize};

use super::super::items::{Form, Items};
use super::super::table::{Column, Table, Values};
use crate::training::decoder::Shape;
use crate::training::language;
use crate::training::run::Together;
use crate::training::setup::{self, Setup};
use crate::training::writing::{self, Writer};

/// What the small model is: learned in about a second.
const SMALL: [(&str, i64); 6] = [
    ("layers", 1),
    ("width", 64),
    ("length", 64),
    ("batch", 8),
    ("steps", 150),
    ("corpus", 200_000),
];

/// What texts are to be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Language {
    /// The checkpoint of a language model; without one, a small model is trained.
    pub checkpoint: Option<PathBuf>,
    /// What logits are divided by: below 1 what is likely comes more often, above it less.
    pub temperature: f64,
    /// Bytes after which a text ends, if it did not before.
    pub most_bytes: usize,
}

impl Default for Language {
    fn default() -> Self {
        Self {
            checkpoint: None,
            temperature: 1.0,
            most_bytes: 500,
        }
    }
}

/// A model that writes, and what it is checked by.
pub struct Maker {
    writer: Writer,
    exact: Vec<Vec<f64>>,
    facts: Vec<(String, String)>,
}

impl Language {
    /// Reads the model, or trains it.
    ///
    /// # Errors
    /// The parameter that is out of its range, or what is wrong with the checkpoint.
    pub fn build(&self) -> Result<Maker, String> {
        if !(self.temperature.is_finite() && self.temperature >= 0.01) {
            return Err(format!(
                "`temperature` is {}: expected at least 0.01",
                self.temperature
            ));
        }
        if !(1..=1 << 20).contains(&self.most_bytes) {
            return Err(format!(
                "`most_bytes` is {}: expected 1 to {}",
                self.most_bytes,
                1 << 20
            ));
        }
        let (shape, parameters) = match &self.checkpoint {
            Some(path) => of_checkpoint(path)?,
            None => small_model()?,
        };
        let numbers: usize = parameters.iter().map(Vec::len).sum();
        let bytes = parameters.iter().flatten().flat_map(|x| x.to_le_bytes());
        let digest = Digest::of(bytes.collect::<Vec<_>>());
        let exact = parameters
            .iter()
            .map(|part| part.iter().map(|x| f64::from(*x)).collect())
            .collect();
        let writer = Writer::new(shape, parameters, self.temperature, self.most_bytes)
            .ok_or("`checkpoint`: it lacks parameters of its model")?;
        Ok(Maker {
            writer,
            exact,
            facts: vec![
                ("parameters".into(), numbers.to_string()),
                ("model".into(), digest.to_string()),
            ],
        })
    }
}

fn of_checkpoint(path: &Path) -> Result<(Shape, Vec<Vec<f32>>), String> {
    writing::read(path).map_err(|error| format!("`checkpoint`: {error}"))
}

/// Trains a model on the built-in grammar: the same bits for any number of threads.
fn small_model() -> Result<(Shape, Vec<Vec<f32>>), String> {
    let defaults = setup::infos().into_iter();
    let mut params: Params = defaults
        .filter_map(|info| Some((info.name, info.default?)))
        .collect();
    let small = SMALL.map(|(name, value)| (name.to_owned(), ParamValue::Int(value)));
    params.extend(BTreeMap::from(small));
    let train = || {
        let setup = Setup::of(&setup::case(params))?;
        let corpus = setup.corpus()?;
        // Steps this small are over before a second thread has come, and on a busy machine each would wait for its turn.
        let team = Together::alone(1);
        let mut training = language::begin(&setup, &corpus).training(&team)?;
        for _ in 0..setup.plan.steps {
            training.step()?;
        }
        let values = |parameter| training.values(parameter);
        let parameters = training.parameters.iter().map(values);
        Ok((setup.shape, parameters.collect::<Result<_, _>>()?))
    };
    train().map_err(|failure: Failure| format!("the small model: {failure}"))
}

impl Maker {
    fn append_lines(&self, seed: u64, items: Range<u64>, out: &mut Vec<u8>) {
        let lines = (items.end - items.start) as usize;
        for line in self.writer.lines(seed, items.start, lines) {
            out.extend_from_slice(&line);
            out.push(b'\n');
        }
    }
}

impl Items for Maker {
    fn form(&self) -> Form {
        Form::Line { is_json: false }
    }

    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        self.append_lines(seed, item..item + 1, out);
    }

    fn append_range(&self, seed: u64, items: Range<u64>, out: &mut Vec<u8>) {
        self.append_lines(seed, items, out);
    }

    fn table(&self, seed: u64, first: u64, items: usize) -> Table {
        table_of(self.writer.lines(seed, first, items))
    }

    fn check(&self, seed: u64, item: u64, bytes: &[u8]) -> Result<(), String> {
        self.writer.check(&self.exact, (seed, item), bytes)
    }

    fn facts(&self) -> Vec<(String, String)> {
        self.facts.clone()
    }
}

/// Lines as rows: `text`, and `hex`, two hexadecimal digits a byte, of lines that are no UTF-8 and have no text; each is missing where
/// the other is there. Both columns are there whatever the lines are, since parts of a whole have the same columns.
pub fn table_of(lines: Vec<Vec<u8>>) -> Table {
    let (mut texts, mut hexes) = (vec![], vec![]);
    for line in lines {
        match String::from_utf8(line) {
            Ok(text) => {
                texts.push(Some(text));
                hexes.push(None);
            }
            Err(error) => {
                let digits = error.as_bytes().iter().map(|byte| format!("{byte:02x}"));
                texts.push(None);
                hexes.push(Some(digits.collect()));
            }
        }
    }
    let column = |name: &str, values| Column {
        name: name.into(),
        values: Values::Key { values },
    };
    Table {
        columns: vec![column("text", texts), column("hex", hexes)],
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::table_of;
    use crate::synthetic::table::cells::CellTypes;
    use crate::synthetic::table::{Values, csv, jsonl, parquet as table_parquet};

    /// A line, as whoever reads a file makes it of both fields.
    fn line_of(text: Option<&str>, hex: Option<&str>) -> Vec<u8> {
        let byte = |hex: &str, at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        match (text, hex) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(hex)) => (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect(),
            both => panic!("not one of both: {both:?}"),
        }
    }

    #[test]
    fn whatever_bytes_a_model_writes_come_back_from_every_form_of_file() {
        let mut lines: Vec<Vec<u8>> = [
            &b"plain"[..],
            b"",
            b"\xff",
            b"cut off \xe2\x82",
            "whole \u{20ac}, \"quoted\"".as_bytes(),
            b"\x00\r,",
            b"00ff",
            b"\xed\xa0\x80",
        ]
        .map(Vec::from)
        .to_vec();
        lines.extend(
            (0..=255)
                .filter(|byte| *byte != b'\n')
                .map(|byte| vec![b'a', byte]),
        );
        let table = table_of(lines.clone());
        let mut written = Vec::new();
        jsonl::write_to(&mut written, &table, &CellTypes::new()).unwrap();
        let written = String::from_utf8(written).unwrap();
        let found = written.lines().map(|row| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            line_of(row["text"].as_str(), row["hex"].as_str())
        });
        assert_eq!(found.collect::<Vec<_>>(), lines);

        let file = tempfile::tempfile().unwrap();
        table_parquet::write_to(&file, &table).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let mut found = vec![];
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let [texts, hexes] =
                [0, 1].map(|column| batch.column(column).as_string::<i32>().clone());
            found.extend(
                texts
                    .iter()
                    .zip(&hexes)
                    .map(|(text, hex)| line_of(text, hex)),
            );
        }
        assert_eq!(found, lines);

        let mut written = Vec::new();
        csv::write_to(&mut written, &table).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert!(
            written.starts_with("text,hex\nplain,\n,\n,ff\n,6375"),
            "{written}"
        );
        assert!(written.contains("\"whole \u{20ac}, \"\"quoted\"\"\",\n"));
        let Values::Key { values } = &table.columns[1].values else {
            panic!("texts")
        };
        assert_eq!(values.iter().flatten().count(), 3 + 128);
    }
}
