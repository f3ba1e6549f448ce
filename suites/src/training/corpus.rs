//! What a language model learns: tokens to train on, others to be judged by, and what is known of both.
//!
//! A text is its bytes. It comes from the [grammar](super::grammar), or from a file of the user's, of which the last tenth of the lines
//! is held out.

use std::collections::HashSet;
use std::path::Path;

use assay_protocol::{Digest, Failure};

use super::grammar;

/// Tokens are bytes.
pub const VOCABULARY: usize = 256;
/// Sentences that are held out of the grammar's text, by their numbers: those from here on.
const HELD_OUT: u64 = 1 << 32;

/// A text in two parts.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// What is trained on.
    pub train: Vec<u32>,
    /// What a model is judged by.
    pub held_out: Vec<u32>,
    /// The least loss that there can be, in nats for each token, where it is known.
    pub floor: Option<f64>,
    /// Digest of all bytes.
    pub digest: Digest,
    /// The share of held-out lines that the model is trained on as well.
    pub leaked: f64,
}

impl Corpus {
    /// So many bytes of the grammar's sentences, and a tenth of that held out.
    pub fn of_grammar(seed: u64, bytes: usize) -> Self {
        let (train, _) = grammar::text(seed, 0, bytes);
        let (held_out, _) = grammar::text(seed, HELD_OUT, bytes.div_ceil(10));
        Self {
            floor: Some(grammar::entropy()),
            ..Self::of_parts(&train, &held_out)
        }
    }

    /// A file's lines, of which the last tenth is held out.
    ///
    /// # Errors
    /// If it cannot be read, or has fewer than two lines.
    pub fn of_file(path: &Path) -> Result<Self, Failure> {
        let say =
            |what: &str| Failure::Failed(format!("parameter `text`: {}: {what}", path.display()));
        let text = std::fs::read(path).map_err(|error| say(&error.to_string()))?;
        if text.is_empty() {
            return Err(say("the file is empty; expected lines of text"));
        }
        if u32::try_from(text.len()).is_err() {
            return Err(say("expected fewer than 2^32 bytes; use a part of it"));
        }
        let target = text.len() - text.len().div_ceil(10);
        let ends: Vec<_> = text[..text.len() - 1]
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(place, _)| place + 1)
            .collect();
        let split = ends
            .iter()
            .min_by_key(|end| end.abs_diff(target))
            .ok_or_else(|| {
                say("the file has one line; expected several, for the last are held out")
            })?;
        let (train, held_out) = text.split_at(*split);
        Ok(Self::of_parts(train, held_out))
    }

    fn of_parts(train: &[u8], held_out: &[u8]) -> Self {
        let lines = |text: &'_ [u8]| {
            text.split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        let known: HashSet<_> = lines(train).into_iter().collect();
        let others: Vec<_> = lines(held_out)
            .into_iter()
            .filter(|line| !line.is_empty())
            .collect();
        let leaked = others.iter().filter(|line| known.contains(*line)).count();
        let tokens = |text: &[u8]| text.iter().map(|byte| u32::from(*byte)).collect();
        Self {
            train: tokens(train),
            held_out: tokens(held_out),
            floor: None,
            digest: Digest::of_parts([train, held_out]),
            leaked: leaked as f64 / others.len().max(1) as f64,
        }
    }

    /// Fails unless both parts have a window of so many tokens, and one behind it.
    pub fn check(&self, length: usize) -> Result<(), Failure> {
        for (part, tokens) in [("training", &self.train), ("held-out", &self.held_out)] {
            if tokens.len() <= length {
                return Err(Failure::Failed(format!(
                    "the corpus has {} bytes in its {part} part: expected more than `length`, {length}; give more text, or a \
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
    use super::Corpus;

    fn file(text: &str) -> Result<Corpus, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Corpus::of_file(file.path()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_is_divided_between_lines() {
        let corpus = file("one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\none\n").unwrap();
        let text =
            |tokens: &[u32]| String::from_utf8(tokens.iter().map(|t| *t as u8).collect()).unwrap();
        assert!(text(&corpus.train).ends_with("nine\n"));
        assert_eq!(text(&corpus.held_out), "one\n");
        assert!((corpus.leaked - 1.0).abs() < 1e-12);
        assert!(corpus.check(3).is_ok());
        let error = corpus.check(4).unwrap_err().to_string();
        assert!(error.contains("4 bytes in its held-out part"), "{error}");
    }

    #[test]
    fn too_little_text_is_refused() {
        assert!(file("").unwrap_err().contains("is empty"));
        assert!(file("one line\n").unwrap_err().contains("one line"));
        let missing = Corpus::of_file(std::path::Path::new("/no/such/file")).unwrap_err();
        assert!(
            missing.to_string().contains("`text`: /no/such/file"),
            "{missing}"
        );
    }

    #[test]
    fn windows_overlap_by_half() {
        let corpus = Corpus::of_grammar(1, 400);
        let windows = corpus.windows(8, 3);
        assert_eq!(windows.len(), 3);
        assert_eq!(windows[0][0][4..], windows[1][0][..4]);
        assert_eq!(windows[2][0][1..], windows[2][1][..7]);
        assert_ne!(corpus.train[..20], corpus.held_out[..20]);
    }
}
