//! Texts of a Markov chain of order n with back-off, learned of texts.
//!
//! What comes next is drawn as often as it came behind the last n units; with the probability of something new, by Witten and
//! Bell's estimate `T / (N + T)` (method C: N times behind this context, T different units), one unit less of the past is
//! looked at, and so on down to no past at all. I. Witten, T. Bell, "The zero-frequency problem: estimating the probabilities of novel
//! events in adaptive text compression", IEEE Trans. Information Theory 37(4), 1991. Units are words with the blank before them,
//! or characters. A text is a line: its end is a unit too, and so is its beginning, as the past of what comes first.

mod walk;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::super::items::{Form, Items};
use super::super::random::alias::{self, Slot};
use super::super::table::Table;

/// The end of a text, which is also what lies before its beginning.
const END: u32 = 0;
/// How often a context of more than one unit must have been seen: behind one that was seen once, the corpus would be copied.
const LEAST_SEEN: u64 = 2;
/// Most places in which a context is followed by something, over all contexts.
const MOST_ENTRIES: usize = 50_000_000;

/// What a chain looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Runs of letters and digits, and every other character, each with the blanks before it. A line's first word is taken to have one
    /// more, which is not written: so it is the same word anywhere.
    #[default]
    Word,
    /// Characters.
    Character,
}

/// What texts are to be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Markov {
    /// How many units of the past are looked at.
    pub order: usize,
    /// What a unit is.
    pub unit: Unit,
    /// Units after which a text ends, if it did not before.
    pub most_units: usize,
}

impl Default for Markov {
    fn default() -> Self {
        Self {
            order: 3,
            unit: Unit::Word,
            most_units: 1000,
        }
    }
}

/// What may come behind a context; behind all units stands that nothing known does, which has no text.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: Slot,
    /// Where the text of a unit lies among all. Falling back has none, and neither has the end.
    from: u32,
    len: u32,
    /// The context that the past is then; none behind the end.
    next: Context,
}

/// A context, by where the entries of what may come behind it begin, and how many there are: so a walk asks memory once for each unit.
#[derive(Clone, Copy, Debug)]
struct Context {
    first: u32,
    entries: u32,
}

/// Behind the end of a text.
const NOTHING: Context = Context {
    first: 0,
    entries: 0,
};

/// A chain that was learned.
pub struct Maker {
    recipe: Markov,
    units: Vec<String>,
    /// The texts of all units, one behind the other, and as many bytes more as a walk copies at once.
    texts: Vec<u8>,
    contexts: usize,
    entries: Vec<Entry>,
    /// Where texts begin.
    start: Context,
    learned_texts: usize,
}

/// Counts of what came behind each context, which is its units, the latest last.
type Counts = HashMap<Vec<u32>, HashMap<u32, u32>>;

impl Markov {
    /// Learns texts, a line each; empty lines are none.
    ///
    /// # Errors
    /// The parameter that is out of its range, or that there is no text or too much of it.
    pub fn learn(&self, corpus: &str) -> Result<Maker, String> {
        if !(1..=16).contains(&self.order) {
            return Err(format!("`order` is {}: expected 1 to 16", self.order));
        }
        if !(1..=1 << 20).contains(&self.most_units) {
            return Err(format!(
                "`most_units` is {}: expected 1 to {}",
                self.most_units,
                1 << 20
            ));
        }
        let mut units = Units::default();
        let mut counts = Counts::new();
        let (mut entries, mut learned_texts) = (0, 0);
        for line in corpus.lines().filter(|line| !line.trim().is_empty()) {
            learned_texts += 1;
            let mut past = vec![END; self.order];
            let line = match self.unit {
                Unit::Word => format!(" {line}"),
                Unit::Character => line.to_owned(),
            };
            let codes = split(&line, self.unit).map(|unit| units.code(unit));
            for unit in codes.collect::<Vec<_>>().into_iter().chain([END]) {
                for from in 0..=self.order {
                    let behind = counts.entry(past[from..].to_vec()).or_default();
                    let count = behind.entry(unit).or_insert(0);
                    entries += usize::from(*count == 0);
                    *count += 1;
                }
                past.remove(0);
                past.push(unit);
            }
            if entries > MOST_ENTRIES || units.texts.len() > MOST_ENTRIES {
                return Err(format!(
                    "more than {MOST_ENTRIES} different runs of units: take a lower `order`, or less text"
                ));
            }
        }
        if learned_texts == 0 {
            return Err("the corpus has no text: expected one in each line".into());
        }
        Ok(Maker::of(self.clone(), units.texts, &counts, learned_texts))
    }
}

/// Units by their text.
struct Units {
    texts: Vec<String>,
    known: HashMap<String, u32>,
}

impl Default for Units {
    fn default() -> Self {
        Self {
            // The end of a text has no text of its own.
            texts: vec![String::new()],
            known: HashMap::new(),
        }
    }
}

