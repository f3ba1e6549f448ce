//! A text of sentences from a grammar whose entropy is known, so that the loss of a language model has a floor that can be stated.
//!
//! The grammar is regular and probabilistic: in each state one of some words comes next, with known odds, and leads to another
//! state. No word of a state begins another of it, so a text has one derivation, and its entropy is that of the choices. Sentence `i` is a
//! function of seed and `i` alone.

use std::collections::HashSet;
use std::hash::BuildHasher;

use assay_protocol::Philox;

/// Streams of sentences begin here, one for each.
const SENTENCE_STREAMS: u64 = 1 << 40;

/// A word that may come next: its odds, its text, and the state that it leads to.
type Choice = (u32, &'static str, usize);

/// The states: of a sentence, of a noun, of its verb, of the first digit of a number, of further ones.
const STATES: [&[Choice]; 5] = [
    &[
        (4, "the ", 1),
        (2, "a ", 1),
        (1, "no ", 1),
        (1, "every ", 1),
    ],
    &[
        (3, "star ", 2),
        (3, "sun ", 2),
        (2, "moon ", 2),
        (2, "comet ", 2),
        (1, "probe ", 2),
        (1, "dim ", 1),
    ],
    &[
        (4, "is ", 3),
        (2, "has ", 3),
        (1, "was ", 3),
        (1, "lost ", 3),
    ],
    &[
        (1, "0", 4),
        (1, "1", 4),
        (1, "2", 4),
        (1, "3", 4),
        (1, "4", 4),
        (1, "5", 4),
        (1, "6", 4),
        (1, "7", 4),
        (1, "8", 4),
        (1, "9", 4),
    ],
    &[
        (4, "0", 4),
        (4, "1", 4),
        (4, "2", 4),
        (4, "3", 4),
        (4, "4", 4),
        (4, "5", 4),
        (4, "6", 4),
        (4, "7", 4),
        (4, "8", 4),
        (4, "9", 4),
        (20, ".\n", 0),
    ],
];

fn total(choices: &[Choice]) -> u32 {
    choices.iter().map(|(odds, ..)| odds).sum()
}

/// Appends a sentence.
fn sentence(text: &mut Vec<u8>, seed: u64, number: u64) {
    let random = Philox::new(seed, SENTENCE_STREAMS + number);
    let mut state = 0;
    for turn in 0.. {
        let choices = STATES[state];
        let drawn = ((u64::from(random.word(turn)) * u64::from(total(choices))) >> 32) as u32;
        let mut below = 0;
        let chosen = choices.iter().find(|(odds, ..)| {
            below += odds;
            drawn < below
        });
        // What is drawn is below the sum of all odds.
        let Some((_, word, next)) = chosen else {
            return;
        };
        text.extend_from_slice(word.as_bytes());
        state = *next;
        if state == 0 {
            return;
        }
    }
}

/// Whole sentences from number `first` on, as many as have at least so many bytes together, and the number of the next.
pub fn text(seed: u64, first: u64, bytes: usize) -> (Vec<u8>, u64) {
    let (mut text, mut number) = (vec![], first);
    while text.len() < bytes {
        sentence(&mut text, seed, number);
        number += 1;
    }
    (text, number)
}

/// As [`text`], without the sentences that are `known`: such as a model was trained on, by which nothing can be told of what it learned.
pub fn text_beside(
    seed: u64,
    first: u64,
    bytes: usize,
    known: &HashSet<&[u8], impl BuildHasher>,
) -> Vec<u8> {
    let mut text = vec![];
    for number in first.. {
        let begin = text.len();
        if begin >= bytes {
            break;
        }
        sentence(&mut text, seed, number);
        if known.contains(&text[begin..]) {
            text.truncate(begin);
        }
    }
    text
}

/// The grammar as symbols with weighted templates, a symbol for each state and the first one to begin with; sentences are lines, whose ends are
/// not among their texts.
pub fn symbols() -> Vec<(String, Vec<(String, f64)>)> {
    let name = |state: usize| format!("state{state}");
    let template = |(odds, word, next): &Choice| {
        let text = match next {
            0 => word.trim_end().to_owned(),
            next => format!("{word}{{{}}}", name(*next)),
        };
        (text, f64::from(*odds))
    };
    let states = STATES.iter().enumerate();
    states
        .map(|(state, choices)| (name(state), choices.iter().map(template).collect()))
        .collect()
}

/// The choices that made whole sentences, each of some. `None` of a text that is not the grammar's.
fn choices_of(text: &[u8], mut each: impl FnMut(&[Choice], &Choice)) -> Option<()> {
    let (mut at, mut state) = (0, 0);
    while at < text.len() {
        let choices = STATES[state];
        let chosen = choices
            .iter()
            .find(|(_, word, _)| text[at..].starts_with(word.as_bytes()))?;
        each(choices, chosen);
        (at, state) = (at + chosen.1.len(), chosen.2);
    }
    (state == 0 && at > 0).then_some(())
}

/// What whole sentences say of themselves, in nats a byte: the mean of the logarithms of the choices that made them, which no model of the
/// grammar can do better than. `None` of a text that is not the grammar's.
pub fn nats_a_byte(text: &[u8]) -> Option<f64> {
    let mut nats = 0.0;
    choices_of(text, |choices, (odds, ..)| {
        nats -= (f64::from(*odds) / f64::from(total(choices))).ln();
    })?;
    Some(nats / text.len() as f64)
}

/// What each byte of whole sentences says, in nats, to who knows all before it: together as much as the choices that made them. `None` of a
/// text that is not the grammar's.
pub fn nats_of_bytes(text: &[u8]) -> Option<Vec<f64>> {
    let mut nats = Vec::with_capacity(text.len());
    choices_of(text, |choices, (_, word, _)| {
        // The odds of all words that begin as this one, up to each byte of it.
        let odds_of = |count: usize| {
            let begin = &word.as_bytes()[..count];
            let alike = choices
                .iter()
                .filter(|choice| choice.1.as_bytes().starts_with(begin));
            alike.map(|(odds, ..)| f64::from(*odds)).sum::<f64>()
        };
        nats.extend((0..word.len()).map(|at| (odds_of(at) / odds_of(at + 1)).ln()));
    })?;
    Some(nats)
}

/// The entropy of a byte, in nats: that of a sentence's choices, over its mean length.
pub fn entropy() -> f64 {
    // How often a sentence comes to each state: all ways of one more word, until next to none goes on.
    let (mut visits, mut now) = ([0.0; STATES.len()], [0.0; STATES.len()]);
    now[0] = 1.0;
    while now.iter().sum::<f64>() > 1e-18 {
        let mut next = [0.0; STATES.len()];
        for (state, choices) in STATES.iter().enumerate() {
            visits[state] += now[state];
            for (odds, _, to) in choices.iter().filter(|(.., to)| *to != 0) {
                next[*to] += now[state] * f64::from(*odds) / f64::from(total(choices));
            }
        }
        now = next;
    }
    let (mut nats, mut bytes) = (0.0, 0.0);
    for (choices, visits) in STATES.iter().zip(visits) {
        for (odds, word, _) in *choices {
            let share = f64::from(*odds) / f64::from(total(choices));
            nats -= visits * share * share.ln();
            bytes += visits * share * word.len() as f64;
        }
    }
    nats / bytes
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::{STATES, entropy, nats_a_byte, nats_of_bytes, text, text_beside};

    #[test]
    fn no_word_of_a_state_begins_another() {
        for choices in STATES {
            for (i, (_, word, _)) in choices.iter().enumerate() {
                let others = choices.iter().enumerate().filter(|(j, _)| i != *j);
                assert!(
                    others
                        .into_iter()
                        .all(|(_, (_, other, _))| !other.starts_with(word))
                );
            }
        }
    }

    /// By what a text says of itself: the mean of the logarithms of the choices that made it.
    #[test]
    fn the_entropy_is_that_of_texts() {
        let (text, _) = text(5, 0, 400_000);
        let found = nats_a_byte(&text).unwrap();
        assert!(
            (found / entropy() - 1.0).abs() < 0.01,
            "{found} {}",
            entropy()
        );
        let others = [&b"the star is 7"[..], b"the star is 7.\nno", b"one\n", b""];
        assert_eq!(others.map(nats_a_byte), [None; 4]);
    }

    #[test]
    fn bytes_say_together_what_choices_do() {
        let sentence = b"the sun is 12.\n";
        let of_bytes = nats_of_bytes(sentence).unwrap();
        let whole = nats_a_byte(sentence).unwrap() * sentence.len() as f64;
        assert!((of_bytes.iter().sum::<f64>() - whole).abs() < 1e-12);
        // After `the ` an `s` is of `star ` or `sun `, half of all; which of them the next byte says, and the rest of `sun ` nothing.
        let close = |place: usize, nats: f64| (of_bytes[place] - nats).abs() < 1e-12;
        assert!(close(4, 2_f64.ln()) && close(5, 2_f64.ln()), "{of_bytes:?}");
        assert!((6..8).all(|place| close(place, 0.0)), "{of_bytes:?}");
        assert_eq!(nats_of_bytes(b"the star is 7"), None);
    }

    /// What is known is left out, and what is left says more of itself: common sentences are known first.
    #[test]
    fn known_sentences_are_left_out() {
        let (known, _) = text(5, 0, 100_000);
        let lines: HashSet<_> = known.split_inclusive(|byte| *byte == b'\n').collect();
        let others = text_beside(5, 1 << 32, 10_000, &lines);
        assert!((10_000..10_100).contains(&others.len()));
        let mut of_others = others.split_inclusive(|byte| *byte == b'\n');
        assert!(of_others.all(|line| !lines.contains(line)));
        let (all, _) = text(5, 1 << 32, 10_000);
        assert!(nats_a_byte(&others) > nats_a_byte(&all));
        let (_, all) = (known, text_beside(5, 1 << 32, 10_000, &HashSet::new()));
        assert_eq!(all, text(5, 1 << 32, 10_000).0);
    }

    /// No model of two bytes of context comes below the entropy. (Of more, counts of what is rare would seem to.)
    #[test]
    fn what_follows_some_bytes_has_at_least_the_entropy() {
        let (text, _) = text(6, 0, 400_000);
        let mut counts: BTreeMap<&[u8], BTreeMap<u8, f64>> = BTreeMap::new();
        for window in text.windows(3) {
            let (context, next) = window.split_at(2);
            *counts
                .entry(context)
                .or_default()
                .entry(next[0])
                .or_default() += 1.0;
        }
        let nats: f64 = counts
            .values()
            .map(|next| {
                let sum: f64 = next.values().sum();
                next.values().map(|n| -n * (n / sum).ln()).sum::<f64>()
            })
            .sum();
        let found = nats / (text.len() - 2) as f64;
        assert!(
            found > 0.97 * entropy() && found < 1.3 * entropy(),
            "{found} {}",
            entropy()
        );
    }

    #[test]
    fn parts_are_those_of_the_whole() {
        let (whole, _) = text(1, 0, 2000);
        let (first, next) = text(1, 0, 700);
        let (rest, _) = text(1, next, whole.len() - first.len());
        assert!([first, rest].concat().starts_with(&whole));
    }
}
