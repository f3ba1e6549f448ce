//! What a language model learns: tokens to train on, others to be judged by, and what is known of both.
//!
//! A text is its bytes, or [tokens](super::tokens) of a user's. It comes from the [grammar](super::grammar), or from a file of the user's, of which the last tenth is held out: of its
//! lines or, of a table (CSV, JSON lines or Parquet), of the texts in one of its columns.

use std::collections::HashSet;
use std::path::Path;

use assay_protocol::{Digest, Failure};

use super::grammar;
use super::tokens::Tokens;
use crate::synthetic::table::file;

/// Sentences that are held out of the grammar's text, by their numbers: those from here on.
const HELD_OUT: u64 = 1 << 32;

/// A text in two parts.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// What is trained on.
    pub train: Vec<u32>,
    /// What a model is judged by.
    pub held_out: Vec<u32>,
    /// Bytes of both.
    pub bytes: [usize; 2],
    /// The least loss that there can be, in nats for each byte, where it is known.
    pub floor: Option<f64>,
    /// Digest of all bytes.
    pub digest: Digest,
    /// The share of held-out lines that the model is trained on as well.
    pub leaked: f64,
    /// Rows of a table without a text, or with one that is damaged; they are left out.
    pub corrupt: usize,
    /// Bytes of the held-out part that no token stands for.
    pub dropped: usize,
}

/// Lines, each with what ends it.
fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

fn lines_of(path: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    Ok(lines(&std::fs::read(path)?))
}

/// The texts of a column, each with a newline behind it, and how many rows have none or a damaged one: with a zero byte, or
/// with what stands for bytes that were no text.
fn texts_of_table(path: &Path, column: &str) -> Result<(Vec<Vec<u8>>, usize), Failure> {
    let say = |what: String| Failure::Failed(format!("parameter `text`: {what}"));
    let table = file::read(path).map_err(|error| say(error.to_string()))?;
    let Some(column) = table.column(column) else {
        let names: Vec<_> = table.columns.iter().map(|c| c.name.as_str()).collect();
        return Err(say(format!(
            "{}: no column is called `{column}`; `column` is one of {}",
            path.display(),
            names.join(", ")
        )));
    };
    let is_damaged = |text: &str| text.is_empty() || text.contains(['\0', '\u{FFFD}']);
    let rows = 0..table.rows();
    let (damaged, whole): (Vec<_>, Vec<_>) = rows
        .map(|row| column.values.text(row))
        .partition(|text| is_damaged(text));
    let texts = whole.iter().map(|text| [text.as_bytes(), b"\n"].concat());
    Ok((texts.collect(), damaged.len()))
}

/// How many texts have about so many bytes, at least one, and not all.
fn split(texts: &[Vec<u8>], target: usize) -> Option<usize> {
    let mut end = 0;
    let ends = texts.iter().map(|text| {
        end += text.len();
        end
    });
    let ends: Vec<usize> = ends.collect();
    let (_, inner) = ends.split_last()?;
    let nearest = inner.iter().enumerate();
    let (place, _) = nearest.min_by_key(|(_, end)| end.abs_diff(target))?;
    Some(place + 1)
}

impl Corpus {
    /// So many bytes of the grammar's sentences, and a tenth of that held out.
    ///
    /// # Errors
    /// If they cannot be encoded.
    pub fn of_grammar(seed: u64, bytes: usize, tokens: &Tokens) -> Result<Self, Failure> {
        let (train, _) = grammar::text(seed, 0, bytes);
        let (held_out, _) = grammar::text(seed, HELD_OUT, bytes.div_ceil(10));
        Ok(Self {
            floor: Some(grammar::entropy()),
            ..Self::of_parts(&lines(&train), &lines(&held_out), tokens)?
        })
    }

