//! `assay import asv`: a folder of results becomes a history, once; what is damaged keeps nothing else from it.

mod growing;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use assay::import::synthetic::AsvFolder;
use assay_record::{Block, BlockStatus, Record, Scalar, Source};
use serde_json::Value;

use crate::helpers::{Place, have, state, time_on};

const LAST: &str = "sample/results/cheetah/078a4691-virtualenv-py3.11-SAMPLE_LEVEL2.json";
const FIRST: &str = "sample/results/cheetah/f2fed0a6-virtualenv-py3.11-SAMPLE_LEVEL2.json";
const OLD: &str = "sample/results/cheetah/0123abcd-py2.7-numpy1.8.json";
const IMPORT: &str = "import asv sample/results";

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/asv");
    std::fs::read(folder.join(name)).unwrap()
}

/// A place with what asv wrote for three commits of the project `sample`.
fn place() -> Place {
    let place = Place::new();
    for name in [
        "results/benchmarks.json",
        "results/cheetah/machine.json",
        &LAST["sample/".len()..],
        &FIRST["sample/".len()..],
        "results/cheetah/3b0184bc-virtualenv-py3.11-SAMPLE_LEVEL2.json",
    ] {
        place.write(&format!("sample/{name}"), fixture(name));
    }
    place
}

/// The record of a commit.
fn record(place: &Place, commit: &str) -> Record {
    let all = place.records().into_iter();
    let mut all = all.map(|path| Record::read(&path).unwrap());
    let is_it = |record: &Record| {
        let git = record.header.manifest.project.git();
        git.and_then(|git| git.commit.as_deref())
            .is_some_and(|id| id.starts_with(commit))
    };
    all.find(is_it).unwrap()
}

fn block<'a>(record: &'a Record, case: &str) -> &'a Block {
    record.blocks.iter().find(|b| b.case == case).unwrap()
}

