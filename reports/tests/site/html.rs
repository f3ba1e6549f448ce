//! Just enough of HTML to check links and markup: tags with their attributes.

/// A start tag.
pub struct Tag<'a> {
    pub name: &'a str,
    pub attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Tag<'a> {
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.attributes.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| *value)
    }
}

/// The start tags of a page. Our templates quote every attribute, so a `>` within quotes is no end.
pub fn tags(page: &str) -> Vec<Tag<'_>> {
    let starts = page.match_indices('<').map(|(at, _)| &page[at + 1..]);
    let starts = starts.filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    starts.map(|rest| tag(inside(rest))).collect()
}

fn inside(rest: &str) -> &str {
    let mut quoted = false;
    let end = rest.find(|c: char| {
        quoted ^= c == '"';
        c == '>' && !quoted
    });
    &rest[..end.expect("a tag has an end")]
}

fn tag(inside: &str) -> Tag<'_> {
    let (name, mut rest) = inside
        .split_once(char::is_whitespace)
        .unwrap_or((inside, ""));
    let mut attributes = Vec::new();
    while let Some((own, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').expect("a quoted value has an end");
        attributes.push((own.trim().rsplit(' ').next().unwrap_or_default(), value));
        rest = after;
    }
    Tag {
        name: name.trim_end_matches('/'),
        attributes,
    }
}
