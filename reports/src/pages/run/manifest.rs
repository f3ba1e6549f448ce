//! What determined a run, as tables: arms, how cases were measured, the cases with their digests, the files.

use assay_record::manifest::{Diff, GitState};
use assay_record::{Arm, Case, Image, Manifest, Policy, Source};
use serde::Serialize;

use crate::downloads::LEFT_OUT;
use crate::model::Library;
use crate::pages::part::cell;
use crate::text::clip;
use crate::words;

/// Most cases and files that are listed, and the longest diff, in characters.
const CASES: usize = 300;
const FILES: usize = 100;
const DIFF: usize = 100_000;

/// A manifest in words.
#[derive(Serialize)]
pub struct ManifestView {
    schema: u32,
    suite: String,
    suite_digest: String,
    source: String,
    version: String,
    binary: String,
    remote: String,
    has_diff: bool,
    /// Uncommitted changes, where they may be published.
    diff: String,
    seed: String,
    arms: Vec<ArmLine>,
    policies: Vec<PolicyLine>,
    cases: Vec<CaseLine>,
    more_cases: usize,
    files: Vec<(String, String)>,
    more_files: usize,
}

#[derive(Serialize)]
struct ArmLine {
    name: String,
    engine: &'static str,
    /// The image that its workers run in, with every digest of it; nothing on the host.
    image: Vec<String>,
    worker: String,
    commit: String,
    prefix: String,
    /// Names of variables; with their values where these may be published.
    env: Vec<String>,
}

#[derive(Serialize)]
struct PolicyLine {
    cases: usize,
    rounds: String,
    target: String,
    samples: String,
    warmup: String,
    round: String,
}

#[derive(Serialize)]
struct CaseLine {
    case: String,
    workload: String,
    timing: String,
    seed: String,
    definition: String,
}

/// The manifest of a run; its cases are listed where the page has all else of them.
pub fn view(library: &Library<'_>, manifest: &Manifest, is_whole: bool) -> ManifestView {
    let cases = &manifest.cases;
    let listed = if is_whole { CASES } else { 0 };
    let is_open = library.settings.publish_source;
    let git = manifest.project.git();
    let diff = git.and_then(|git| git.diff.as_ref());
    ManifestView {
        schema: manifest.schema,
        suite: cell(&manifest.suite.name),
        suite_digest: manifest.suite.digest.to_string(),
        source: source(&manifest.suite.source),
        version: cell(&manifest.tool.version),
        binary: manifest.tool.binary.to_string(),
        remote: cell(git.and_then(remote).unwrap_or_default()),
        has_diff: diff.is_some(),
        diff: diff.filter(|_| is_open).map_or(String::new(), in_text),
        seed: manifest.order_seed.to_string(),
        arms: manifest
            .arms
            .iter()
            .map(|arm| arm_line(arm, is_open))
            .collect(),
        policies: policies(cases),
        cases: cases.iter().take(listed).map(case_line).collect(),
        more_cases: cases.len().saturating_sub(CASES),
        files: manifest
            .sources
            .iter()
            .take(FILES)
            .map(|(name, digest)| (cell(name), digest.to_string()))
            .collect(),
        more_files: manifest.sources.len().saturating_sub(FILES),
    }
}

fn remote(git: &GitState) -> Option<&str> {
    git.remote.as_deref()
}

fn source(source: &Source) -> String {
    match source {
        Source::Builtin => "built in".into(),
        Source::Folder(folder) => cell(folder),
        Source::Imported(origin) => cell(&format!("{} of {}", origin.file, origin.format)),
    }
}

fn in_text(diff: &Diff) -> String {
    match diff {
        Diff::Text(text) => clip(text, DIFF).into_owned(),
        Diff::Hex(digits) => format!("{} bytes that are no text", digits.len() / 2),
    }
}

fn arm_line(arm: &Arm, is_open: bool) -> ArmLine {
    let variable = |(name, value): (&String, &String)| {
        if is_open {
            cell(&format!("{name}={value}"))
        } else {
            cell(name)
        }
    };
    ArmLine {
        name: cell(&arm.name),
        engine: arm.engine.name(),
        image: arm.image.as_ref().map_or(Vec::new(), image_lines),
        worker: arm.worker.to_string(),
        commit: cell(arm.commit.as_ref().map_or("", |of| of.commit.as_str())),
        prefix: cell(&if is_open {
            arm.prefix.join(" ")
        } else {
            arm.prefix_without_values(LEFT_OUT).join(" ")
        }),
        env: arm.env.iter().map(variable).collect(),
    }
}

fn image_lines(image: &Image) -> Vec<String> {
    let (oci, file) = (image.oci.as_ref(), image.file.as_ref());
    let digests = [
        ("index", oci.and_then(|oci| oci.index)),
        ("manifest", oci.map(|oci| oci.manifest)),
        ("config", oci.map(|oci| oci.config)),
        ("file", file.map(|file| file.digest)),
    ];
    let known = digests
        .into_iter()
        .filter_map(|(what, digest)| Some(format!("{what} {}", digest?)));
    let names = [&image.environment, &image.reference, &image.platform].map(|name| cell(name));
    names.into_iter().chain(known).collect()
}

/// The different ways in which cases were measured, in the order of their first case.
fn policies(cases: &[Case]) -> Vec<PolicyLine> {
    let mut found: Vec<(Policy, usize)> = Vec::new();
    for case in cases {
        match found.iter_mut().find(|(policy, _)| *policy == case.policy) {
            Some((_, count)) => *count += 1,
            None => found.push((case.policy, 1)),
        }
    }
    let line = |(policy, cases)| policy_line(policy, cases);
    found.into_iter().take(CASES).map(line).collect()
}

fn policy_line(policy: Policy, cases: usize) -> PolicyLine {
    PolicyLine {
        cases,
        rounds: format!("{} to {}", policy.rounds, policy.max_rounds),
        target: words::share(policy.target),
        samples: format!("{} to {}", policy.min_samples, policy.max_samples),
        warmup: format!("{} ms", policy.warmup_ms),
        round: format!("{} ms", policy.round_ms),
    }
}

fn case_line(case: &Case) -> CaseLine {
    CaseLine {
        case: cell(&case.id),
        workload: cell(case.workload.name()),
        timing: case.timing.to_string(),
        seed: case.seed.to_string(),
        definition: case.definition.short(),
    }
}