#[test]
fn asv_folder_becomes_a_history() {
    let place = place();
    place
        .assay(IMPORT)
        .exits(0)
        .says("sample/results: 3 imported, 0 unchanged, 0 refused");
    let first = record(&place, "f2fed0a6");
    let manifest = &first.header.manifest;
    assert_eq!(
        (
            manifest.suite.name.as_str(),
            first.header.machine.name.as_str()
        ),
        ("sample", "cheetah")
    );
    assert!(matches!(&manifest.suite.source, Source::Imported(origin)
        if origin.format == "asv" && origin.file == FIRST["sample/results/".len()..]));
    assert_eq!(manifest.arms[0].name, "virtualenv-py3_11-SAMPLE_LEVEL2");
    assert_eq!(manifest.arms[0].env["SAMPLE_LEVEL"], "2");
    let machine = &first.header.fingerprint;
    assert_eq!(
        machine.hardware["cpu.threads"].value(),
        Some(&Scalar::Int(4))
    );
    assert_eq!(
        machine.software["python.version"].value(),
        Some(&Scalar::Text("3.11".into()))
    );
    // The time of the commit, and beside it when the benchmark ran.
    assert_eq!(first.header.started.to_string(), "2026-11-21T07:00:43Z");

    let plain = block(&first, "b.time_plain@cpu");
    assert_eq!(plain.started.to_string(), "2026-11-21T07:01:57.777Z");
    let total = (1.965_927_800_969_708e-6 * 2770.0 * 1e9_f64).round() as u64;
    assert_eq!(
        (
            &plain.samples.iterations,
            &plain.samples.host_ns,
            plain.stop.as_deref()
        ),
        (&vec![5 * 554], &vec![total], Some("summary"))
    );
    let facts = &plain.prepared.as_ref().unwrap().facts;
    assert_eq!(facts["asv.ci_99"], "-1.036e-6 to 9.6471e-6 s");
    assert_eq!(facts["asv.quartiles"], "1.9378e-6 to 1.9842e-6 s");
    assert_eq!(facts["asv.samples"], "5 of 554 iterations");

    for (case, metric, unit, value) in [
        ("b.mem_list@cpu", "memory", "B", 2104.0),
        ("b.peakmem_list@cpu", "peak_memory", "B", 27_447_296.0),
        ("b.track_size@cpu", "value", "widgets", 42.0),
    ] {
        let block = block(&first, case);
        let said = &block.metrics()[0];
        assert_eq!((said.name.as_str(), said.unit.symbol()), (metric, unit));
        assert!(block.samples.is_empty() && block.stop.is_none());
        assert!((block.values[metric] - value).abs() < 1e-9, "{case}");
    }
    let status = |case: &str| &block(&first, case).status;
    assert!(matches!(
        status("b.time_broken@cpu"),
        BlockStatus::Failed(_)
    ));
    assert!(matches!(
        status("b.TimeSuite.time_sum[kind=\"it's\",n=10]@cpu"),
        BlockStatus::Failed(_)
    ));
    assert!(matches!(
        status("b.TimeSuite.time_sum[kind=a,n=1000]@cpu"),
        BlockStatus::Skipped(_)
    ));

    // The last kept its samples: five of 658 iterations.
    let last = record(&place, "078a4691");
    let plain = block(&last, "b.time_plain@cpu");
    assert_eq!(plain.samples.iterations, [658; 5]);
    assert_eq!(
        plain.samples.host_ns[1],
        (1.806_056_234_079_036_7e-6 * 658e9_f64).round() as u64
    );
    assert!(plain.stop.is_none());
    place.assay("db verify").exits(0).says("3 runs agree");
    place.assay("db rebuild").exits(0).says("3 runs");
    place
        .assay(&format!("show {}", first.header.run))
        .exits(0)
        .says("known by their median alone, and not by their samples")
        .says("measured from 2026-11-21 07:01 UTC")
        .says("42 widgets")
        .says("7 ok, 2 failed, 0 wrong, 1 skipped");
    let run = place.assay("show latest --json").exits(0).json();
    let time = time_on(&run, "b.time_plain@cpu", "virtualenv-py3_11-SAMPLE_LEVEL2");
    assert!((time / 4148.65 - 1.0).abs() < 1e-4, "{time}");
    assert_eq!(
        state(&run, "b.TimeSuite.time_sum[kind=a,n=1000]@cpu"),
        "skipped the benchmark skipped itself"
    );
    place
        .assay("history b.mem_list@cpu --metric memory")
        .exits(0)
        .says("memory (less is better), suite sample on cheetah");
    place.assay("report").exits(0);
    assert!(is_told_of_a_series(&place, "asv.ci_99"));
}

/// Whether the page of a series has this of what asv found out about the spread.
fn is_told_of_a_series(place: &Place, fact: &str) -> bool {
    let pages = std::fs::read_dir(place.path("assay-data/site/series")).unwrap();
    let mut pages = pages.filter_map(|page| std::fs::read_to_string(page.unwrap().path()).ok());
    pages.any(|page| page.contains(fact))
}

#[test]
fn asv_old_formats_say_what_to_run() {
    let place = place();
    place.write(OLD, fixture("old/0123abcd-py2.7-numpy1.8.json"));
    place
        .assay(IMPORT)
        .exits(2)
        .says("3 imported, 0 unchanged, 1 refused")
        .says("0123abcd-py2.7-numpy1.8.json: in format 1 of asv")
        .says("`asv update`");
    let index = place.read("sample/results/benchmarks.json");
    place.write(
        "sample/results/benchmarks.json",
        index.replace("\"version\": 2", "\"version\": 1"),
    );
    place
        .assay(IMPORT)
        .refuses(&["benchmarks.json", "`asv update`"]);
    place.write(
        "sample/results/benchmarks.json",
        index.replace("\"version\": 2", "\"version\": 3"),
    );
    place
        .assay(IMPORT)
        .refuses(&["benchmarks.json", "newer than 2"]);
}

