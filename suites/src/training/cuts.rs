//! What can be told of a text from its tokens.
//!
//! A tokenizer may map many texts to the same tokens: to one for all that it does not know, or by what it makes of a text before it is cut
//! (small letters, one digit for all). The loss of such tokens is none of the text, and may be smaller than any of that. So each piece of a
//! text, mostly one token, is looked up in all that it stands for in the whole corpus: if that is one thing alone, text is told from tokens.

use std::collections::HashMap;
use std::ops::Range;

/// A text in tokens.
pub struct Cut {
    /// The tokens,
    pub tokens: Vec<u32>,
    /// and the bytes of the text that each is of: in their order, and some may share a character.
    pub spans: Vec<Range<usize>>,
}

/// Texts in tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// Those of one text behind those of the one before.
    pub tokens: Vec<u32>,
    /// How many bytes of its text each adds to those of tokens before it.
    pub bytes: Vec<u32>,
    /// Bytes of the texts that cannot be told from the tokens.
    pub lost: usize,
}

impl Encoded {
    /// Texts in bytes.
    pub fn of_bytes(texts: &[Vec<u8>]) -> Self {
        let tokens: Vec<u32> = texts
            .iter()
            .flatten()
            .map(|byte| u32::from(*byte))
            .collect();
        Self {
            bytes: vec![1; tokens.len()],
            tokens,
            lost: 0,
        }
    }
}

/// Tokens that share characters, mostly one, and the bytes that they are of.
struct Piece<'a> {
    tokens: &'a [u32],
    text: &'a [u8],
    /// Whether its text begins with it: what is put before a text is no part of it.
    is_first: bool,
}

fn pieces<'a>(text: &'a [u8], cut: &'a Cut) -> Vec<Piece<'a>> {
    let mut pieces = vec![];
    let mut begin = 0;
    let mut end = cut.spans.first().map_or(0, |span| span.end);
    for place in 1..=cut.tokens.len() {
        let next = cut.spans.get(place);
        if let Some(next) = next.filter(|next| next.start < end) {
            end = end.max(next.end);
            continue;
        }
        pieces.push(Piece {
            tokens: &cut.tokens[begin..place],
            text: &text[cut.spans[begin].start..end],
            is_first: begin == 0,
        });
        begin = place;
        end = next.map_or(end, |next| next.end);
    }
    pieces
}

/// What pieces stand for, at the beginning of a text and within; `None` for what is not one thing alone.
#[derive(Default)]
struct Book<'a>([HashMap<&'a [u32], Option<&'a [u8]>>; 2]);

impl<'a> Book<'a> {
    fn add(&mut self, piece: &Piece<'a>) {
        let known = self.0[usize::from(piece.is_first)].entry(piece.tokens);
        let meaning = known.or_insert(Some(piece.text));
        if *meaning != Some(piece.text) {
            *meaning = None;
        }
    }

    /// Takes what some pieces stand for from them, where the same tokens may be several pieces.
    fn part(&mut self) {
        for known in &mut self.0 {
            let long = known.keys().filter(|tokens| tokens.len() > 1);
            let is_begun = |tokens: &&&[u32]| {
                (1..tokens.len()).any(|count| known.contains_key(&tokens[..count]))
            };
            let begun: Vec<&[u32]> = long.filter(is_begun).copied().collect();
            for tokens in begun {
                known.insert(tokens, None);
            }
        }
    }

    fn has(&self, piece: &Piece) -> bool {
        let known = &self.0[usize::from(piece.is_first)];
        known.get(piece.tokens).copied().flatten().is_some()
    }
}

