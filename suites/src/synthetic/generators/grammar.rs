//! Texts of a template grammar, whose entropy is known: what a language model can learn, and where it cannot get lower.
//!
//! A grammar has symbols, each with templates of which one is drawn by its weight; a template is text with other symbols in braces,
//! `the {adjective} {noun}`. Drawing goes on until only text is left. The entropy of a derivation solves a linear
//! system: that of a symbol is that of its choice, plus the mean of those of the symbols in what is chosen
//! (U. Grenander, "Syntax-controlled probabilities", Brown University, 1967; Z. Chi, "Statistical properties of
//! probabilistic context-free grammars", Computational Linguistics 25(1), 1999, section 4). Where no text has two derivations,
//! as in the built-in grammar, it is the entropy of the texts.

mod built_in;

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::items::{Form, Items};
use super::super::random::alias::{self, Slot};
use super::super::random::{Bits as _, Draws};
use super::super::table::Table;

/// Random stream of its items.
const STREAM: u64 = 23;
/// How deep symbols may lie within one another, and how many one text goes through on average.
const MOST_DEPTH: usize = 2048;
const MOST_STEPS: f64 = 1024.0;
/// Most symbols, and templates of one.
const MOST_SYMBOLS: usize = 1000;
const MOST_TEMPLATES: usize = 100_000;

/// A grammar as it is written: for each symbol its templates, and where texts begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grammar {
    /// The symbol that every text is drawn from.
    pub start: String,
    /// The templates of each symbol.
    pub symbols: BTreeMap<String, Vec<Template>>,
}

/// A template: alone, as likely as others without weight, or with a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Template {
    /// Of weight 1.
    Text(String),
    /// Of a weight that is more than 0.
    Weighted(String, f64),
}

impl Default for Grammar {
    fn default() -> Self {
        built_in::grammar()
    }
}

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// Text: where it begins and ends in all texts of the grammar.
    Text(u32, u32),
    Symbol(u32),
}

/// A symbol ready to be drawn.
#[derive(Clone, Debug)]
struct Symbol {
    /// What a template is drawn by.
    slots: Vec<Slot>,
    /// The parts of each template, in the order of drawing.
    templates: Vec<Vec<Part>>,
    /// The probability of each.
    shares: Vec<f64>,
}

/// A grammar ready to be drawn from.
pub struct Maker {
    start: u32,
    texts: String,
    symbols: Vec<Symbol>,
    entropy_bits: f64,
    mean_bytes: f64,
}

impl Grammar {
    /// Parameters of a grammar, where they may say `built_in`, the name of one that is there: `machines`, or `training`, on whose texts
    /// [language models](crate::training) are trained that are given no others.
    ///
    /// # Errors
    /// If there is none of that name, or if they say what else it is, too.
    pub fn named(mut parameters: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let Some(name) = parameters.remove("built_in") else {
            return Ok(parameters);
        };
        let grammar = match name.as_str() {
            Some("machines") => built_in::grammar(),
            Some("training") => built_in::training(),
            _ => {
                return Err(format!(
                    "grammar: `built_in` is {name}: expected machines or training"
                ));
            }
        };
        if let Some(other) = parameters.keys().next() {
            return Err(format!(
                "grammar: `{other}` beside `built_in`, which says all of it; leave one of both out"
            ));
        }
        match serde_json::to_value(grammar) {
            Ok(Value::Object(parameters)) => Ok(parameters),
            _ => unreachable!("a grammar is an object"),
        }
    }

    /// What makes texts.
    ///
    /// # Errors
    /// The symbol and template that are wrong, or that texts would never end.
    pub fn build(&self) -> Result<Maker, String> {
        if self.symbols.len() > MOST_SYMBOLS {
            return Err(format!("more than {MOST_SYMBOLS} symbols"));
        }
        let names: Vec<&str> = self.symbols.keys().map(String::as_str).collect();
        let place = |name: &str| names.binary_search(&name).ok().map(|place| place as u32);
        let start = place(&self.start)
            .ok_or_else(|| format!("`start` is `{}`, which is no symbol", self.start))?;
        let mut texts = String::new();
        let symbols = self.symbols.iter().map(|(name, templates)| {
            Symbol::of(templates, place, &mut texts)
                .map_err(|what| format!("symbol `{name}`: {what}"))
        });
        let symbols: Vec<Symbol> = symbols.collect::<Result<_, _>>()?;
        let (entropy_bits, mean_bytes) = means(&symbols, start as usize)
            .ok_or("texts never end: symbols lead to more symbols than they use up")?;
        Ok(Maker {
            start,
            texts,
            symbols,
            entropy_bits,
            mean_bytes,
        })
    }
}