#[test]
fn asv_results_that_cannot_be_are_refused_alone() {
    for (from, to, words) in [
        (
            "[1.965927800969708e-06]",
            "[-1e-06]",
            &["b.time_plain", "result 0", "column `result`", "no time"][..],
        ),
        (
            "[1.965927800969708e-06]",
            "[Infinity]",
            &["b.time_plain", "column `result`", "inf"],
        ),
        (
            "[1.965927800969708e-06]",
            "[1e300]",
            &["b.time_plain", "column `result`"],
        ),
        (
            "[1.965927800969708e-06]",
            "[\"fast\"]",
            &["b.time_plain", "expected a number, not \"fast\""],
        ),
        (
            "[1.965927800969708e-06]",
            "[1, 2]",
            &["column `result`: 2 values for 1 combinations"],
        ),
        ("[42]", "[Infinity]", &["b.track_size", "no value"]),
        (
            "[554]",
            "[0.5]",
            &["column `stats_number`: 0.5 is no count"],
        ),
        ("[554]", "[-554]", &["column `stats_number`"]),
        (
            "1795244517777",
            "1e300",
            &["column `started_at`", "milliseconds"],
        ),
        ("1795244443000", "-5", &["field `date`"]),
        (
            "1795244443000",
            "\"now\"",
            &["field `date`: expected a number"],
        ),
        (
            "f2fed0a69a4a444a68895b06edb5840796fdfb88",
            "HEAD",
            &["field `commit_hash`"],
        ),
        (
            "\"machine\": \"cheetah\"",
            "\"machine\": \"lion\"",
            &["params.machine", "lion", "cheetah"],
        ),
        (
            "\"result_columns\"",
            "\"columns\"",
            &["field `result_columns` is missing"],
        ),
        ("\"version\": 2}", "\"version\": 3}", &["newer than 2"]),
        ("{\"commit_hash\"", "{{", &["not a result that asv wrote"]),
        (
            "\"'a'\", ",
            "\"'a\\u001b[31m'\", ",
            &["b.TimeSuite.time_sum", "control characters"],
        ),
    ] {
        let place = place();
        let text = place.read(FIRST);
        assert!(text.contains(from), "{from}");
        place.write(FIRST, text.replace(from, to));
        let outcome = place
            .assay(IMPORT)
            .exits(2)
            .says("2 imported, 0 unchanged, 1 refused")
            .says("f2fed0a6");
        words
            .iter()
            .fold(outcome, |outcome, word| outcome.says(word));
        assert_eq!(place.records().len(), 2, "{to}");
    }
}

#[test]
fn asv_folders_that_are_none_are_told() {
    let place = place();
    place.write("empty/x", "");
    place
        .assay("import asv empty")
        .refuses(&["no benchmarks.json"]);
    place.write("sample/asv.conf.json", "{}");
    place.assay("import asv sample").refuses(&["results_dir"]);
    place.assay("import asv none").refuses(&["none"]);
    for option in ["--date 2026-01-01", "--machine x"] {
        place
            .assay(&format!("{IMPORT} {option}"))
            .refuses(&["leave out"]);
    }
    place
        .assay(&format!("{IMPORT} --repo nowhere"))
        .refuses(&["--repo nowhere"]);
    std::fs::remove_file(place.path("sample/results/cheetah/machine.json")).unwrap();
    place.assay(IMPORT).refuses(&["machine.json"]);
    assert!(place.records().is_empty());
}

/// Both of another commit than the one that it names.
#[test]
fn asv_versions_of_a_benchmark_are_series_of_their_own() {
    let place = place();
    let version = "9621f22043f746c5cd70a1beaefa6cf697b4f5c1fb25999e1d53fca0228e822b";
    place.write(FIRST, place.read(FIRST).replace(version, "another"));
    // Without a version it is that of today, as asv has it.
    let without = place.read(LAST).replace(&format!("\"{version}\""), "null");
    place.write(LAST, without);
    place.assay(IMPORT).exits(0);
    let definition = |commit: &str| {
        let cases = record(&place, commit).header.manifest.cases;
        cases
            .into_iter()
            .find(|case| case.id == "b.time_plain@cpu")
            .unwrap()
            .definition
    };
    assert_ne!(definition("f2fed0a6"), definition("3b0184bc"));
    assert_eq!(definition("078a4691"), definition("3b0184bc"));
}