impl Units {
    fn code(&mut self, text: &str) -> u32 {
        if let Some(code) = self.known.get(text) {
            return *code;
        }
        let code = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.known.insert(text.to_owned(), code);
        code
    }
}

/// The units of a line: together they are the line.
fn split(line: &str, unit: Unit) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?.len_utf8();
        let end = match unit {
            Unit::Character => first,
            Unit::Word => {
                let blanks = rest.len() - rest.trim_start().len();
                let word = &rest[blanks..];
                let letters = word
                    .find(|c: char| !c.is_alphanumeric())
                    .unwrap_or(word.len());
                let single = word.chars().next().map_or(0, char::len_utf8);
                blanks + letters.max(single)
            }
        };
        let (now, later) = rest.split_at(end);
        rest = later;
        Some(now)
    })
}

impl Maker {
    fn of(recipe: Markov, units: Vec<String>, counts: &Counts, learned_texts: usize) -> Self {
        // No past first, then the most frequent ones, which a cache then holds together. No hash decides: the same corpus, the same chain.
        let seen = |context: &Vec<u32>| -> u64 {
            counts[context]
                .values()
                .map(|count| u64::from(*count))
                .sum()
        };
        let is_kept = |context: &&Vec<u32>| context.len() <= 1 || seen(context) >= LEAST_SEEN;
        let mut all: Vec<&Vec<u32>> = counts.keys().filter(is_kept).collect();
        all.sort_by_cached_key(|context| (!context.is_empty(), Reverse(seen(context)), *context));
        let places: HashMap<&[u32], u32> = all.iter().map(|key| key.as_slice()).zip(0..).collect();
        let longest = |past: &[u32]| {
            let from = past.len().saturating_sub(recipe.order);
            let known = (from..=past.len()).find_map(|from| places.get(&past[from..]));
            known.copied().unwrap_or(0)
        };
        let (texts, ranges) = joined(&units);
        let behind_of = |context: &Vec<u32>| {
            let mut behind: Vec<(u32, u32)> =
                counts[context].iter().map(|(u, c)| (*u, *c)).collect();
            behind.sort_unstable_by_key(|(unit, count)| (Reverse(*count), *unit));
            behind
        };
        // Without a past there is nothing to fall back on.
        let mut first = 0;
        let place = |context: &&Vec<u32>| {
            let entries = (counts[*context].len() + usize::from(!context.is_empty())) as u32;
            let of = Context { first, entries };
            first += entries;
            of
        };
        let contexts: Vec<Context> = all.iter().map(place).collect();
        let mut entries = Vec::with_capacity(first as usize);
        for context in &all {
            let behind = behind_of(context);
            let mut weights: Vec<f64> = behind.iter().map(|(_, count)| f64::from(*count)).collect();
            if !context.is_empty() {
                weights.push(behind.len() as f64);
            }
            let shorter = context.get(1..).map_or(0, |shorter| places[shorter]);
            for (place, slot) in alias::slots(&weights).into_iter().enumerate() {
                let ((from, len), next) = match behind.get(place) {
                    None => ((0, 0), contexts[shorter as usize]),
                    Some((END, _)) => ((0, 0), NOTHING),
                    Some((unit, _)) => {
                        let past = [context.as_slice(), &[*unit]].concat();
                        (ranges[*unit as usize], contexts[longest(&past) as usize])
                    }
                };
                entries.push(Entry {
                    slot,
                    from,
                    len,
                    next,
                });
            }
        }
        let start = contexts[longest(&vec![END; recipe.order]) as usize];
        Self {
            recipe,
            units,
            texts,
            contexts: contexts.len(),
            entries,
            start,
            learned_texts,
        }
    }
}

/// Texts one behind the other, and where each begins and how long it is.
fn joined(texts: &[String]) -> (Vec<u8>, Vec<(u32, u32)>) {
    let mut all = Vec::new();
    let range = |text: &String| {
        let from = all.len() as u32;
        all.extend_from_slice(text.as_bytes());
        (from, text.len() as u32)
    };
    let ranges = texts.iter().map(range).collect();
    all.resize(all.len() + walk::PIECE, 0);
    (all, ranges)
}

impl AsRef<Slot> for Entry {
    fn as_ref(&self) -> &Slot {
        &self.slot
    }
}