impl Symbol {
    fn of(
        templates: &[Template],
        place: impl Fn(&str) -> Option<u32>,
        texts: &mut String,
    ) -> Result<Self, String> {
        if templates.is_empty() || templates.len() > MOST_TEMPLATES {
            return Err(format!("expected 1 to {MOST_TEMPLATES} templates"));
        }
        let weights = templates.iter().map(Template::weight);
        let weights: Vec<f64> = weights.collect::<Result<_, _>>()?;
        let total: f64 = weights.iter().sum();
        let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let parts = templates.iter().map(|template| {
            let text = template.text();
            parse(text, &place, texts).map_err(|what| format!("template `{text}`: {what}"))
        });
        Ok(Self {
            slots: alias::slots(&weights),
            templates: parts.collect::<Result<_, _>>()?,
            shares,
        })
    }
}

impl Template {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Weighted(text, _) => text,
        }
    }

    fn weight(&self) -> Result<f64, String> {
        match self {
            Self::Text(_) => Ok(1.0),
            Self::Weighted(_, weight) if *weight > 0.0 && weight.is_finite() => Ok(*weight),
            Self::Weighted(text, weight) => Err(format!(
                "template `{text}`: weight {weight}, expected more than 0"
            )),
        }
    }
}

/// The parts of a template. Braces have no other use: `{{` is no way to write one.
fn parse(
    template: &str,
    place: impl Fn(&str) -> Option<u32>,
    texts: &mut String,
) -> Result<Vec<Part>, String> {
    if template.contains(['\n', '\r']) {
        return Err("a text is one line".into());
    }
    let mut parts = vec![];
    let mut rest = template;
    while !rest.is_empty() {
        let (text, behind) = rest.split_once('{').unwrap_or((rest, ""));
        if text.contains('}') {
            return Err("`}` without `{`".into());
        }
        if !text.is_empty() {
            let from = texts.len() as u32;
            texts.push_str(text);
            parts.push(Part::Text(from, texts.len() as u32));
        }
        if rest.len() == text.len() {
            break;
        }
        let (name, behind) = behind.split_once('}').ok_or("`{` without `}`")?;
        let symbol = place(name).ok_or_else(|| format!("no symbol is called `{name}`"))?;
        parts.push(Part::Symbol(symbol));
        rest = behind;
    }
    Ok(parts)
}

/// Bits and bytes of a text on average; `None` where either is without end.
///
/// Both solve `x = own + M x` with `M[i][j]` how many symbols `j` symbol `i` leads to on average. The series `sum M^k own` is
/// finite if and only if texts end on average; then the solution is it, and nowhere negative.
fn means(symbols: &[Symbol], start: usize) -> Option<(f64, f64)> {
    let n = symbols.len();
    let mut matrix = DMatrix::<f64>::zeros(n, n);
    let mut own_bits = DVector::zeros(n);
    let mut own_bytes = DVector::zeros(n);
    let mut steps = DVector::from_element(n, 1.0);
    for (i, symbol) in symbols.iter().enumerate() {
        for (share, parts) in symbol.shares.iter().zip(&symbol.templates) {
            own_bits[i] -= share * libm::log2(*share);
            for part in parts {
                match part {
                    Part::Text(from, to) => own_bytes[i] += share * f64::from(to - from),
                    Part::Symbol(j) => matrix[(i, *j as usize)] += share,
                }
            }
        }
    }
    // Only what the start leads to counts: the rest may go on for ever.
    let reached = reached(&matrix, start);
    for (i, is_reached) in reached.iter().enumerate() {
        if !is_reached {
            matrix.row_mut(i).fill(0.0);
            steps[i] = 0.0;
        }
    }
    let inverse = (DMatrix::identity(n, n) - matrix).lu();
    // Steps of a text: at least one each, if they end at all.
    let steps = inverse.solve(&steps)?;
    let is_finite = |i: usize| !reached[i] || (1.0..MOST_STEPS).contains(&steps[i]);
    if !(0..n).all(is_finite) {
        return None;
    }
    let (bits, bytes) = (inverse.solve(&own_bits)?, inverse.solve(&own_bytes)?);
    Some((bits[start], bytes[start]))
}

