//! The grammar that is there when nobody gives another: short reports about machines.
//!
//! No text of it has two derivations: each template begins or ends with words that its neighbours lack.

use std::collections::BTreeMap;

use super::{Grammar, Template};
use crate::training::grammar;

/// Symbols and their templates, most likely ones first.
const SYMBOLS: [(&str, &[(&str, f64)]); 13] = [
    (
        "start",
        &[
            ("{clause}.", 5.0),
            ("{clause}, and {clause}.", 2.0),
            ("{clause} because {clause}.", 2.0),
            ("When {clause}, {clause}.", 1.0),
            ("Note {number}: {clause}; {remark}.", 1.0),
        ],
    ),
    (
        "clause",
        &[
            ("{thing} {verb} {object}", 4.0),
            ("{thing} {verb} {object} {place}", 2.0),
            ("{thing} was {state} {time}", 3.0),
            ("{thing} reported {number} {unit}", 2.0),
        ],
    ),
    (
        "thing",
        &[
            ("the {noun}", 4.0),
            ("the {adjective} {noun}", 3.0),
            ("every {noun}", 1.0),
            ("{name}", 2.0),
        ],
    ),
    (
        "object",
        &[
            ("a {noun}", 3.0),
            ("a {adjective} {noun}", 2.0),
            ("{number} {noun}s", 2.0),
        ],
    ),
    (
        "noun",
        &[
            ("kernel", 6.0),
            ("sensor", 5.0),
            ("driver", 5.0),
            ("worker", 4.0),
            ("buffer", 4.0),
            ("machine", 4.0),
            ("record", 3.0),
            ("sample", 3.0),
            ("fan", 2.0),
            ("cable", 2.0),
            ("battery", 1.0),
            ("telescope", 1.0),
            ("reactor", 1.0),
            ("turbine", 1.0),
            ("valve", 1.0),
            ("pump", 1.0),
        ],
    ),
    (
        "adjective",
        &[
            ("slow", 4.0),
            ("fast", 4.0),
            ("old", 3.0),
            ("new", 3.0),
            ("quiet", 2.0),
            ("broken", 2.0),
            ("spare", 1.0),
            ("remote", 1.0),
            ("second", 1.0),
            ("heavy", 1.0),
        ],
    ),
    (
        "name",
        &[
            ("Ada", 3.0),
            ("Grace", 3.0),
            ("Alan", 2.0),
            ("Edsger", 1.0),
            ("Barbara", 2.0),
            ("Donald", 2.0),
            ("Katherine", 1.0),
            ("Linus", 1.0),
        ],
    ),
    (
        "verb",
        &[
            ("moved", 3.0),
            ("checked", 3.0),
            ("replaced", 2.0),
            ("measured", 4.0),
            ("lost", 1.0),
            ("found", 2.0),
            ("cooled", 1.0),
            ("started", 2.0),
            ("stopped", 2.0),
            ("copied", 1.0),
        ],
    ),
    (
        "state",
        &[
            ("idle", 3.0),
            ("busy", 3.0),
            ("throttled", 1.0),
            ("ready", 2.0),
            ("offline", 1.0),
            ("steady", 2.0),
        ],
    ),
    (
        "place",
        &[
            ("in the first rack", 2.0),
            ("on the roof", 1.0),
            ("near the door", 1.0),
            ("under the floor", 1.0),
            ("at the far end", 1.0),
        ],
    ),
    (
        "time",
        &[
            ("for {number} minutes", 3.0),
            ("since noon", 1.0),
            ("all night", 2.0),
            ("until the restart", 1.0),
        ],
    ),
    (
        "unit",
        &[
            ("volts", 1.0),
            ("watts", 3.0),
            ("errors", 2.0),
            ("degrees", 2.0),
            ("retries", 1.0),
        ],
    ),
    (
        "remark",
        &[
            ("nobody knows why", 2.0),
            ("it will be watched", 3.0),
            ("the log has more", 2.0),
            ("this is expected", 1.0),
        ],
    ),
];

/// Digits, without a leading zero.
const NUMBER: (&str, &[&str]) = (
    "number",
    &["{lead}", "{lead}{digit}", "{lead}{digit}{digit}"],
);

/// That of [trainings](crate::training::grammar).
pub fn training() -> Grammar {
    let symbols = grammar::symbols();
    let start = symbols.first().map(|(name, _)| name.clone());
    let weighted = |(text, weight)| Template::Weighted(text, weight);
    let of = |templates: Vec<_>| templates.into_iter().map(weighted).collect();
    let symbols = symbols.into_iter().map(|(name, all)| (name, of(all)));
    Grammar {
        start: start.unwrap_or_default(),
        symbols: symbols.collect::<BTreeMap<_, _>>(),
    }
}

pub fn grammar() -> Grammar {
    let weighted = |(text, weight): &(&str, f64)| Template::Weighted((*text).into(), *weight);
    let plain = |text: &str| Template::Text(text.into());
    let symbols = SYMBOLS
        .iter()
        .map(|(name, of)| ((*name).to_owned(), of.iter().map(weighted).collect()));
    let digits = |from: u8| (from..10).map(|digit| plain(&digit.to_string())).collect();
    let numbers = [
        (
            NUMBER.0.to_owned(),
            NUMBER.1.iter().map(|text| plain(text)).collect(),
        ),
        ("lead".to_owned(), digits(1)),
        ("digit".to_owned(), digits(0)),
    ];
    Grammar {
        start: "start".into(),
        symbols: symbols.chain(numbers).collect(),
    }
}