impl Items for Maker {
    fn form(&self) -> Form {
        Form::Line { is_json: false }
    }

    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        self.append_texts(seed, item..item + 1, out);
    }

    fn append_range(&self, seed: u64, items: Range<u64>, out: &mut Vec<u8>) {
        self.append_texts(seed, items, out);
    }

    fn table(&self, seed: u64, first: u64, items: usize) -> Table {
        let mut lines = Vec::new();
        self.append_texts(seed, first..first + items as u64, &mut lines);
        let lines = String::from_utf8_lossy(&lines);
        Table::of_texts("text", lines.split_terminator('\n').map(ToOwned::to_owned))
    }

    /// That a text ends, and is made of learned units alone: where it can be cut, it goes on from there.
    fn check(&self, _: u64, _: u64, bytes: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let text = text.strip_suffix('\n').ok_or("no end of a line")?;
        let text = match self.recipe.unit {
            Unit::Word if !text.is_empty() => format!(" {text}"),
            _ => text.to_owned(),
        };
        let known: HashSet<&str> = self.units.iter().map(String::as_str).collect();
        let longest = self.units.iter().map(String::len).max().unwrap_or(0);
        let mut can_be_cut = vec![false; text.len() + 1];
        can_be_cut[0] = true;
        for from in 0..text.len() {
            if !can_be_cut[from] {
                continue;
            }
            for len in 1..=longest.min(text.len() - from) {
                let end = from + len;
                let unit = text.get(from..end);
                can_be_cut[end] |= unit.is_some_and(|unit| known.contains(unit));
            }
        }
        let reached = can_be_cut.iter().rposition(|can| *can).unwrap_or(0);
        if reached == text.len() {
            return Ok(());
        }
        Err(format!(
            "`{}` is of nothing that was learned",
            &text[reached..]
        ))
    }

    fn facts(&self) -> Vec<(String, String)> {
        vec![
            ("learned.texts".into(), self.learned_texts.to_string()),
            ("contexts".into(), self.contexts.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Items as _, Markov, Unit, split};
    use crate::synthetic::generators::grammar::Grammar;
    use crate::synthetic::items::bytes;

    #[test]
    fn lines_are_their_units() {
        for line in ["the cat's hat, 12 kg.", "  two  blanks ", "ünïcode—ok", " "] {
            for unit in [Unit::Word, Unit::Character] {
                assert_eq!(split(line, unit).collect::<String>(), line);
            }
        }
        let words: Vec<&str> = split("a cat's hat.", Unit::Word).collect();
        assert_eq!(words, ["a", " cat", "'", "s", " hat", "."]);
    }

    #[test]
    fn probabilities_are_those_of_witten_and_bell() {
        // Behind `a`: `b` three times, the end once; 2 different things, so 2 of 6 fall back.
        let maker = Markov {
            order: 1,
            unit: Unit::Character,
            ..Markov::default()
        }
        .learn("ab\nab\nab\na\n")
        .unwrap();
        let n = 60_000;
        let text = String::from_utf8(bytes(&maker, 1, 0, n)).unwrap();
        let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
        for line in text.lines() {
            *counts.entry(line).or_default() += 1.0 / n as f64;
        }
        // Without a past: a 4, b 3, end 4 of 11. At the start: a 4/5, or 1/5 of that.
        let first_is_a = 0.8 + 0.2 * 4.0 / 11.0;
        let ends_behind_a = 1.0 / 6.0 + 2.0 / 6.0 * 4.0 / 11.0;
        let expected = first_is_a * ends_behind_a;
        assert!(
            (counts["a"] - expected).abs() < 0.006,
            "{} {expected}",
            counts["a"]
        );
        // Behind b only the end was seen: 3 of 4, or fallen back.
        let b_behind_a = 3.0 / 6.0 + 2.0 / 6.0 * 3.0 / 11.0;
        let expected = first_is_a * b_behind_a * (0.75 + 0.25 * 4.0 / 11.0);
        assert!(
            (counts["ab"] - expected).abs() < 0.008,
            "{} {expected}",
            counts["ab"]
        );
    }

    #[test]
    fn texts_are_of_learned_words_and_do_not_depend_on_who_makes_them() {
        let corpus = Grammar::default()
            .build()
            .unwrap()
            .texts(1, 0, 3000)
            .join("\n");
        let maker = Markov::default().learn(&corpus).unwrap();
        let all = bytes(&maker, 5, 0, 500);
        let (head, tail) = (bytes(&maker, 5, 0, 123), bytes(&maker, 5, 123, 377));
        assert_eq!([head, tail].concat(), all);
        for (item, line) in (0..).zip(all.split_inclusive(|b| *b == b'\n')) {
            maker.check(5, item, line).unwrap();
        }
        assert!(maker.check(5, 0, b"unheard of\n").is_err());
        let again = Markov::default().learn(&corpus).unwrap();
        assert_eq!(bytes(&again, 5, 0, 500), all, "hashes decide nothing");
    }

    #[test]
    fn texts_end_even_where_no_learned_one_did_soon() {
        let maker = Markov {
            most_units: 7,
            ..Markov::default()
        }
        .learn("x x x x x x x x x")
        .unwrap();
        assert!(bytes(&maker, 1, 0, 1).len() <= 2 * 7 + 1);
        assert!(
            Markov::default()
                .learn("\n \n")
                .err()
                .unwrap()
                .contains("no text")
        );
        let none = Markov {
            order: 0,
            ..Markov::default()
        };
        assert!(none.learn("x").err().unwrap().contains("`order`"));
    }
}
