//! How the newest night went as a small SVG, to be put into another project's pages.
//!
//! It has its colours within, for no stylesheet of ours reaches there, and says in words what they say.

use assay_verdicts::gate::State;
use assay_verdicts::{OfHistory, Told};
use serde::Serialize;

use crate::address;
use crate::error::ReportError;
use crate::model::{Library, Night};
use crate::text::clip;

/// Longest name of a suite on it, in characters.
const NAME: usize = 40;

/// Free room beside each text, in pixels.
const ROOM: u32 = 6;

// White text on them has a contrast of more than 4.5 to 1.
const BAD: &str = "#a83a00";
const GOOD: &str = "#205f4a";
const WARN: &str = "#7a5200";
const QUIET: &str = "#59626d";

#[derive(Serialize)]
struct Drawing {
    name: String,
    name_width: u32,
    name_middle: u32,
    name_length: u32,
    state: String,
    state_width: u32,
    state_middle: u32,
    state_length: u32,
    width: u32,
    colour: &'static str,
}

/// The badge of a suite, or of all.
pub fn render(library: &Library<'_>, suite: Option<&str>) -> Result<String, ReportError> {
    let of_suite = |night: &&Night| {
        let row = library.night_row(night);
        row.is_some_and(|row| suite.is_none_or(|suite| row.suite == suite))
    };
    let own = |nights: Vec<_>| nights.into_iter().filter(of_suite).collect::<Vec<&Night>>();
    let [recent, old] = library.nights_by_age().map(own);
    let (state, colour) = if recent.is_empty() && !old.is_empty() {
        ("no recent night".into(), QUIET)
    } else {
        said(library, &recent)
    };
    let name = clip(suite.unwrap_or(&library.settings.title), NAME).into_owned();
    let drawing = drawing(name, state, colour);
    let rendered = library.settings.templates.render("badge.svg", &drawing);
    rendered.map_err(|source| ReportError::Render {
        page: address::badge(suite),
        source: Box::new(source),
    })
}

fn drawing(name: String, state: String, colour: &'static str) -> Drawing {
    let (name_length, state_length) = (length(&name), length(&state));
    let (name_width, state_width) = (name_length + 2 * ROOM, state_length + 2 * ROOM);
    Drawing {
        name_middle: name_width / 2,
        state_middle: name_width + state_width / 2,
        width: name_width + state_width,
        name,
        name_width,
        name_length,
        state,
        state_width,
        state_length,
        colour,
    }
}

/// The gravest of what is said of these nights, and its colour.
fn said(library: &Library<'_>, nights: &[&Night]) -> (String, &'static str) {
    let told = |night: &Night| library.said(night).map(|said| said.told);
    let states = nights.iter().filter_map(|night| told(night));
    let Some(worst) = states.min_by_key(|told| told.urgency()) else {
        return ("no nights yet".into(), QUIET);
    };
    let own = || nights.iter().filter(|night| told(night) == Some(worst));
    let counts = || own().map(|night| &night.gate.comparison.suite.counts);
    let of = || own().filter_map(|night| library.said(night));
    let state = match worst {
        Told::Gate(state) => state,
        Told::History(OfHistory::StillRegressed) => {
            return (many(of().map(|said| said.standing), "still regressed"), BAD);
        }
        Told::History(OfHistory::WorseToStay) => {
            return (
                many(of().map(|said| said.counts.worse), "worse to stay"),
                WARN,
            );
        }
        Told::History(OfHistory::BetterToStay) => {
            return (
                many(of().map(|said| said.counts.better), "better to stay"),
                GOOD,
            );
        }
    };
    match state {
        State::Troubled => (many(counts().map(|c| c.troubled), "failed"), BAD),
        State::Impossible => (many(counts().map(|c| c.impossible), "impossible"), BAD),
        State::Regressed => (many(counts().map(|c| c.regressed), "regressed"), BAD),
        State::NotMeasured => ("not measured".into(), WARN),
        State::NoBaseline => ("no baseline yet".into(), QUIET),
        State::Suspected => ("suspected".into(), WARN),
        State::Moved => ("machine moved".into(), WARN),
        State::Improved => (many(counts().map(|c| c.improved), "improved"), GOOD),
        State::Inconclusive => ("inconclusive".into(), QUIET),
        State::Known => ("known regressions".into(), QUIET),
        State::Unchanged => ("unchanged".into(), GOOD),
    }
}

fn many(counts: impl Iterator<Item = usize>, word: &str) -> String {
    format!("{} {word}", counts.sum::<usize>())
}

/// About how long the text is in 11 pixels of a common sans-serif; the drawing makes it so long.
fn length(text: &str) -> u32 {
    let tenths = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | '|' | '!' => 32,
        ' ' | 'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' => 42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 100,
        c if c.is_ascii_uppercase() => 76,
        c if c.is_ascii() => 66,
        _ => 90,
    };
    text.chars().map(tenths).sum::<u32>().div_ceil(10)
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn longer_texts_are_longer() {
        assert!(length("unchanged") > length("failed"));
        assert!(length("mmmm") > length("iiii"));
        assert_eq!(length(""), 0);
    }
}