fn reached(matrix: &DMatrix<f64>, start: usize) -> Vec<bool> {
    let mut reached = vec![false; matrix.nrows()];
    let mut open = vec![start];
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut reached[i], true) {
            open.extend((0..matrix.ncols()).filter(|j| matrix[(i, *j)] > 0.0));
        }
    }
    reached
}

impl Maker {
    /// Bits of a text on average: what no model of these texts can do better than.
    pub fn entropy_bits(&self) -> f64 {
        self.entropy_bits
    }

    /// Bytes of a text on average, without the end of its line.
    pub fn mean_bytes(&self) -> f64 {
        self.mean_bytes
    }

    /// Appends a text, without the end of its line.
    pub fn append_text(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        let mut draws = Draws::of_row(seed, STREAM, item);
        self.expand(self.start, MOST_DEPTH, &mut draws, out);
    }

    /// Appends what a symbol becomes.
    fn expand(&self, symbol: u32, depth: usize, draws: &mut Draws, out: &mut Vec<u8>) {
        for part in self.symbols[symbol as usize].draw(draws) {
            match *part {
                Part::Text(from, to) => {
                    out.extend_from_slice(&self.texts.as_bytes()[from as usize..to as usize]);
                }
                // Texts that are so deep do not occur; the bound is against those that would fill the memory.
                Part::Symbol(inner) if depth > 0 => self.expand(inner, depth - 1, draws, out),
                Part::Symbol(_) => {}
            }
        }
    }

