//! What must hold of a manifest and of a block beyond their form, whoever wrote them.
//!
//! A digest says that a file is what it was, not that it makes sense: manifests and records may come
//! from strangers. Names checked here become parts of ids, files and pages.

use std::collections::HashSet;
use std::path::{Component, Path};

use crate::body::{Block, BlockStatus, Samples};
use crate::manifest::{
    Arm, ArmCommit, BUILTIN_WORKER, Case, Engine, Image, ImageFormat, Manifest, Policy, WorkloadRef,
};

/// Most cases of one manifest.
pub const MAX_CASES: usize = 100_000;
/// Longest id of a case, in bytes.
pub const MAX_ID_BYTES: usize = 500;
/// Most disturbances of one block.
const MAX_DISTURBANCES: usize = 100;
/// Longest name of an arm, in bytes.
pub const MAX_ARM_BYTES: usize = 32;

/// Whether a manifest can be run. The error names field and expectation.
pub fn manifest(manifest: &Manifest) -> Result<(), String> {
    name("suite.name", &manifest.suite.name, "")?;
    if manifest.arms.is_empty() {
        return Err("field `arms` is empty".into());
    }
    if manifest.cases.is_empty() || manifest.cases.len() > MAX_CASES {
        return Err(format!(
            "field `cases` has {} entries; 1 to {MAX_CASES}",
            manifest.cases.len()
        ));
    }
    let mut arms = HashSet::new();
    for arm in &manifest.arms {
        self::arm(&arm.name)?;
        // Folders of pages may lie on a file system that tells no cases apart.
        if !arms.insert(arm.name.to_ascii_lowercase()) {
            return Err(format!("two arms are called `{}`", arm.name));
        }
        arm.commit.as_ref().map_or(Ok(()), commit)?;
        contained(arm).map_err(|what| format!("arm `{}`: {what}", arm.name))?;
    }
    let mut ids = HashSet::new();
    for case in &manifest.cases {
        self::case(case, manifest)
            .map_err(|what| format!("case `{}`: {what}", shorten(&case.id)))?;
        if !ids.insert(&case.id) {
            return Err(format!("two cases are called `{}`", case.id));
        }
    }
    Ok(())
}

/// Whether some text may be the name of an arm: a short identifier.
pub fn arm(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=MAX_ARM_BYTES).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    let name = shorten(name);
    Err(format!(
        "{name:?} is no name of an arm; use up to {MAX_ARM_BYTES} letters, digits, - and _"
    ))
}

/// A commit is an object's name and nothing else; a built worker lies within its folder.
fn commit(commit: &ArmCommit) -> Result<(), String> {
    let is_hexadecimal = |c: char| c.is_ascii_hexdigit() && !c.is_ascii_uppercase();
    if !matches!(commit.commit.len(), 40 | 64) || !commit.commit.chars().all(is_hexadecimal) {
        let name = shorten(&commit.commit);
        return Err(format!(
            "{name:?} is no commit: 40 or 64 hexadecimal digits"
        ));
    }
    let worker = commit.worker.as_deref().unwrap_or("worker");
    if is_below(worker) {
        return Ok(());
    }
    Err(format!(
        "{:?}: the worker that a build leaves is named from the folder of assay.toml, and lies below it",
        shorten(worker)
    ))
}

/// An image goes with an engine that runs it; on the host there is none.
fn contained(arm: &Arm) -> Result<(), String> {
    match (arm.engine, &arm.image) {
        (Engine::Host, None) => Ok(()),
        (Engine::Host, Some(_)) => Err("field `image`: the host runs none; name an engine".into()),
        (engine, None) => Err(format!(
            "field `image` is missing: {} runs one",
            engine.name()
        )),
        (engine, Some(image)) if arm.commit.is_none() => self::image(engine, image),
        _ => Err("fields `image` and `commit`: an arm is one or the other".into()),
    }
}

