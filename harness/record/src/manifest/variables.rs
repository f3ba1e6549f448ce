//! Values of variables, which may be secrets: whether a manifest sets any, and the same without them.

use std::ops::Range;
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
    let mut of_env = argv[words_of_env(argv)].iter();
    of_env.any(|word| name_of_variable(word).is_some())
}

fn hide<'a>(values: impl Iterator<Item = &'a mut String>, instead: &str) {
    values.for_each(|value| instead.clone_into(value));
}

fn hide_words(argv: &mut [String], instead: &str) {
    let of_env = words_of_env(argv);
    for word in &mut argv[of_env] {
        if let Some(name) = name_of_variable(word) {
            *word = format!("{name}={instead}");
        }
    }
}

/// Where among the words `env` has its options and the variables that it sets, be it started by another program (`nice env ...`).
/// Elsewhere a word with `=` is an argument like any other (`dd if=data`).
fn words_of_env(argv: &[String]) -> Range<usize> {
    let name = |word: &String| Path::new(word).file_name().map(ToOwned::to_owned);
    let is_env = |word: &String| name(word).is_some_and(|name| name == "env");
    let Some(env) = argv.iter().position(is_env) else {
        return 0..0;
    };
    let mut end = env + 1;
    while let Some(word) = argv.get(end) {
        end += match word.as_str() {
            // Their values are words of their own.
            "-u" | "--unset" | "-C" | "--chdir" | "-a" | "--argv0" => 2,
            word if word.starts_with('-') || name_of_variable(word).is_some() => 1,
            _ => break,
        };
    }
    env + 1..end.min(argv.len())
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