    /// Texts without the ends of their lines.
    pub fn texts(&self, seed: u64, first: u64, items: usize) -> Vec<String> {
        let text = |item| {
            let mut out = Vec::new();
            self.append_text(seed, item, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        (first..first + items as u64).map(text).collect()
    }

    /// Whether some text may be what a symbol becomes, and where it then ends: every end that is possible.
    fn ends(&self, symbol: u32, text: &[u8], from: usize, depth: usize) -> Vec<usize> {
        if depth == 0 {
            return vec![];
        }
        let mut all = vec![];
        for parts in &self.symbols[symbol as usize].templates {
            let mut ends = vec![from];
            for part in parts {
                let after = |end: &usize| match part {
                    Part::Text(a, b) => {
                        let word = &self.texts.as_bytes()[*a as usize..*b as usize];
                        let is_there = text[*end..].starts_with(word);
                        if is_there {
                            vec![end + word.len()]
                        } else {
                            vec![]
                        }
                    }
                    Part::Symbol(inner) => self.ends(*inner, text, *end, depth - 1),
                };
                ends = ends.iter().flat_map(after).collect();
                ends.sort_unstable();
                ends.dedup();
                if ends.is_empty() {
                    break;
                }
            }
            all.extend(ends);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Symbol {
    fn draw(&self, draws: &mut Draws) -> &[Part] {
        if self.templates.len() == 1 {
            return &self.templates[0];
        }
        &self.templates[alias::draw(&self.slots, draws.word())]
    }
}

impl Items for Maker {
    fn form(&self) -> Form {
        Form::Line { is_json: false }
    }

    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        self.append_text(seed, item, out);
        out.push(b'\n');
    }

    fn table(&self, seed: u64, first: u64, items: usize) -> Table {
        Table::of_texts("text", self.texts(seed, first, items))
    }

    /// That a text is one of the grammar's, by parsing it.
    fn check(&self, _: u64, _: u64, bytes: &[u8]) -> Result<(), String> {
        const DEPTH: usize = 64;
        let text = bytes.strip_suffix(b"\n").ok_or("no end of a line")?;
        if self.ends(self.start, text, 0, DEPTH).contains(&text.len()) {
            Ok(())
        } else {
            Err(format!(
                "no text of the grammar: {}",
                String::from_utf8_lossy(text)
            ))
        }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let rate = self.entropy_bits / (self.mean_bytes + 1.0);
        vec![
            (
                "entropy".into(),
                format!("{:.4} bits a text", self.entropy_bits),
            ),
            (
                "entropy.rate".into(),
                format!("{rate:.6} bits a byte, ends of lines among them"),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{Grammar, Items as _, Maker, Template};
    use crate::training::grammar as of_training;

    fn grammar(symbols: &[(&str, &[(&str, f64)])]) -> Result<Maker, String> {
        let templates = |templates: &[(&str, f64)]| {
            let template =
                |(text, weight): &(&str, f64)| Template::Weighted((*text).into(), *weight);
            templates.iter().map(template).collect()
        };
        let symbols = symbols
            .iter()
            .map(|(name, of)| ((*name).to_owned(), templates(of)));
        Grammar {
            start: "start".into(),
            symbols: symbols.collect(),
        }
        .build()
    }

    #[test]
    fn entropy_is_that_of_the_texts_that_come_out() {
        let maker = grammar(&[
            ("start", &[("{a}{a}.", 3.0), ("x", 1.0)]),
            ("a", &[("p", 1.0), ("q", 2.0), ("({a})", 1.0)]),
        ])
        .unwrap();
        // a: 1.5 bits of choice, and a quarter of another a: 2 bits. start: H(1/4) + 3/4 * 2 * 2.
        assert!((maker.entropy_bits() - (0.811_278_124_459_132_9 + 3.0)).abs() < 1e-12);
        // a: 3/4 + 2/4 + a/4: 5/3 bytes. start: 3/4 (10/3 + 1) + 1/4.
        assert!((maker.mean_bytes() - 3.5).abs() < 1e-12);
        let n = 200_000;
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for text in maker.texts(1, 0, n) {
            *counts.entry(text).or_default() += 1.0;
        }
        let share = |count: &f64| count / n as f64;
        let entropy: f64 = counts.values().map(|c| -share(c) * share(c).log2()).sum();
        assert!((entropy - maker.entropy_bits()).abs() < 0.02, "{entropy}");
    }

    /// What is stored of it is known again by a training, with the floor of its loss.
    #[test]
    fn the_grammar_of_trainings_is_theirs() {
        let parameters = json!({"built_in": "training"});
        let parameters = Grammar::named(parameters.as_object().unwrap().clone()).unwrap();
        let grammar: Grammar = serde_json::from_value(Value::Object(parameters)).unwrap();
        let maker = grammar.build().unwrap();
        let nats = maker.entropy_bits() * std::f64::consts::LN_2 / (maker.mean_bytes() + 1.0);
        assert!((nats / of_training::entropy() - 1.0).abs() < 1e-9, "{nats}");
        let texts: String = maker.texts(4, 0, 20_000).join("\n") + "\n";
        let found = of_training::nats_a_byte(texts.as_bytes()).unwrap();
        assert!((found / nats - 1.0).abs() < 0.02, "{found} {nats}");
        for (wrong, words) in [
            (json!({"built_in": "none"}), "expected machines or training"),
            (
                json!({"built_in": "training", "start": "x"}),
                "`start` beside `built_in`",
            ),
        ] {
            let error = Grammar::named(wrong.as_object().unwrap().clone()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_built_in_grammar_makes_texts_that_it_knows_again() {
        let maker = Grammar::default().build().unwrap();
        let bits = maker.entropy_bits();
        assert!(bits > 20.0 && maker.mean_bytes() > 30.0, "{bits}");
        let texts = maker.texts(9, 0, 2000);
        let mean = texts.iter().map(String::len).sum::<usize>() as f64 / 2000.0;
        assert!(
            (mean / maker.mean_bytes() - 1.0).abs() < 0.05,
            "{mean} {}",
            maker.mean_bytes()
        );
        for text in &texts[..300] {
            maker.check(9, 0, format!("{text}\n").as_bytes()).unwrap();
            assert!(maker.check(9, 0, format!("{text} x\n").as_bytes()).is_err());
            assert!(maker.check(9, 0, text.as_bytes()).is_err());
        }
    }

    #[test]
    fn grammars_that_cannot_be_drawn_from_are_refused() {
        let refused = |symbols: &[(&str, &[(&str, f64)])]| grammar(symbols).err().unwrap();
        assert!(refused(&[("other", &[("x", 1.0)])]).contains("`start`"));
        assert!(refused(&[("start", &[("{b}", 1.0)])]).contains("no symbol is called `b`"));
        assert!(refused(&[("start", &[("{start", 1.0)])]).contains("`{` without `}`"));
        assert!(refused(&[("start", &[("a}", 1.0)])]).contains("`}` without `{`"));
        assert!(refused(&[("start", &[("a", 0.0)])]).contains("weight 0"));
        assert!(refused(&[("start", &[])]).contains("templates"));
        // One symbol becomes two as often as none; and one that only becomes itself.
        assert!(
            refused(&[("start", &[("{start}{start}", 1.0), ("x", 1.0)])]).contains("never end")
        );
        assert!(refused(&[("start", &[("{start}", 1.0)])]).contains("never end"));
        // What the start does not lead to does no harm.
        grammar(&[("start", &[("x", 1.0)]), ("loop", &[("{loop}", 1.0)])]).unwrap();
    }
}