/// Whether an engine can run an image, named by content alone.
fn image(engine: Engine, image: &Image) -> Result<(), String> {
    environment(&image.environment)?;
    reference(&image.reference)?;
    name("image.platform", &image.platform, "/")?;
    let format = image.file.as_ref().map(|file| file.format);
    match (engine, image.oci, format) {
        (Engine::Apptainer, _, None) => {
            Err("field `image.file` is missing: apptainer runs a file".into())
        }
        (Engine::Podman | Engine::Docker, None, _) => Err(format!(
            "field `image.oci` is missing: {} runs an image by its digests",
            engine.name()
        )),
        (Engine::Podman | Engine::Docker, _, Some(ImageFormat::Sif)) => Err(format!(
            "field `image.file`: {} runs no SIF file",
            engine.name()
        )),
        _ => match image.limits {
            limits if limits.pids == Some(0) => Err("field `image.limits.pids` is 0".into()),
            limits if limits.memory_bytes.is_some_and(|bytes| bytes.0 == 0) => {
                Err("field `image.limits.memory_bytes` is 0".into())
            }
            _ => Ok(()),
        },
    }
}

/// Whether some text may be the name of an environment: a plain one that is also an arm's, since a run in it has that for an arm.
pub fn environment(text: &str) -> Result<(), String> {
    name("environment", text, "")?;
    arm(text)
}

/// Whether some text may be a repository of images: `localhost/worker`, `registry.example:5000/team/worker`. A tag or a
/// digest is no part of it. It becomes an argument of an engine, so it does not begin with a dash.
pub fn reference(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    let last = text.rsplit('/').next().unwrap_or_default();
    let fine = (1..=255).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
        && !last.is_empty()
        && !last.contains(':');
    if fine {
        return Ok(());
    }
    Err(format!(
        "{:?} is no repository of images; expected one like localhost/worker, without tag and digest",
        shorten(text)
    ))
}

/// Whether a relative path stays below where it starts.
pub fn is_below(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.is_empty() && !path.contains('\0') && Path::new(path).components().all(plain)
}

fn case(case: &Case, manifest: &Manifest) -> Result<(), String> {
    name("benchmark", &case.benchmark, "/")?;
    if case.id.len() > MAX_ID_BYTES || case.id.chars().any(char::is_control) {
        return Err(format!(
            "field `id`: at most {MAX_ID_BYTES} bytes without control characters"
        ));
    }
    if case.timeout_ms == 0 {
        return Err("field `timeout_ms` is 0".into());
    }
    match &case.workload {
        WorkloadRef::Worker { worker, .. }
            if worker != BUILTIN_WORKER && !manifest.workers.contains_key(worker) =>
        {
            return Err(format!("worker `{}` is not in `workers`", shorten(worker)));
        }
        WorkloadRef::Command(command) if command.argv.is_empty() => {
            return Err("field `argv` of the command is empty".into());
        }
        _ => {}
    }
    policy(&case.policy)
}

/// Whether a measurement policy can be followed.
pub fn policy(policy: &Policy) -> Result<(), String> {
    let even = |n: u32| (2..=1000).contains(&n) && n.is_multiple_of(2);
    if !even(policy.rounds) {
        return Err(format!(
            "field `policy.rounds` is {}; expected an even number from 2 to 1000",
            policy.rounds
        ));
    }
    if !even(policy.max_rounds) || policy.max_rounds < policy.rounds {
        return Err(format!(
            "field `policy.max_rounds` is {}; even, from `rounds` ({}) to 1000",
            policy.max_rounds, policy.rounds
        ));
    }
    if !(policy.target > 0.0 && policy.target < 1.0) {
        return Err(format!(
            "field `policy.target` is {}; a share, such as 0.01 for 1 %",
            policy.target
        ));
    }
    if policy.min_samples == 0 || policy.min_samples > policy.max_samples {
        return Err(format!(
            "fields `policy.min_samples` ({}) and `policy.max_samples` ({}): the first is at least 1 and at most the second",
            policy.min_samples, policy.max_samples
        ));
    }
    let most = assay_protocol::MAX_SAMPLES_PER_CHUNK;
    if policy.max_samples > most {
        return Err(format!(
            "field `policy.max_samples` is {}; at most {most}",
            policy.max_samples
        ));
    }
    if policy.round_ms == 0 {
        return Err("field `policy.round_ms` is 0; give milliseconds".into());
    }
    Ok(())
}

