//! What a language model learns: tokens to train on, others to be judged by, and what is known of both.
//!
//! A text is its bytes, or [tokens](super::tokens) of a user's. It comes from the [grammar](super::grammar), or from a file of the user's, of which the last tenth is held out: of its
//! lines or, of a table (CSV, JSON lines or Parquet), of the texts in one of its columns.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use assay_protocol::{Digest, Failure};

use super::grammar;
use super::leaks;
use super::tokens::Tokens;
use crate::synthetic::table::file;

/// Sentences that are held out of the grammar's text, by their numbers: those from here on.
const HELD_OUT: u64 = 1 << 32;

/// A share of damaged rows above which a file is refused: it is no text, or one in another encoding.
const DAMAGED: f64 = 0.1;

/// A text in two parts.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// What is trained on.
    pub train: Vec<u32>,
    /// What a model is judged by.
    pub held_out: Vec<u32>,
    /// Bytes of both.
    pub bytes: [usize; 2],
    /// The least loss of both, in nats for each byte, where it is known: of what is held out it is more, for its sentences are less common.
    pub floors: [Option<f64>; 2],
    /// Digest of all bytes.
    pub digest: Digest,
    /// The share of held-out lines that the model is trained on as well.
    pub leaked: f64,
    /// Rows without a text, or with one that is damaged; they are left out.
    pub corrupt: usize,
    /// Bytes of both that cannot be told from their tokens.
    pub dropped: [usize; 2],
    /// What each held-out token is of its text.
    held_out_text: OfTokens,
}

/// What tokens are of a text.
#[derive(Clone, Debug)]
struct OfTokens {
    /// The bytes that each adds,
    bytes: Vec<u32>,
    /// and what these say, in nats, where that is known.
    nats: Option<Vec<f64>>,
}

/// What of a text a model was judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// How many tokens,
    pub tokens: usize,
    /// the bytes that they are of,
    pub bytes: f64,
    /// and what these say, in nats, where that is known: the least that all their losses together come to.
    pub nats: Option<f64>,
}

/// Lines, each with what ends it.
fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

/// The lines of a file, and how many are damaged. Blank ones belong to a text.
fn lines_of(path: &Path) -> std::io::Result<(Vec<Vec<u8>>, usize)> {
    let is_whole = |line: &Vec<u8>| std::str::from_utf8(line).is_ok_and(|text| !is_damaged(text));
    let lines = lines(&std::fs::read(path)?);
    let count = lines.len();
    let whole: Vec<_> = lines.into_iter().filter(is_whole).collect();
    let damaged = count - whole.len();
    Ok((whole, damaged))
}

/// Whether a text has a zero byte, or what stands for bytes that were no text.
fn is_damaged(text: &str) -> bool {
    text.contains(['\0', '\u{FFFD}'])
}

fn is_blank(text: &[u8]) -> bool {
    text.trim_ascii().is_empty()
}

