//! What a Containerfile takes from elsewhere: other images by their digests, and nothing from an address. A tag is another
//! image tomorrow, and an address another file.
//!
//! Read as the builder reads it, as far as that goes: where a line may mean two things, it is refused.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;

/// Refuses a Containerfile that takes anything from an image that is not named by its digest, or from the network.
pub fn check(text: &str, arguments: &BTreeMap<String, String>) -> Result<()> {
    let mut file = File {
        given: arguments,
        values: BTreeMap::new(),
        stages: Vec::new(),
    };
    for line in lines(text)? {
        file.instruction(&line)
            .with_context(|| format!("`{}`", line.trim()))?;
    }
    Ok(())
}

/// Instructions, each on one line, without comments.
fn lines(text: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim_end) {
        if let Some(comment) = line.trim_start().strip_prefix('#') {
            let directive = comment.split('=').next().unwrap_or_default().trim();
            ensure!(
                !directive.eq_ignore_ascii_case("escape"),
                "`{line}`: lines are continued by \\ alone; leave it away"
            );
            // To some builders it is a part of what is continued.
            ensure!(
                open.is_empty() || line.starts_with('#'),
                "`{line}`: a comment within what is continued begins its line; take the blanks before it away"
            );
            continue;
        }
        match line.strip_suffix('\\') {
            Some(begun) => open.push_str(begun),
            // An empty line does not end what is continued.
            None if line.is_empty() => {}
            None => {
                open.push_str(line);
                lines.push(std::mem::take(&mut open));
            }
        }
    }
    lines.push(open);
    Ok(lines)
}

/// What is known of a file at one of its lines.
struct File<'a> {
    given: &'a BTreeMap<String, String>,
    /// Arguments that a `FROM` can name: those before the first of them.
    values: BTreeMap<String, String>,
    /// What stages are called; empty where one has no name.
    stages: Vec<String>,
}

impl File<'_> {
    fn instruction(&mut self, line: &str) -> Result<()> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        // What a stage leaves to be done by the stages that are built on it.
        while words
            .first()
            .is_some_and(|word| word.eq_ignore_ascii_case("ONBUILD"))
        {
            words.remove(0);
        }
        let Some((instruction, rest)) = words.split_first() else {
            return Ok(());
        };
        match instruction.to_ascii_uppercase().as_str() {
            "ARG" if self.stages.is_empty() => {
                for one in rest {
                    self.argument(one);
                }
                Ok(())
            }
            "FROM" => self.stage(rest),
            "COPY" => self.copied(rest),
            "ADD" => added(rest),
            "RUN" => self.mounted(rest),
            _ => Ok(()),
        }
    }

    fn argument(&mut self, text: &str) {
        let (name, default) = text.split_once('=').unwrap_or((text, ""));
        let value = self.given.get(name).map_or(default, String::as_str);
        self.values.insert(name.to_owned(), value.to_owned());
    }

    fn stage(&mut self, words: &[&str]) -> Result<()> {
        let mut words = words.iter().filter(|word| !word.starts_with("--"));
        let base = words.next().context("a FROM without a base")?;
        self.base(&self.filled(base))?;
        let is_named = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("AS"));
        let name = words.next().filter(|_| is_named);
        self.stages
            .push(name.map_or(String::new(), |name| (*name).to_owned()));
        Ok(())
    }

    fn copied(&self, words: &[&str]) -> Result<()> {
        options(words)
            .filter_map(|option| option.strip_prefix("--from="))
            .try_for_each(|from| self.source(from))
    }

    fn mounted(&self, words: &[&str]) -> Result<()> {
        for option in options(words) {
            if let Some(network) = option.strip_prefix("--network=") {
                ensure!(
                    ["none", "default"].contains(&network),
                    "a build has no network; put what it needs beside the Containerfile"
                );
            }
            let fields = option.strip_prefix("--mount=").into_iter();
            for (key, value) in fields
                .flat_map(|fields| fields.split(','))
                .filter_map(|field| field.trim_matches('"').split_once('='))
            {
                if key.eq_ignore_ascii_case("from") {
                    self.source(value)?;
                }
            }
        }
        Ok(())
    }

    /// `${NAME}` or `$NAME`, whole, by its value.
    fn filled(&self, base: &str) -> String {
        let name = base
            .strip_prefix('$')
            .map(|name| name.trim_start_matches('{').trim_end_matches('}'));
        match name {
            Some(name) => self.values.get(name).cloned().unwrap_or_default(),
            None => base.to_owned(),
        }
    }

    /// Where files are taken from: as a base, or a stage by its number.
    fn source(&self, from: &str) -> Result<()> {
        let number: Option<usize> = from.parse().ok();
        if number.is_some_and(|number| number < self.stages.len()) {
            return Ok(());
        }
        self.base(from)
    }

    fn base(&self, base: &str) -> Result<()> {
        let digest = base.rsplit_once('@').map(|(_, digest)| digest);
        let is_pinned = digest.is_some_and(|digest| digest.parse::<Digest>().is_ok());
        let is_stage = || self.stages.iter().any(|stage| stage == base);
        if base == "scratch" || is_pinned || (!base.is_empty() && is_stage()) {
            return Ok(());
        }
        if base.is_empty() {
            bail!("its base is not given; name it by digest: --arg BASE=REPOSITORY@sha256:...");
        }
        bail!("the base {base:?} is not named by digest; write REPOSITORY@sha256:...");
    }
}