#[test]
fn asv_commits_are_ordered_by_their_repository() {
    if !have("git") {
        return;
    }
    let place = Place::new();
    let recipe = AsvFolder {
        files: 3,
        machines: 1,
        benchmarks: 2,
        ..AsvFolder::default()
    };
    recipe.write(&place.path("x/results")).unwrap();
    let git = |arguments: &str, date: &str| {
        let mut git: Command = place.program("git");
        git.args(arguments.split(' '))
            .env("GIT_COMMITTER_DATE", date);
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git("init -q -b main clone", "");
    // The clock of who made the second was wrong.
    let dates = [
        "2020-01-03T00:00:00Z",
        "2020-01-01T00:00:00Z",
        "2020-01-04T00:00:00Z",
    ];
    let commits = dates.map(|date| {
        git(
            "-C clone -c user.name=x -c user.email=x@y.z commit -q --allow-empty -m x",
            date,
        );
        git("-C clone rev-parse HEAD", "")
    });
    let folder = place.path("x/results/machine-0");
    let files = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| !path.ends_with("machine.json"));
    for (file, commit) in files.zip(&commits) {
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once("\"commit_hash\": \"").unwrap();
        std::fs::write(
            &file,
            format!("{before}\"commit_hash\": \"{commit}{}", &rest[40..]),
        )
        .unwrap();
    }
    place
        .assay("import asv x/results --repo clone")
        .exits(0)
        .says("3 imported");
    assert_eq!(commits_of(&place), commits);
    assert_eq!(
        record(&place, &commits[1]).header.started.to_string(),
        "2020-01-03T00:00:01Z"
    );
}

/// Commits of all runs, oldest run first.
fn commits_of(place: &Place) -> Vec<String> {
    let records = place
        .records()
        .into_iter()
        .map(|path| Record::read(&path).unwrap());
    let mut runs: Vec<_> = records
        .map(|record| {
            let git = record.header.manifest.project.git().cloned();
            (record.header.started, git.unwrap().commit.unwrap())
        })
        .collect();
    runs.sort();
    runs.into_iter().map(|(_, commit)| commit).collect()
}

#[test]
fn asv_history_shows_where_it_changed() {
    let place = Place::new();
    let recipe = AsvFolder {
        files: 125,
        machines: 1,
        benchmarks: 6,
        ..AsvFolder::default()
    };
    recipe.write(&place.path("made-up/results")).unwrap();
    place
        .assay("import asv made-up/results")
        .exits(0)
        .says("125 imported");
    place
        .assay("history module0.Suite0.time_case_3@cpu --metric time")
        .exits(0)
        .says("REGRESSED +1")
        .says("suite made-up on machine-0");
    place
        .assay("import asv made-up/results")
        .exits(0)
        .says("0 imported, 125 unchanged");
    recipe
        .write_file(&place.path("made-up/results"), 125)
        .unwrap();
    place
        .assay("import asv made-up/results")
        .exits(0)
        .says("1 imported, 125 unchanged");
    place.assay("db verify").exits(0).says("126 runs agree");
}