/// The texts of a column, each with a newline behind it, and how many rows have none or a damaged one.
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
    let rows = 0..table.rows();
    let (damaged, whole): (Vec<_>, Vec<_>) = rows
        .map(|row| column.values.text(row))
        .partition(|text| is_blank(text.as_bytes()) || is_damaged(text));
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
    /// So many bytes of the grammar's sentences, and a tenth of that held out, of other sentences.
    ///
    /// # Errors
    /// If they cannot be encoded.
    pub fn of_grammar(seed: u64, bytes: usize, tokens: &Tokens) -> Result<Self, Failure> {
        let (train, _) = grammar::text(seed, 0, bytes);
        let known: HashSet<&[u8]> = train.split_inclusive(|byte| *byte == b'\n').collect();
        let held_out = grammar::text_beside(seed, HELD_OUT, bytes.div_ceil(10), &known);
        drop(known);
        Self::of_parts(&lines(&train), &lines(&held_out), tokens)
    }

    /// A file's lines, or the texts in a column of a table's, of which the last tenth is held out.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, has fewer than two texts, nothing but blanks in a part, or cannot be encoded.
    pub fn of_file(path: &Path, column: &str, tokens: &Tokens) -> Result<Self, Failure> {
        let say =
            |what: &str| Failure::Failed(format!("parameter `text`: {}: {what}", path.display()));
        // To open a pipe would be to wait for whoever writes it.
        match std::fs::metadata(path) {
            Err(error) => return Err(say(&error.to_string())),
            Ok(found) if !found.is_file() => return Err(say("it is no file; expected one")),
            Ok(_) => {}
        }
        let (texts, corrupt) = match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv" | "jsonl" | "ndjson" | "parquet") => texts_of_table(path, column)?,
            _ => lines_of(path).map_err(|error| say(&error.to_string()))?,
        };
        let rows = texts.len() + corrupt;
        if corrupt as f64 > DAMAGED * rows as f64 {
            return Err(say(&format!(
                "{corrupt} of {rows} rows are no text: they are empty, no UTF-8, or have zero bytes; expected few, convert the file first"
            )));
        }
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
        for (part, texts) in [("training", train), ("held-out", held_out)] {
            if texts.iter().all(|text| is_blank(text)) {
                return Err(say(&format!(
                    "its {part} part has nothing but blanks; expected text"
                )));
            }
        }
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
        let [of_train, of_held_out] = tokens.encode([train, held_out])?;
        let leaked = leaked as f64 / others.len().max(1) as f64;
        let texts = [train, held_out].map(<[Vec<u8>]>::concat);
        let bytes = texts.each_ref().map(Vec::len);
        Ok(Self {
            dropped: [of_train.lost, of_held_out.lost],
            train: of_train.tokens,
            held_out: of_held_out.tokens,
            held_out_text: OfTokens::new(of_held_out.bytes, &texts[1]),
            bytes,
            // Of the user's it may be the grammar's, too, which somebody stored.
            floors: texts.each_ref().map(|text| grammar::nats_a_byte(text)),
            digest: Digest::of_parts([&texts[0][..], &texts[1]]),
            leaked,
            corrupt: 0,
        })
    }

    /// What to tell somebody who takes the held-out loss for that of new text, where it is not.
    pub fn warning(&self) -> Option<String> {
        leaks::warning(self.leaked, "lines")
    }

    /// Tokens for each byte of what is trained on, where these can be told from them: any loss of others is too small.
    pub fn tokens_per_byte(&self) -> Option<f64> {
        (self.dropped[0] == 0).then(|| self.train.len() as f64 / self.bytes[0] as f64)
    }

    /// What the second halves of some [windows](Self::windows) are of the held-out text; `None` where that cannot be told from its tokens.
    pub fn scored(&self, length: usize, most: usize) -> Option<Scored> {
        if self.dropped[1] > 0 {
            return None;
        }
        let OfTokens { bytes, nats } = &self.held_out_text;
        let parts = self.begins(length).take(most);
        // Those that follow the tokens of a window are judged.
        let parts: Vec<_> = parts
            .map(|begin| begin + 1 + length / 2..begin + 1 + length)
            .collect();
        let of_part = |part: &Range<usize>| {
            bytes[part.clone()]
                .iter()
                .copied()
                .map(f64::from)
                .sum::<f64>()
        };
        let nats = nats.as_ref().map(|nats| {
            let of_part = |part: &Range<usize>| nats[part.clone()].iter().sum::<f64>();
            parts.iter().map(of_part).sum()
        });
        Some(Scored {
            tokens: parts.iter().map(Range::len).sum(),
            bytes: parts.iter().map(of_part).sum(),
            nats,
        })
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
        let window = |begin: usize| [begin, begin + 1].map(|at| &self.held_out[at..at + length]);
        self.begins(length).take(most).map(window).collect()
    }

    /// Where windows of the held-out part begin.
    fn begins(&self, length: usize) -> impl Iterator<Item = usize> {
        let last = self.held_out.len().saturating_sub(length);
        (0..last).step_by(length.div_ceil(2).max(1))
    }
}

impl OfTokens {
    fn new(bytes: Vec<u32>, text: &[u8]) -> Self {
        let nats = grammar::nats_of_bytes(text).map(|nats| {
            let mut rest = nats.iter();
            let of_token = |bytes: &u32| rest.by_ref().take(*bytes as usize).sum();
            bytes.iter().map(of_token).collect()
        });
        Self { bytes, nats }
    }
}