/// The texts of two parts that were cut, with the token that stands for what is unknown, if there is one.
pub fn encoded(parts: [&[Vec<u8>]; 2], cuts: &[Vec<Cut>; 2], unknown: Option<u32>) -> [Encoded; 2] {
    let mut book = Book::default();
    for (texts, cuts) in parts.iter().zip(cuts) {
        let all = texts.iter().zip(cuts);
        all.flat_map(|(text, cut)| pieces(text, cut))
            .for_each(|piece| book.add(&piece));
    }
    book.part();
    let is_told = |piece: &Piece| {
        book.has(piece) && unknown.is_none_or(|unknown| !piece.tokens.contains(&unknown))
    };
    [0, 1].map(|part| {
        let mut encoded = Encoded::default();
        for (text, cut) in parts[part].iter().zip(&cuts[part]) {
            let told = pieces(text, cut).into_iter().filter(is_told);
            encoded.lost += text.len() - told.map(|piece| piece.text.len()).sum::<usize>();
            encoded.tokens.extend(&cut.tokens);
            encoded.bytes.extend(added(&cut.spans));
        }
        encoded
    })
}

/// How many bytes each span adds to those before it.
fn added(spans: &[Range<usize>]) -> impl Iterator<Item = u32> {
    spans.iter().scan(0, |end, span| {
        let more = span.end.saturating_sub(span.start.max(*end));
        *end = span.end.max(*end);
        Some(more as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::{Cut, encoded};

    type Tokens<'a> = &'a [(u32, std::ops::Range<usize>)];

    fn cut(tokens: Tokens) -> Cut {
        Cut {
            tokens: tokens.iter().map(|token| token.0).collect(),
            spans: tokens.iter().map(|token| token.1.clone()).collect(),
        }
    }

    /// Bytes that are lost of texts, each with its tokens.
    fn lost(texts: &[(&str, Tokens)], unknown: Option<u32>) -> usize {
        let bytes: Vec<_> = texts
            .iter()
            .map(|(text, _)| text.as_bytes().to_vec())
            .collect();
        let cuts = texts.iter().map(|(_, tokens)| cut(tokens)).collect();
        let [encoded, _] = encoded([&bytes, &[]], &[cuts, vec![]], unknown);
        encoded.lost
    }

    #[test]
    fn what_stands_for_one_thing_is_told() {
        let words = [
            ("ab b", &[(1, 0..2), (2, 2..4)][..]),
            ("xab", &[(3, 0..1), (1, 1..3)][..]),
        ];
        assert_eq!(lost(&words, None), 0);
        // Two bytes of a character are a piece, whatever the first begins.
        let shared = [(
            "xäxö",
            &[
                (1, 0..1),
                (7, 1..3),
                (8, 1..3),
                (1, 3..4),
                (7, 4..6),
                (9, 4..6),
            ][..],
        )];
        assert_eq!(lost(&shared, None), 0);
        // Of what is put before a text nothing is in it.
        let begun = [
            ("a a", &[(5, 0..1), (5, 1..3)][..]),
            ("a", &[(5, 0..1)][..]),
        ];
        assert_eq!(lost(&begun, None), 0);
    }

    #[test]
    fn what_may_be_several_things_is_lost() {
        // The same token for two digits, whichever part they are in.
        let digits = [
            ("a7", &[(1, 0..1), (2, 1..2)][..]),
            ("a8a8", &[(1, 0..1), (2, 1..2), (1, 2..3), (2, 3..4)][..]),
        ];
        assert_eq!(lost(&digits, None), 3);
        // One that stands for what is unknown, though there is but one such thing.
        let unknown = [("a what", &[(1, 0..2), (0, 2..6)][..])];
        assert_eq!([lost(&unknown, None), lost(&unknown, Some(0))], [0, 4]);
        // Between tokens.
        assert_eq!(lost(&[("a  b", &[(1, 0..1), (2, 3..4)][..])], None), 2);
        // Two tokens that are one piece, or two.
        let parted = [(
            "äxab",
            &[(1, 0..2), (2, 0..2), (3, 2..3), (1, 3..4), (2, 4..5)][..],
        )];
        assert_eq!(lost(&parted, None), 0);
        let parted = [(
            "xäab",
            &[(3, 0..1), (1, 1..3), (2, 1..3), (1, 3..4), (2, 4..5)][..],
        )];
        assert_eq!(lost(&parted, None), 2);
    }
}
