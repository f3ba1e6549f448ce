//! Outside text on its way to a page: bounded in length, without what no page may hold, escaped.

use std::borrow::Cow;
use std::io::{self, Write};

/// Longest text in a table cell or heading, in characters.
pub const CELL: usize = 160;

/// Longest end of a log that is published, in characters.
pub const LOG: usize = 8_000;

/// The text without colours of terminals, or its beginning and end around an ellipsis where it has more than `most` characters.
pub fn clip(text: &str, most: usize) -> Cow<'_, str> {
    if text.contains(TERMINAL_CODE) {
        return clip(&without_terminal_codes(text), most)
            .into_owned()
            .into();
    }
    if text.len() <= most || text.chars().count() <= most {
        return text.into();
    }
    let tail = most / 3;
    let head = most - tail - 1;
    let head: String = text.chars().take(head).collect();
    format!("{head}…{}", last_chars(text, tail)).into()
}

/// What a program said on its way out, clipped.
pub fn said(text: &str, most: usize) -> String {
    clip(text.trim(), most).into_owned()
}

/// A log's end, without the colours and cursor movements of terminals.
pub fn log_tail(log: &str) -> String {
    let plain = without_terminal_codes(last_chars(log, 2 * LOG));
    let tail = last_chars(&plain, LOG);
    if tail.len() < plain.len() || log.len() > 2 * LOG {
        return format!("…{tail}");
    }
    tail.to_owned()
}

fn last_chars(text: &str, most: usize) -> &str {
    let start = text.char_indices().rev().take(most).last();
    &text[start.map_or(text.len(), |(at, _)| at)..]
}

/// What colours and movements of terminals begin with.
const TERMINAL_CODE: &str = "\u{1b}[";

/// Removes `ESC [ ... letter` sequences (ECMA-48, section 5.4).
fn without_terminal_codes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(TERMINAL_CODE) {
        plain.push_str(before);
        let end = after.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c));
        rest = end.map_or("", |at| &after[at + 1..]);
    }
    plain.push_str(rest);
    plain
}

/// Escapes text for HTML, SVG and XML, in content and in quoted attributes. Characters that none of
/// them may hold become the replacement character.
pub fn escape(text: &str, out: &mut dyn Write) -> io::Result<()> {
    // Most of it is plain letters and digits, which bytes tell sooner than characters.
    let is_plain = |byte: &u8| {
        matches!(byte, b' '..=b'~') && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'')
    };
    if text.as_bytes().iter().all(is_plain) {
        return out.write_all(text.as_bytes());
    }
    let mut rest = text;
    while let Some(at) = rest.find(needs_care) {
        let (plain, from) = rest.split_at(at);
        out.write_all(plain.as_bytes())?;
        let mut characters = from.chars();
        let replacement = characters.next().map_or("", replacement);
        out.write_all(replacement.as_bytes())?;
        rest = characters.as_str();
    }
    out.write_all(rest.as_bytes())
}

/// The same as a value.
pub fn escaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    // Writing to memory does not fail, and of text only text is made.
    let _ = escape(text, &mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}

/// The same of a name that may be long: in a narrow place it is parted behind the signs that part it, and not within its words.
pub fn breakable(name: &str) -> String {
    escaped(name)
        .replace('/', "/<wbr>")
        .replace(',', ",<wbr>")
        .replace('[', "<wbr>[")
}

/// The text without characters that no page may hold, for files whose format escapes by itself.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(is_forbidden) {
        text.replace(is_forbidden, "\u{fffd}").into()
    } else {
        text.into()
    }
}

fn needs_care(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '"' | '\'') || is_forbidden(c)
}

fn replacement(c: char) -> &'static str {
    match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&#39;",
        _ => "\u{fffd}",
    }
}

/// Control characters but for tab and newline, noncharacters, and what turns the direction of text
/// against its letters (Unicode UAX 9: embeddings, overrides and isolates).
fn is_forbidden(c: char) -> bool {
    let control = c.is_control() && !matches!(c, '\t' | '\n');
    let last_of_plane = u32::from(c) & 0xfffe == 0xfffe;
    let turns_text = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    control || turns_text || last_of_plane || ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::{LOG, breakable, clip, escaped, log_tail};

    #[test]
    fn long_text_keeps_both_ends() {
        assert_eq!(clip("short", 5), "short");
        assert_eq!(clip("0123456789", 7), "0123…89");
        assert_eq!(clip("äöüäöü", 6), "äöüäöü");
        assert_eq!(clip(&"é".repeat(10_000), 160).chars().count(), 160);
    }

    #[test]
    fn logs_lose_colours_and_their_beginning() {
        assert_eq!(log_tail("\u{1b}[1;31merror\u{1b}[0m: no"), "error: no");
        assert_eq!(clip("\u{1b}[1;31merror\u{1b}[0m: no", 6), "err…no");
        assert_eq!(log_tail("cut \u{1b}[31"), "cut ");
        let long = log_tail(&"x".repeat(100_000));
        assert_eq!(long.chars().count(), LOG + 1);
        assert!(long.starts_with('…'));
    }

    #[test]
    fn names_are_parted_behind_their_signs_and_escaped() {
        assert_eq!(
            breakable("memory/triad[dtype=f32,n=<8>]"),
            "memory/<wbr>triad<wbr>[dtype=f32,<wbr>n=&lt;8&gt;]"
        );
    }

    #[test]
    fn nothing_that_is_markup_or_forbidden_survives() {
        assert_eq!(
            escaped("<a href=\"x\" onclick='y'>&"),
            "&lt;a href=&quot;x&quot; onclick=&#39;y&#39;&gt;&amp;"
        );
        assert_eq!(
            escaped("a\0b\u{7}c\u{fffe}\u{fdd0}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}"
        );
        assert_eq!(
            escaped("two\n\tlines \u{202e}ok שלום"),
            "two\n\tlines \u{fffd}ok שלום"
        );
    }
}
