//! How the newest night went as a small SVG, to be put into another project's pages.
//!
//! It has its colours within, for no stylesheet of ours reaches there, and says in words what they say.

use assay_verdicts::comparison::Counts;
use assay_verdicts::gate::State;
use assay_verdicts::{Lasting, OfHistory, Told};
use serde::Serialize;

use crate::address;
use crate::error::ReportError;
use crate::model::{Library, Night, Unjudged};
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
    let arms: Vec<&Unjudged<'_>> = library.unjudged_of(suite).collect();
    let none = match () {
        () if !old.is_empty() => "no recent night",
        () if arms.is_empty() => "no nights yet",
        () => "not judged",
    };
    let said = said(library, &recent, &arms);
    let (state, colour) = said.unwrap_or((none.into(), QUIET));
    let name = clip(suite.unwrap_or(&library.settings.title), NAME).into_owned();
    let drawing = drawing(name, state, colour);
    let templates = &library.settings.templates;
    templates.render("badge.svg", &address::badge(suite), &drawing)
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

/// The gravest of what is said of these nights, and of arms that no night judges, and its colour; `None` where nothing is.
fn said(
    library: &Library<'_>,
    nights: &[&Night],
    arms: &[&Unjudged<'_>],
) -> Option<(String, &'static str)> {
    let told = |night: &Night| library.said(night).map(|said| said.told);
    let of_nights = nights.iter().filter_map(|night| told(night));
    let of_arms = arms.iter().filter_map(|one| one.told());
    let worst = of_nights.chain(of_arms).min_by_key(|told| told.urgency())?;
    let own = || nights.iter().filter(|night| told(night) == Some(worst));
    let own_arms = || arms.iter().filter(|one| one.told() == Some(worst));
    let count = |of: fn(&Counts) -> usize| -> usize {
        own()
            .map(|night| of(&night.gate.comparison.suite.counts))
            .sum()
    };
    let stands = || own().filter_map(|night| library.said(night));
    let lasting = |of: fn(&Lasting) -> usize| -> usize {
        let of_nights = stands().map(|said| of(&said.counts));
        of_nights.chain(own_arms().map(|one| of(&one.counts))).sum()
    };
    let impossible = || own_arms().map(|one| one.impossible()).sum::<usize>();
    let failed = || own_arms().map(|one| one.failed.len()).sum::<usize>() - impossible();
    let many = |count: usize, word: &str| format!("{count} {word}");
    Some(match worst {
        Told::History(OfHistory::StillRegressed) => {
            let standing = stands().map(|said| said.standing).sum();
            (many(standing, "still regressed"), BAD)
        }
        Told::History(OfHistory::WorseToStay) => {
            (many(lasting(|of| of.worse), "worse to stay"), WARN)
        }
        Told::History(OfHistory::BetterToStay) => {
            (many(lasting(|of| of.better), "better to stay"), GOOD)
        }
        Told::Gate(state) => match state {
            State::Troubled => (many(count(|c| c.troubled) + failed(), "failed"), BAD),
            State::Impossible => {
                let all = count(|c| c.impossible) + impossible();
                (many(all, "impossible"), BAD)
            }
            State::Regressed => (many(count(|c| c.regressed), "regressed"), BAD),
            State::NotMeasured => ("not measured".into(), WARN),
            State::NoBaseline => ("no baseline yet".into(), QUIET),
            State::Suspected => ("suspected".into(), WARN),
            State::Moved => ("machine moved".into(), WARN),
            State::Improved => (many(count(|c| c.improved), "improved"), GOOD),
            State::Inconclusive => ("inconclusive".into(), QUIET),
            State::Known => ("known regressions".into(), QUIET),
            State::Unchanged => ("unchanged".into(), GOOD),
        },
    })
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