#[cfg(test)]
mod tests {
    use super::{Corpus, Tokens, grammar};

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
    fn held_out_sentences_of_the_grammar_are_new() {
        let corpus = Corpus::of_grammar(1, 200_000, &Tokens::Bytes).unwrap();
        assert!(corpus.leaked == 0.0 && corpus.warning().is_none());
        // They are less common ones, which have more to say.
        let [of_train, floor] = corpus.floors.map(Option::unwrap);
        let entropy = grammar::entropy();
        assert!(floor > entropy && floor < 1.5 * entropy, "{floor}");
        assert!((of_train / entropy - 1.0).abs() < 0.02, "{of_train}");
    }

    #[test]
    fn what_leaks_is_warned_of() {
        let some = |leaked: usize| {
            let line = |i: usize| match i {
                380.. if i < 380 + leaked => "line 3\n".into(),
                _ => format!("line {i}\n"),
            };
            file(&(0..400).map(line).collect::<String>()).unwrap()
        };
        assert_eq!(some(1).warning(), None);
        let words = some(5).warning().unwrap();
        assert!(
            words.contains(" % of held-out lines are trained on, more than 5 %"),
            "{words}"
        );
    }

    #[test]
    fn damaged_lines_are_left_out_and_many_are_refused() {
        let some = |line: &[u8], count: usize| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let all = (0..100).map(|i| match i {
                _ if i < count => line.to_vec(),
                _ => format!("whole line {i}\n\n").into_bytes(),
            });
            std::fs::write(file.path(), all.collect::<Vec<_>>().concat()).unwrap();
            Corpus::of_file(file.path(), "text", &Tokens::Bytes)
                .map_err(|failure| failure.to_string())
        };
        for damaged in [&b"tw\xffo\n"[..], b"a zero\0byte\n"] {
            let corpus = some(damaged, 3).unwrap();
            assert_eq!(corpus.corrupt, 3);
            assert!(!corpus.train.contains(&0) && !corpus.train.contains(&255));
            let words = some(damaged, 30).unwrap_err();
            assert!(words.contains("30 of 170 rows are no text"), "{words}");
        }
    }

    #[test]
    fn blanks_are_no_text() {
        let words = file(&" \t \n\n".repeat(100)).unwrap_err();
        assert!(
            words.contains("its training part has nothing but blanks"),
            "{words}"
        );
        let text = "some text\n".repeat(100) + &" \n".repeat(200);
        let words = file(&text).unwrap_err();
        assert!(
            words.contains("its held-out part has nothing but blanks"),
            "{words}"
        );
    }

    /// As `assay synth make grammar --set built_in=training` writes them.
    #[test]
    fn sentences_of_a_file_have_their_floor() {
        let (sentences, _) = grammar::text(3, 0, 20_000);
        let text = String::from_utf8(sentences).unwrap();
        for floor in file(&text).unwrap().floors.map(Option::unwrap) {
            assert!((floor / grammar::entropy() - 1.0).abs() < 0.1, "{floor}");
        }
        let [of_train, of_held_out] = file(&(text + "the star is late.\n")).unwrap().floors;
        assert!(of_train.is_some() && of_held_out.is_none());
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
            7 => "{\"text\": \" \", \"n\": 7}".into(),
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

    /// Of the grammar whole sentences say what their bytes do, of any cut; what is judged is a part of them.
    #[test]
    fn what_is_scored_is_told_by_its_own_bytes() {
        let corpus = Corpus::of_grammar(1, 4000, &Tokens::Bytes).unwrap();
        let some = corpus.scored(8, 3).unwrap();
        assert_eq!((some.tokens, some.bytes), (12, 12.0));
        let nats =
            grammar::nats_of_bytes(&corpus.held_out.iter().map(|t| *t as u8).collect::<Vec<_>>());
        // The windows begin at 0, 4 and 8, and each has four bytes behind those that it is given for context.
        let expected: f64 = nats.unwrap()[5..17].iter().sum();
        assert!((some.nats.unwrap() - expected).abs() < 1e-12);
        // No window has the first bytes judged, nor the last.
        let all = corpus.scored(8, usize::MAX).unwrap();
        assert!(all.tokens < corpus.bytes[1] && all.tokens + 16 > corpus.bytes[1]);
        let text = "not of the grammar\n".repeat(20);
        assert_eq!(file(&text).unwrap().scored(8, 3).unwrap().nats, None);
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
