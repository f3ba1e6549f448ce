//! What a text is cut into: its bytes, or the tokens of a user's `tokenizer.json`.
//!
//! The file is the one of Hugging Face's `tokenizers`, whose crate reads it and encodes: each line, or each text of a table, by itself,
//! without the special tokens that a model would be told around it, and never cut short or filled up, whatever the file says of that. What
//! it has no token for it may drop, as it does elsewhere; how many bytes cannot be told from their tokens is [counted](super::cuts), for of
//! them no loss is that of the text. A file that encodes at random is refused, for losses are a function of the seed.

use std::path::Path;
use std::sync::Arc;

use assay_protocol::{Digest, Failure};
use rayon::prelude::*;

use super::cuts::{self, Cut, Encoded};

/// Different bytes.
pub const BYTES: usize = 256;
/// Most different tokens that a file may have: ten times what the largest vocabularies have.
pub const MOST: usize = 1 << 22;

/// What texts are cut into.
#[derive(Clone, Debug)]
pub enum Tokens {
    /// Their bytes.
    Bytes,
    /// What a file says.
    Of(Arc<Tokenizer>),
}

/// A tokenizer from a file.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocabulary: usize,
    /// What stands for all that is unknown, if something does.
    unknown: Option<u32>,
    /// Digest of the file.
    pub digest: Digest,
}

fn say(path: &Path, what: &str) -> Failure {
    Failure::Failed(format!("parameter `tokenizer`: {}: {what}", path.display()))
}

impl Tokens {
    /// Of a file.
    ///
    /// # Errors
    /// If it cannot be read, is no tokenizer, has no tokens or too many, or encodes at random.
    pub fn of_file(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|error| say(path, &error.to_string()))?;
        let json: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| say(path, &format!("it is no JSON: {error}")))?;
        let dropout = json["model"]["dropout"].as_f64();
        if dropout.is_some_and(|dropout| dropout > 0.0) {
            let what = "its `model.dropout` encodes at random; expected none, so that a training can be repeated";
            return Err(say(path, what));
        }
        let inner = tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| {
            let what = format!("it is no tokenizer of Hugging Face's `tokenizers`: {error}");
            say(path, &what)
        })?;
        let model = &json["model"];
        let of_name = model["unk_token"].as_str();
        let of_name = of_name.and_then(|name| inner.token_to_id(name));
        let of_place = model["unk_id"].as_u64();
        let unknown = of_name.or(of_place.and_then(|id| u32::try_from(id).ok()));
        Self::of(inner, unknown, Digest::of(&bytes), path)
    }

    fn of(
        mut inner: tokenizers::Tokenizer,
        unknown: Option<u32>,
        digest: Digest,
        path: &Path,
    ) -> Result<Self, Failure> {
        inner.with_padding(None);
        // It frames texts and moves the ends of tokens, neither of which is wanted.
        inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let whole = inner.with_truncation(None).map(drop);
        whole.map_err(|error| say(path, &error.to_string()))?;
        // Numbers may be left out.
        let vocabulary = inner.get_vocab(true).into_values().max();
        let vocabulary = vocabulary.map_or(0, |last| last as usize + 1);
        if vocabulary == 0 || vocabulary > MOST {
            let what = format!("it has {vocabulary} tokens: expected 1 to {MOST}");
            return Err(say(path, &what));
        }
        Ok(Self::Of(Arc::new(Tokenizer {
            inner,
            vocabulary,
            unknown,
            digest,
        })))
    }

    /// How many different ones there are.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => BYTES,
            Self::Of(tokenizer) => tokenizer.vocabulary,
        }
    }

    /// The file's digest, if they are from one.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Bytes => None,
            Self::Of(tokenizer) => Some(tokenizer.digest),
        }
    }

    /// What they are called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Of(_) => "tokens",
        }
    }

    /// The tokens of both parts of a text, and what can be told of it from them.
    ///
    /// # Errors
    /// If a text is no UTF-8, or cannot be encoded.
    pub fn encode(&self, parts: [&[Vec<u8>]; 2]) -> Result<[Encoded; 2], Failure> {
        let Self::Of(tokenizer) = self else {
            return Ok(parts.map(Encoded::of_bytes));
        };
        let cut = |texts: &[Vec<u8>]| {
            let cuts = texts.par_iter().map(|text| tokenizer.cut(text));
            cuts.collect::<Result<Vec<_>, _>>()
        };
        let cuts = [cut(parts[0])?, cut(parts[1])?];
        Ok(cuts::encoded(parts, &cuts, tokenizer.unknown))
    }
}

