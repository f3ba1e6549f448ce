//! Contrast of the stylesheet's colours: what must be read can be, in both schemes (WCAG 2.2, success criterion 1.4.3).

use std::collections::BTreeMap;

const STYLE: &str = include_str!("../../../templates/assay.css");

/// The least contrast of text.
const LEAST: f64 = 4.5;

/// Variables of the light scheme and of the dark one.
fn schemes() -> [BTreeMap<&'static str, &'static str>; 2] {
    let mut parts = STYLE.split(":root {").skip(1);
    let mut next = || {
        let block = parts.next().and_then(|part| part.split('}').next());
        let lines = block.unwrap().lines().map(str::trim);
        let colours = lines.filter_map(|line| line.strip_suffix(';')?.split_once(": #"));
        colours
            .filter_map(|(name, colour)| Some((name.strip_prefix("--")?, colour)))
            .collect()
    };
    [next(), next()]
}

/// Relative luminance of `rrggbb`.
fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let part = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
        let share = f64::from(part) / 255.0;
        if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The declarations of a class.
fn rule(class: &str) -> &'static str {
    let begin = format!("\n.{class} {{ ");
    let found = STYLE
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once('}'));
    found
        .unwrap_or_else(|| panic!("no rule for .{class}"))
        .0
        .trim()
}

#[test]
fn zeros_and_other_soft_text_can_be_read() {
    assert!((contrast("000000", "ffffff") - 21.0).abs() < 1e-9);
    for class in ["zero", "pm", "unit", "reason"] {
        let rule = rule(class);
        assert!(rule.contains("color: var(--soft)"), "{class}: {rule}");
        assert!(!rule.contains("opacity"), "{class}: {rule}");
    }
    for scheme in schemes() {
        for ink in ["ink", "soft", "blue", "good", "bad", "warn"] {
            for paper in ["paper", "tint"] {
                let found = contrast(scheme[ink], scheme[paper]);
                assert!(found >= LEAST, "{ink} on {paper}: {found:.2}");
            }
        }
    }
}