/// Words before the first that is no option.
fn options<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    words
        .iter()
        .copied()
        .take_while(|word| word.starts_with("--"))
}

/// A file from an address may be another tomorrow; one whose name is filled in may be such a one.
fn added(words: &[&str]) -> Result<()> {
    let is_far = |word: &&str| word.contains("://") || word.contains("git@") || word.contains('$');
    ensure!(
        !words.iter().any(is_far),
        "ADD takes files that lie beside the Containerfile, by their names; fetch it, and COPY it"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    fn checked(text: &str, base: &str) -> Result<(), String> {
        let given = BTreeMap::from([("BASE".to_owned(), base.to_owned())]);
        super::check(text, &given).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_a_file_takes_is_named_by_digest() {
        let pinned = format!("r/x@sha256:{}", "0".repeat(64));
        for text in [
            "FROM scratch".to_owned(),
            "FROM scratch AS a\nFROM a".to_owned(),
            "ARG BASE=x\nFROM --platform=linux/amd64 ${BASE} AS b".to_owned(),
            "FROM scratch AS a\nFROM scratch\nCOPY --chown=1 --from=a /x /y\nCOPY --from=0 /x /y"
                .to_owned(),
            format!("FROM scratch\nCOPY --from={pinned} /x /y"),
            format!(
                "FROM scratch\nRUN --network=none --mount=type=bind,from={pinned},target=/x \\\n  cp /x/y /z"
            ),
            "FROM scratch\nCOPY root/ /\nADD a.tar /\nRUN echo --from=x".to_owned(),
        ] {
            checked(&text, &pinned).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn a_base_that_is_not_is_refused() {
        for (text, base, expected) in [
            ("FROM debian:12", "", "debian:12"),
            ("ARG BASE\nFROM ${BASE}", "", "not given"),
            ("ARG BASE\nFROM $BASE", "debian", "by digest"),
            ("ARG BASE\nFROM $BASE", "debian@sha256:12", "by digest"),
            ("FROM scratch AS a\nFROM b", "", "\"b\""),
            ("FROM \\\n  debian:12", "", "debian:12"),
        ] {
            let error = checked(text, base).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        // An argument of a stage is none of the file's, which is what FROM reads.
        let pinned = format!("x@sha256:{}", "0".repeat(64));
        let text = "ARG X=debian\nFROM scratch\nARG X=PINNED\nFROM $X".replace("PINNED", &pinned);
        assert!(checked(&text, "").unwrap_err().contains("debian"));
    }

    #[test]
    fn what_comes_from_elsewhere_otherwise_is_refused() {
        for (line, expected) in [
            ("COPY --from=localhost/v:latest /x /y", "localhost/v:latest"),
            ("copy --chown=1 --from=v /x /y", "\"v\""),
            ("COPY --from=1 /x /y", "\"1\""),
            ("COPY --from=$X /x /y", "$X"),
            ("ONBUILD COPY --from=v /x /y", "\"v\""),
            ("RUN --mount=type=bind,from=v,target=/x cp /x /y", "\"v\""),
            (
                "RUN --mount=type=bind,\\\nfrom=v,target=/x cp /x /y",
                "\"v\"",
            ),
            ("RUN \\\n# why\n\n --mount=from=v cp /x /y", "\"v\""),
            ("RUN --mount=\"from=v\" cp /x /y", "\"v\""),
            ("RUN x \\\n  # why\nCOPY --from=v /x /y", "# why"),
            ("RUN --network=host fetch", "no network"),
            ("ADD https://example.org/x /x", "beside the Containerfile"),
            ("ADD --chown=1 git@example.org:x.git /x", "beside"),
            ("ADD $WHERE /x", "beside"),
            ("# escape=`", "leave it away"),
        ] {
            let error = checked(&format!("FROM scratch\n{line}"), "").unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