/// The newest night is judged by its only arm. What looks slower is not suspected, for nothing that was imported is run again; what lasts is
/// told as a change of the history.
#[test]
fn asv_nights_are_judged_on_the_site() {
    let place = Place::new();
    let recipe = AsvFolder {
        files: 30,
        machines: 1,
        benchmarks: 6,
        ..AsvFolder::default()
    };
    let results = place.path("made-up/results");
    recipe.write(&results).unwrap();
    let names = || -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(results.join("machine-0")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let slow = |at| {
        let before = names();
        recipe.write_file(&results, at).unwrap();
        let newest = names().difference(&before).next().unwrap().clone();
        let mut file: Value = serde_json::from_slice(&std::fs::read(&newest).unwrap()).unwrap();
        let of_benchmarks = file["results"].as_object_mut().unwrap().values_mut();
        for numbers in of_benchmarks.filter_map(|result| result[0].as_array_mut()) {
            for number in numbers.iter_mut().filter(|number| number.is_number()) {
                *number = (number.as_f64().unwrap() * 1.5).into();
            }
        }
        std::fs::write(&newest, serde_json::to_vec(&file).unwrap()).unwrap();
    };
    let index = || {
        place.assay("import asv made-up/results").exits(0);
        place.assay("report").exits(0);
        place.read("assay-data/site/index.html")
    };
    slow(30);
    let one = index();
    assert!(!one.contains("no baseline"), "{one}");
    assert!(!one.contains("uspected, to be run again"), "{one}");
    for at in 31..36 {
        slow(at);
    }
    let lasting = index();
    assert!(
        lasting.contains("Worse to stay in imported histories"),
        "{lasting}"
    );
    assert!(!lasting.contains("uspected, to be run again"), "{lasting}");
    // Its line, its badge and programs are told the same.
    assert!(
        lasting.contains("</span> worse to stay</span>"),
        "{lasting}"
    );
    let json: Value = serde_json::from_str(&place.read("assay-data/site/index.json")).unwrap();
    let night = &json["nights"][0];
    assert_eq!(night["state"], "worse_to_stay", "{night}");
    assert!(night["lasting"]["worse"].as_u64() > Some(0), "{night}");
    let badge = place.read("assay-data/site/badges/all.svg");
    assert!(badge.contains("worse to stay"), "{badge}");
}

/// Of each commit there is a file for each environment: none of them hides the other's night.
#[test]
fn asv_environments_have_nights_of_their_own() {
    let place = Place::new();
    let recipe = AsvFolder {
        files: 24,
        machines: 2,
        benchmarks: 6,
        ..AsvFolder::default()
    };
    let results = place.path("made-up/results");
    recipe.write(&results).unwrap();
    for machine in ["machine-0", "machine-1"] {
        for entry in std::fs::read_dir(results.join(machine)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let other = path.display().to_string().replace("py3.11", "py3.12");
            if other.contains("py3.12") {
                std::fs::write(other, text.replace("3.11", "3.12")).unwrap();
            }
        }
    }
    place.assay("import asv made-up/results").exits(0);
    place.assay("report").exits(0);
    let json: Value = serde_json::from_str(&place.read("assay-data/site/index.json")).unwrap();
    let nights = json["nights"].as_array().unwrap();
    let arms: Vec<&str> = nights
        .iter()
        .map(|of| of["arm"].as_str().unwrap())
        .collect();
    let [one, other] = ["conda-py3_11-numpy", "conda-py3_12-numpy"];
    assert_eq!(arms, [one, other, one, other]);
    for night in nights {
        let counts = night["counts"].as_object().unwrap().values();
        assert!(
            counts.filter_map(Value::as_u64).sum::<u64>() >= 6,
            "{night}"
        );
    }
    let first = place.read("assay-data/site/index.html");
    assert!(first.contains("over 4 nights"), "{first}");
    for arm in [one, other] {
        assert!(
            first.contains(&format!("</a>, arm <bdi>{arm}</bdi>")),
            "{first}"
        );
    }
    // Machine by machine, of each environment.
    let compared = std::fs::read_dir(place.path("assay-data/site/compare")).unwrap();
    let names: Vec<String> = compared
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let by_machine = names.iter().filter(|name| name.contains("-machine-"));
    assert_eq!(by_machine.count(), 2, "{names:?}");
}

#[test]
fn asv_text_reaches_terminal_and_pages_as_text() {
    let place = place();
    let script = "<script>alert(1)</script>";
    let text = place.read(FIRST);
    let text = text.replace("b.track_size", script).replace("'a'", script);
    place.write(FIRST, text.replace("virtualenv-py3.11", script));
    let machine = place.read("sample/results/cheetah/machine.json");
    place.write(
        "sample/results/cheetah/machine.json",
        machine.replace("Linux", script),
    );
    place.assay(IMPORT).exits(0).says("3 imported");
    place.assay("report").exits(0);
    let site = place.path("assay-data/site");
    let mut folders = vec![site];
    let mut pages = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                pages += 1;
                let is_page = path
                    .extension()
                    .is_some_and(|end| end == "html" || end == "svg");
                assert!(
                    !is_page || !text.contains("<script>alert"),
                    "{}",
                    path.display()
                );
            }
        }
    }
    assert!(pages > 5);
}