    /// A file's lines, or the texts in a column of a table's, of which the last tenth is held out.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, has fewer than two texts, or cannot be encoded.
    pub fn of_file(path: &Path, column: &str, tokens: &Tokens) -> Result<Self, Failure> {
        let say =
            |what: &str| Failure::Failed(format!("parameter `text`: {}: {what}", path.display()));
        let (texts, corrupt) = match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv" | "jsonl" | "ndjson" | "parquet") => texts_of_table(path, column)?,
            _ => (lines_of(path).map_err(|error| say(&error.to_string()))?, 0),
        };
        let total: usize = texts.iter().map(Vec::len).sum();
        if total == 0 {
            return Err(say("the file is empty; expected lines of text"));
        }
        if u32::try_from(total).is_err() {
            return Err(say("expected fewer than 2^32 bytes; use a part of it"));
        }
        let split = split(&texts, total - total.div_ceil(10)).ok_or_else(|| {
            say("the file has one line; expected several, for the last are held out")
        })?;
        let (train, held_out) = texts.split_at(split);
        Ok(Self {
            corrupt,
            ..Self::of_parts(train, held_out, tokens)?
        })
    }

    fn of_parts(train: &[Vec<u8>], held_out: &[Vec<u8>], tokens: &Tokens) -> Result<Self, Failure> {
        let known: HashSet<_> = train.iter().map(|text| text.trim_ascii()).collect();
        let others = held_out.iter().map(|text| text.trim_ascii());
        let others: Vec<_> = others.filter(|text| !text.is_empty()).collect();
        let leaked = others.iter().filter(|text| known.contains(**text)).count();
        let encoded = [tokens.encode(train)?, tokens.encode(held_out)?];
        let leaked = leaked as f64 / others.len().max(1) as f64;
        let texts = [train, held_out].map(<[Vec<u8>]>::concat);
        let [(train, _), (held_out, covered)] = encoded;
        Ok(Self {
            dropped: texts[1].len() - covered,
            train,
            held_out,
            bytes: [texts[0].len(), texts[1].len()],
            floor: None,
            digest: Digest::of_parts([&texts[0][..], &texts[1]]),
            leaked,
            corrupt: 0,
        })
    }

    /// Tokens for each byte of what is held out; `None` where no token stands for some of it, which would make any loss small.
    pub fn tokens_per_byte(&self) -> Option<f64> {
        (self.dropped == 0).then(|| self.held_out.len() as f64 / self.bytes[1] as f64)
    }

    /// Fails unless both parts have a window of so many tokens, and one behind it.
    ///
    /// # Errors
    /// Which part has not.
    pub fn check(&self, length: usize, tokens: &Tokens) -> Result<(), Failure> {
        let name = tokens.name();
        for (part, tokens) in [("training", &self.train), ("held-out", &self.held_out)] {
            if tokens.len() <= length {
                return Err(Failure::Failed(format!(
                    "the corpus has {} {name} in its {part} part: expected more than `length`, {length}; give more text, or a \
                     shorter `length`",
                    tokens.len()
                )));
            }
        }
        Ok(())
    }

    /// Windows of the held-out part, each so many tokens and those that follow them, half a window from each to the next; at
    /// most so many.
    pub fn windows(&self, length: usize, most: usize) -> Vec<[&[u32]; 2]> {
        let begins =
            (0..self.held_out.len().saturating_sub(length)).step_by(length.div_ceil(2).max(1));
        let window = |begin: usize| [begin, begin + 1].map(|at| &self.held_out[at..at + length]);
        begins.take(most).map(window).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Corpus, Tokens};

    fn file(text: &str) -> Result<Corpus, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Corpus::of_file(file.path(), "text", &Tokens::Bytes).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_is_divided_between_lines() {
        let corpus = file("one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\none\n").unwrap();
        let text =
            |tokens: &[u32]| String::from_utf8(tokens.iter().map(|t| *t as u8).collect()).unwrap();
        assert!(text(&corpus.train).ends_with("nine\n"));
        assert_eq!(text(&corpus.held_out), "one\n");
        assert!((corpus.leaked - 1.0).abs() < 1e-12);
        assert!(corpus.check(3, &Tokens::Bytes).is_ok());
        let error = corpus.check(4, &Tokens::Bytes).unwrap_err().to_string();
        assert!(error.contains("4 bytes in its held-out part"), "{error}");
    }

    #[test]
    fn too_little_text_is_refused() {
        assert!(file("").unwrap_err().contains("is empty"));
        assert!(file("one line\n").unwrap_err().contains("one line"));
        let missing = Corpus::of_file(
            std::path::Path::new("/no/such/file"),
            "text",
            &Tokens::Bytes,
        )
        .unwrap_err();
        assert!(
            missing.to_string().contains("`text`: /no/such/file"),
            "{missing}"
        );
    }

    #[test]
    fn texts_of_tables_are_read_and_damaged_rows_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.jsonl");
        let row = |i: usize| match i {
            7 => "{\"text\": \"\", \"n\": 7}".into(),
            8 => "{\"text\": \"bro\u{FFFD}ken\", \"n\": 8}".into(),
            _ => format!("{{\"text\": \"number {i}\\nof many\", \"n\": {i}}}"),
        };
        let rows: Vec<String> = (0..100).map(row).collect();
        std::fs::write(&path, rows.join("\n")).unwrap();
        let corpus = Corpus::of_file(&path, "text", &Tokens::Bytes).unwrap();
        assert_eq!(corpus.corrupt, 2);
        let text: Vec<u8> = corpus.held_out.iter().map(|t| *t as u8).collect();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.starts_with("number 9") && text.ends_with("number 99\nof many\n"),
            "{text}"
        );
        assert!(corpus.leaked < 1e-12);
        let words = Corpus::of_file(&path, "body", &Tokens::Bytes)
            .unwrap_err()
            .to_string();
        assert!(
            words.contains("no column is called `body`; `column` is one of text, n"),
            "{words}"
        );
        std::fs::write(&path, "{\"text\": \"one\"}\n{\"text\": \"tw").unwrap();
        let words = Corpus::of_file(&path, "text", &Tokens::Bytes)
            .unwrap_err()
            .to_string();
        assert!(words.contains("texts.jsonl"), "{words}");
    }

    #[test]
    fn windows_overlap_by_half() {
        let corpus = Corpus::of_grammar(1, 400, &Tokens::Bytes).unwrap();
        let windows = corpus.windows(8, 3);
        assert_eq!(windows.len(), 3);
        assert_eq!(windows[0][0][4..], windows[1][0][..4]);
        assert_eq!(windows[2][0][1..], windows[2][1][..7]);
        assert_ne!(corpus.train[..20], corpus.held_out[..20]);
    }
}
