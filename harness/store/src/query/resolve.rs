//! Names that people give runs: an id, its beginning, `latest`, `latest~2`, `tag:NAME`.

use assay_record::RunId;

use super::json;
use crate::Store;
use crate::error::StoreError;

/// How many candidates an error lists.
const LISTED: usize = 8;

impl Store {
    /// The run that a name means.
    ///
    /// An id; the beginning of just one id; `latest`, the run that started last; `latest~N`, the Nth before it; `tag:NAME`, the last one with that tag.
    /// For `latest` no run counts that was made to confirm another: it has a few cases of that one alone.
    pub fn resolve(&self, name: &str) -> Result<RunId, StoreError> {
        let runs: Vec<Named> = self.rows(
            "SELECT run, tags, confirms IS NOT NULL FROM runs ORDER BY started DESC, run DESC",
            [],
            |row| {
                Ok(Named {
                    run: row.get::<_, String>(0)?.parse()?,
                    tags: json(row, 1)?,
                    confirms: row.get(2)?,
                })
            },
        )?;
        if runs.is_empty() {
            return Err(StoreError::NoRuns {
                path: self.path.clone(),
            });
        }
        resolve(name, &runs)
    }
}

/// A run by which it is found.
struct Named {
    run: RunId,
    tags: Vec<String>,
    /// Whether it was made to confirm another.
    confirms: bool,
}

/// As [`Store::resolve`], among runs, the last first.
fn resolve(name: &str, runs: &[Named]) -> Result<RunId, StoreError> {
    if let Some(tag) = name.strip_prefix("tag:") {
        return tagged(name, tag, runs);
    }
    if let Some(back) = name.strip_prefix("latest") {
        return latest(name, back, runs);
    }
    let found: Vec<&RunId> = runs
        .iter()
        .map(|named| &named.run)
        .filter(|run| !name.is_empty() && run.as_str().starts_with(name))
        .collect();
    match found[..] {
        [run] => Ok(run.clone()),
        [] => {
            let newest = runs[0].run.as_str();
            let hint = format!(
                "expected an id or the beginning of one (the last run is {newest}), latest, latest~1, or tag:NAME; `assay list --runs` shows all"
            );
            Err(unknown(name, hint))
        }
        _ => Err(StoreError::AmbiguousRun {
            name: shortened(name),
            count: found.len(),
            candidates: listed(found.iter().map(|run| run.as_str())),
        }),
    }
}

fn latest(name: &str, back: &str, runs: &[Named]) -> Result<RunId, StoreError> {
    let own: Vec<&RunId> = runs
        .iter()
        .filter(|named| !named.confirms)
        .map(|named| &named.run)
        .collect();
    let steps = match back.strip_prefix('~') {
        None if back.is_empty() => Some(0),
        None => None,
        Some(digits) => digits.parse::<usize>().ok(),
    };
    let Some(steps) = steps else {
        let hint = "expected `latest`, or `latest~N` with N a whole number".into();
        return Err(unknown(name, hint));
    };
    let run = own.get(steps).map(|run| (*run).clone());
    run.ok_or_else(|| {
        let hint = match own.len() {
            0 => "every run there is was made to confirm another".into(),
            count => format!(
                "there are {count} runs, those that confirm others left out, so it goes back to `latest~{}` at most",
                count - 1
            ),
        };
        unknown(name, hint)
    })
}

fn tagged(name: &str, tag: &str, runs: &[Named]) -> Result<RunId, StoreError> {
    let found = runs
        .iter()
        .find(|named| named.tags.iter().any(|have| have == tag));
    if let Some(named) = found {
        return Ok(named.run.clone());
    }
    let mut tags: Vec<&str> = runs
        .iter()
        .flat_map(|named| &named.tags)
        .map(String::as_str)
        .collect();
    tags.sort_unstable();
    tags.dedup();
    let hint = if tags.is_empty() {
        "no run has a tag; `assay run --tag NAME` gives one".into()
    } else {
        format!("there are the tags {}", listed(tags.into_iter()))
    };
    Err(unknown(name, hint))
}

fn unknown(name: &str, hint: String) -> StoreError {
    StoreError::UnknownRun {
        name: shortened(name),
        hint,
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(100).collect()
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let mut listed: Vec<String> = names.take(LISTED).map(str::to_owned).collect();
    if count > LISTED {
        listed.push(format!("and {} more", count - LISTED));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Named, resolve};

    fn runs() -> Vec<Named> {
        let run = |id: &str, tags: &[&str]| Named {
            run: id.parse().unwrap(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            confirms: false,
        };
        vec![
            run("20261122-010000-cccccccc", &[]),
            run("20261121-010000-bbbbbbbb", &["nightly", "v2"]),
            run("20261120-010000-aaaaaaaa", &["nightly"]),
        ]
    }

    #[test]
    fn store_resolves_every_way_of_naming_a_run() {
        for (name, last) in [
            ("latest", 'c'),
            ("latest~0", 'c'),
            ("latest~2", 'a'),
            ("tag:nightly", 'b'),
            ("20261120", 'a'),
            ("20261121-010000-bbbbbbbb", 'b'),
        ] {
            let run = resolve(name, &runs()).unwrap();
            assert!(run.as_str().ends_with(last), "{name}: {run}");
        }
    }

    #[test]
    fn store_resolves_the_latest_run_past_those_that_confirm_others() {
        let mut runs = runs();
        let confirmation = |id: &str| Named {
            run: id.parse().unwrap(),
            tags: Vec::new(),
            confirms: true,
        };
        runs.insert(0, confirmation("20261122-020000-dddddddd"));
        runs.insert(2, confirmation("20261121-020000-eeeeeeee"));
        for (name, last) in [("latest", 'c'), ("latest~1", 'b'), ("latest~2", 'a')] {
            let run = resolve(name, &runs).unwrap();
            assert!(run.as_str().ends_with(last), "{name}: {run}");
        }
        let error = resolve("latest~3", &runs).unwrap_err().to_string();
        assert!(error.contains("goes back to `latest~2`"), "{error}");
        let named = resolve("20261122-02", &runs).unwrap();
        assert!(named.as_str().ends_with('d'), "{named}");
        let only = resolve("latest", &runs[..1]).unwrap_err().to_string();
        assert!(only.contains("was made to confirm another"), "{only}");
    }

    #[test]
    fn store_says_why_a_name_means_no_run() {
        for (name, words) in [
            ("", "expected an id"),
            ("2026", "beginning of 3 runs"),
            ("latest~3", "goes back to `latest~2`"),
            ("latest~x", "a whole number"),
            ("latestt", "a whole number"),
            ("tag:no", "nightly, v2"),
            ("' OR 1=1 --", "expected an id"),
        ] {
            let error = resolve(name, &runs()).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
        let long = resolve(&"x".repeat(5000), &runs()).unwrap_err().to_string();
        assert!(long.len() < 400);
    }
}
