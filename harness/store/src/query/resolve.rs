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
    pub fn resolve(&self, name: &str) -> Result<RunId, StoreError> {
        let runs: Vec<(RunId, Vec<String>)> = self.rows(
            "SELECT run, tags FROM runs ORDER BY started DESC, run DESC",
            [],
            |row| Ok((row.get::<_, String>(0)?.parse()?, json(row, 1)?)),
        )?;
        if runs.is_empty() {
            return Err(StoreError::NoRuns {
                path: self.path.clone(),
            });
        }
        resolve(name, &runs)
    }
}

/// As [`Store::resolve`], among runs with their tags, the last first.
fn resolve(name: &str, runs: &[(RunId, Vec<String>)]) -> Result<RunId, StoreError> {
    if let Some(tag) = name.strip_prefix("tag:") {
        return tagged(name, tag, runs);
    }
    if let Some(back) = name.strip_prefix("latest") {
        return latest(name, back, runs);
    }
    let found: Vec<&RunId> = runs
        .iter()
        .map(|(run, _)| run)
        .filter(|run| !name.is_empty() && run.as_str().starts_with(name))
        .collect();
    match found[..] {
        [run] => Ok(run.clone()),
        [] => {
            let newest = runs[0].0.as_str();
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

fn latest(name: &str, back: &str, runs: &[(RunId, Vec<String>)]) -> Result<RunId, StoreError> {
    let steps = match back.strip_prefix('~') {
        None if back.is_empty() => Some(0),
        None => None,
        Some(digits) => digits.parse::<usize>().ok(),
    };
    let Some(steps) = steps else {
        let hint = "expected `latest`, or `latest~N` with N a whole number".into();
        return Err(unknown(name, hint));
    };
    let run = runs.get(steps).map(|(run, _)| run.clone());
    run.ok_or_else(|| {
        let most = runs.len() - 1;
        unknown(
            name,
            format!(
                "there are {} runs, so it goes back to `latest~{most}` at most",
                runs.len()
            ),
        )
    })
}

fn tagged(name: &str, tag: &str, runs: &[(RunId, Vec<String>)]) -> Result<RunId, StoreError> {
    let found = runs
        .iter()
        .find(|(_, tags)| tags.iter().any(|have| have == tag));
    if let Some((run, _)) = found {
        return Ok(run.clone());
    }
    let mut tags: Vec<&str> = runs
        .iter()
        .flat_map(|(_, tags)| tags)
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
    use assay_record::RunId;

    use super::resolve;

    fn runs() -> Vec<(RunId, Vec<String>)> {
        let run = |id: &str, tags: &[&str]| {
            (
                id.parse().unwrap(),
                tags.iter().map(|tag| (*tag).to_owned()).collect(),
            )
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
