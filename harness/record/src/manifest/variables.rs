//! Values of variables, which may be secrets: whether a manifest sets any, and the same without them.

use std::path::Path;

use assay_protocol::CommandSpec;

use super::{Arm, Case, Manifest, WorkloadRef};
use crate::shared::Shared;

impl Manifest {
    /// Whether an arm, a command or a worker of the suite has a variable set.
    pub fn sets_variables(&self) -> bool {
        let of_case = |case: &Case| command(case).is_some_and(sets_variables);
        self.arms.iter().any(Arm::sets_variables)
            || self.cases.iter().any(of_case)
            || self.workers.values().any(|argv| has_values(argv))
    }

    /// The same with `instead` for each of their values.
    #[must_use]
    pub fn without_values(&self, instead: &str) -> Self {
        let mut manifest = self.clone();
        for arm in &mut manifest.arms {
            arm.prefix = arm.prefix_without_values(instead);
            hide(arm.env.values_mut(), instead);
        }
        for argv in manifest.workers.values_mut() {
            hide_words(argv, instead);
        }
        if manifest.cases.iter().any(|case| command(case).is_some()) {
            let mut cases = manifest.cases.to_vec();
            for case in &mut cases {
                if let WorkloadRef::Command(command) = &mut case.workload {
                    hide(command.env.values_mut(), instead);
                    hide_words(&mut command.argv, instead);
                }
            }
            manifest.cases = Shared::from(cases);
        }
        manifest
    }
}

impl Arm {
    /// The prefix with `instead` for the values of variables that it sets (`env NAME=value`, `--setenv=NAME=value`): like those of
    /// `env` they may be secrets.
    pub fn prefix_without_values(&self, instead: &str) -> Vec<String> {
        let word = |word: &String| match name_of_variable(word) {
            Some(name) => format!("{name}={instead}"),
            None => word.clone(),
        };
        self.prefix.iter().map(word).collect()
    }

    /// Whether it sets variables, by its own field or by its prefix.
    pub fn sets_variables(&self) -> bool {
        let of_prefix = |word: &String| name_of_variable(word).is_some();
        !self.env.is_empty() || self.prefix.iter().any(of_prefix)
    }
}

fn command(case: &Case) -> Option<&CommandSpec> {
    match &case.workload {
        WorkloadRef::Command(command) => Some(command),
        WorkloadRef::Worker { .. } | WorkloadRef::Kernel(_) => None,
    }
}

fn sets_variables(command: &CommandSpec) -> bool {
    !command.env.is_empty() || has_values(&command.argv)
}

/// Whether a program is started as `env NAME=value program`.
fn has_values(argv: &[String]) -> bool {
    let mut of_env = words_of_env(argv).into_iter();
    of_env.any(|place| shown_of(argv, place).is_some())
}

fn hide<'a>(values: impl Iterator<Item = &'a mut String>, instead: &str) {
    values.for_each(|value| instead.clone_into(value));
}

fn hide_words(argv: &mut [String], instead: &str) {
    for place in words_of_env(argv) {
        if let Some(shown) = shown_of(argv, place) {
            argv[place] = format!("{shown}{instead}");
        }
    }
}

/// What may be shown of a word of `env`'s that has a value: what stands before that.
fn shown_of(argv: &[String], place: usize) -> Option<String> {
    let word = &argv[place];
    let before = place.checked_sub(1).map(|before| argv[before].as_str());
    if before.is_some_and(splits_next) && word.contains('=') {
        return Some(String::new());
    }
    match split_string(word) {
        Some((option, text)) if text.contains('=') => Some(option.to_owned()),
        Some(_) => None,
        None => name_of_variable(word).map(|name| format!("{name}=")),
    }
}

/// An option that `env` makes words of (`-S 'NAME=value program'`), and its text.
fn split_string(word: &str) -> Option<(&str, &str)> {
    const LONG: &str = "--split-string=";
    if word.starts_with(LONG) {
        return Some(word.split_at(LONG.len()));
    }
    let is_short = word.starts_with('-') && !word.starts_with("--");
    let end = word.find('S').filter(|_| is_short)? + 1;
    Some(word.split_at(end))
}

/// Whether it is such an option, whose text is the next word.
fn splits_next(word: &str) -> bool {
    word == "--split-string" || split_string(word).is_some_and(|(_, text)| text.is_empty())
}

/// Where among the words each `env` has its options and the variables that it sets, be it started by another program (`nice env ...`).
/// Elsewhere a word with `=` is an argument like any other (`dd if=data`).
fn words_of_env(argv: &[String]) -> Vec<usize> {
    let name = |word: &String| Path::new(word).file_name().map(ToOwned::to_owned);
    let is_env = |word: &String| name(word).is_some_and(|name| name == "env");
    let (mut places, mut end) = (Vec::new(), 0);
    while let Some(env) = argv[end..].iter().position(is_env) {
        let first = end + env + 1;
        end = first;
        while let Some(word) = argv.get(end) {
            end += match word.as_str() {
                // Their values are words of their own.
                "-u" | "--unset" | "-C" | "--chdir" | "-a" | "--argv0" => 2,
                word if splits_next(word) => 2,
                word if word.starts_with('-') || name_of_variable(word).is_some() => 1,
                _ => break,
            };
        }
        end = end.min(argv.len());
        places.extend(first..end);
    }
    places
}

/// What stands before the value in a word that sets a variable.
fn name_of_variable(word: &str) -> Option<&str> {
    let is_name = |text: &str| {
        let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
    };
    let (first, rest) = word.split_once('=')?;
    if is_name(first) {
        return Some(first);
    }
    let (second, _) = rest.split_once('=')?;
    (first.starts_with('-') && is_name(second)).then(|| &word[..first.len() + 1 + second.len()])
}

#[cfg(test)]
mod tests {
    use super::{has_values, hide_words};

    #[test]
    fn only_what_env_sets_is_a_variable() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (argv, hidden) in [
            ("env TOKEN=a tool x=y", "env TOKEN=... tool x=y"),
            (
                "/usr/bin/env -i A=1 B=2 tool",
                "/usr/bin/env -i A=... B=... tool",
            ),
            ("env -u A B=2 tool", "env -u A B=... tool"),
            (
                "env -C /tmp -i B=2 tool -u x=y",
                "env -C /tmp -i B=... tool -u x=y",
            ),
            ("nice -n 1 env B=2 tool", "nice -n 1 env B=... tool"),
            ("env -u", "env -u"),
            (
                "env A=1 nice env B=2 tool x=y",
                "env A=... nice env B=... tool x=y",
            ),
            ("env -SA=1 tool", "env -S... tool"),
            ("env -vSA=1 tool", "env -vS... tool"),
            ("env -S A=1 tool", "env -S ... tool"),
            ("env --split-string=A=1 tool", "env --split-string=... tool"),
            ("env -S tool x", "env -S tool x"),
            ("dd if=data of=copy", "dd if=data of=copy"),
            ("env tool", "env tool"),
        ] {
            let mut argv = words(argv);
            let has = has_values(&argv);
            hide_words(&mut argv, "...");
            assert_eq!(argv, words(hidden));
            assert_eq!(has, hidden.contains("..."), "{hidden}");
        }
    }
}