impl Tokenizer {
    fn cut(&self, text: &[u8]) -> Result<Cut, Failure> {
        let shown = || String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
        let say = |what: String| {
            let begin = shown();
            Failure::Failed(format!(
                "parameter `tokenizer`: the text that begins with {begin:?} {what}"
            ))
        };
        let text = std::str::from_utf8(text)
            .map_err(|error| say(format!("is no UTF-8, which tokens are of: {error}")))?;
        let encoded = self.inner.encode(text, false);
        let encoded = encoded.map_err(|error| say(format!("cannot be encoded: {error}")))?;
        let spans = encoded.get_offsets().iter();
        Ok(Cut {
            tokens: encoded.get_ids().to_vec(),
            spans: spans.map(|span| span.0..span.1).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::Tokens;

    /// Words and what follows them as bytes, with two merges; a special token; cut and filled up to 4.
    const SMALL: &str = r#"{
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 4}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>"},
        "added_tokens": [{"id": 6, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}}},
        "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "Ċ": 2, "Ġ": 3, "ab": 4, "Ġab": 7}, "merges": [["a", "b"], ["Ġ", "ab"]]}
    }"#;

    fn of(text: &str) -> Result<Tokens, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Tokens::of_file(file.path()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn texts_are_merged_and_neither_cut_nor_framed() {
        let tokens = of(SMALL).unwrap();
        let texts = [b"ab ab aab\n".to_vec(), b"ba".to_vec()];
        // What is not in the vocabulary is dropped, and what was around it is merged. The library has the spans of a word's tokens side by
        // side, whatever was dropped between them: here of "ax" and "b", whose token says what it does elsewhere, and nothing of the rest.
        let gaps = [b"axb\xc3\xa4b\n".to_vec()];
        let [whole, holed] = tokens.encode([&texts, &gaps]).unwrap();
        assert_eq!(whole.tokens, [4, 7, 3, 0, 4, 2, 1, 0]);
        assert_eq!(whole.bytes, [2, 3, 1, 1, 2, 1, 1, 1]);
        assert_eq!((holed.tokens, holed.lost), (vec![4, 1, 2], 5));
        // Up to the highest number, 7, whatever is missing below it.
        assert_eq!((tokens.vocabulary(), tokens.name()), (8, "tokens"));
        let [whole, _] = Tokens::Bytes.encode([&texts, &[]]).unwrap();
        assert_eq!((whole.bytes, whole.lost), (vec![1; 12], 0));
    }

    #[test]
    fn what_is_no_tokenizer_is_said() {
        let error = of("{\"model\":").unwrap_err();
        assert!(error.contains("it is no JSON: EOF"), "{error}");
        let error = of("{\"model\": {\"type\": \"BPE\"}}").unwrap_err();
        assert!(
            error.contains("it is no tokenizer of Hugging Face's"),
            "{error}"
        );
        let error = of(&SMALL.replace("\"dropout\": null", "\"dropout\": 0.1")).unwrap_err();
        assert!(error.contains("encodes at random"), "{error}");
        let error = of(&SMALL.replace("\"Ġab\": 7", "\"Ġab\": 5000000")).unwrap_err();
        assert!(
            error.contains("5000001 tokens: expected 1 to 4194304"),
            "{error}"
        );
        assert!(of(&SMALL.replace("\"Ġab\": 7", "\"Ġab\": 4294967296")).is_err());
        let missing = Tokens::of_file(std::path::Path::new("/no/such.json")).unwrap_err();
        assert!(
            missing.to_string().contains("`tokenizer`: /no/such.json"),
            "{missing}"
        );
    }

    #[test]
    fn texts_that_are_none_are_said() {
        let tokens = of(SMALL).unwrap();
        let error = tokens.encode([&[], &[b"ab\xff\n".to_vec()]]).unwrap_err();
        assert!(error.to_string().contains("is no UTF-8"), "{error}");
    }
}