/// Whether some text may be a name: plain characters, and those of `also`, only.
pub fn name(field: &str, text: &str, also: &str) -> Result<(), String> {
    let plain = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c) || also.contains(c)
    };
    let fine = (1..=100).contains(&text.len())
        && text.chars().all(plain)
        && !text.starts_with(['.', '/'])
        && !text.contains("..");
    if fine {
        return Ok(());
    }
    let text = shorten(text);
    Err(format!(
        "field `{field}`: {text:?} is no name; use up to 100 lower-case letters, digits, and any of -_.{also}"
    ))
}

/// Whether a block makes sense in a run of `manifest`; `cases` and `arms` are the names in it.
pub fn block(block: &Block) -> Result<(), String> {
    samples(&block.samples)?;
    let steady = block.samples.len().checked_sub(block.warmup as usize);
    match (steady, &block.status) {
        (None, _) => return Err("more warm-up samples than samples".into()),
        (Some(0), BlockStatus::Ok) if !block.samples.is_empty() || block.values.is_empty() => {
            return Err("called ok without a sample after warm-up".into());
        }
        _ => {}
    }
    let declared = |name: &String| block.metrics().iter().any(|metric| metric.name == *name);
    if let Some(name) = block
        .samples
        .values
        .keys()
        .chain(block.values.keys())
        .find(|n| !declared(n))
    {
        return Err(format!(
            "a value for `{}`, which was not declared",
            shorten(name)
        ));
    }
    let numbers = block.values.values().chain(block.noise.values());
    let series = block.telemetry.iter().flat_map(|series| &series.values);
    let columns = block.samples.values.values().flatten();
    if numbers
        .chain(series)
        .chain(columns)
        .any(|number| !number.is_finite())
    {
        return Err("a value is no finite number".into());
    }
    if block.disturbed.len() > MAX_DISTURBANCES {
        return Err(format!("more than {MAX_DISTURBANCES} disturbances"));
    }
    if block
        .telemetry
        .iter()
        .any(|series| series.at_ns.len() != series.values.len())
    {
        return Err("columns of telemetry differ in length".into());
    }
    Ok(())
}

fn samples(samples: &Samples) -> Result<(), String> {
    samples.check()?;
    let fits = |ns: &u64| i64::try_from(*ns).is_ok();
    let columns = [
        &samples.start_ns,
        &samples.iterations,
        &samples.host_ns,
        &samples.device_ns,
    ];
    if columns.into_iter().flatten().all(fits) {
        Ok(())
    } else {
        Err("a time or count is past 2^63".into())
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::{name, policy};
    use crate::manifest::Policy;

    #[test]
    fn names_are_plain() {
        for good in ["smoke", "memory/triad", "a.b-c_d1"] {
            name("n", good, "/").unwrap();
        }
        for bad in [
            "",
            "../x",
            "/x",
            ".x",
            "a..b",
            "a b",
            "A",
            "a\0",
            "a<b",
            &"x".repeat(101),
        ] {
            assert!(name("n", bad, "/").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn policies_that_cannot_be_followed_are_named() {
        let change = |edit: fn(&mut Policy)| {
            let mut changed = Policy::default();
            edit(&mut changed);
            policy(&changed).unwrap_err()
        };
        policy(&Policy::default()).unwrap();
        assert!(change(|p| p.rounds = 3).contains("rounds"));
        assert!(change(|p| p.max_rounds = 4).contains("max_rounds"));
        assert!(change(|p| p.target = f64::NAN).contains("target"));
        assert!(change(|p| p.min_samples = 0).contains("min_samples"));
        assert!(change(|p| p.max_samples = 1_000_000).contains("max_samples"));
        assert!(change(|p| p.round_ms = 0).contains("round_ms"));
    }
}
