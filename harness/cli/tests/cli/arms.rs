//! Several arms in one run: what they are, in which order they are visited, and that all of it comes again.

use std::collections::BTreeMap;
use std::fs;

use crate::helpers::{ASSAY, Place, benchmark, have, metric_on, spin, suite, suite_with, time_on};

/// Four rounds, as briefly as can be.
const FOUR: &str =
    "rounds = 4, max_rounds = 4, min_samples = 2, max_samples = 200, warmup_ms = 5, round_ms = 10";
/// Half as much work again.
const SLOWER: &str = "ASSAY_SPIN_EXTRA_PERMILLE=500";

/// The visits of the last record, in its order: case, arm, round.
fn visits(place: &Place) -> Vec<(String, String, u32)> {
    let blocks = place.record().blocks;
    let visit = |block: assay_record::Block| (block.case, block.arm, block.round);
    blocks.into_iter().map(visit).collect()
}

/// The arms of a case's visits as one word, block by block: `ABBA`.
fn words(place: &Place, arms: usize) -> BTreeMap<String, Vec<String>> {
    let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for of_case in visits(place).chunks(2 * arms) {
        let (case, _, round) = &of_case[0];
        let rounds: Vec<u32> = of_case.iter().map(|visit| visit.2).collect();
        let expected = [vec![*round; arms], vec![*round + 1; arms]].concat();
        assert_eq!(rounds, expected, "two rounds, one after the other");
        assert!(
            of_case.iter().all(|visit| visit.0 == *case),
            "visits to a case are adjacent"
        );
        let word = of_case.iter().map(|visit| visit.1.as_str()).collect();
        words.entry(case.clone()).or_default().push(word);
    }
    words
}

#[test]
fn two_arms_are_visited_forwards_and_backwards_by_turns() {
    let place = Place::new();
    let benchmarks = ["a", "b", "c"].map(|name| spin(name, 1000));
    place.write("tiny.toml", suite_with("tiny", FOUR, &benchmarks));
    place
        .assay("run ./tiny.toml --arm A=here --arm B=here")
        .exits(0);
    let words = words(&place, 2);
    assert_eq!(words.len(), 3);
    for (case, blocks) in words {
        assert!(
            blocks == ["ABBA", "BAAB"] || blocks == ["BAAB", "ABBA"],
            "{case}: {blocks:?}"
        );
    }
}

#[test]
fn three_arms_take_turns_at_being_first() {
    let place = Place::new();
    place.write(
        "tiny.toml",
        suite_with("tiny", &FOUR.replace('4', "6"), &[spin("a", 1000)]),
    );
    place
        .assay("run ./tiny.toml --arm A=here --arm B=here --arm C=here")
        .exits(0);
    let mut blocks = words(&place, 3).remove("a@cpu").unwrap();
    blocks.sort();
    assert_eq!(blocks, ["ABCCBA", "BCAACB", "CABBAC"]);
}

#[test]
fn each_round_of_each_arm_has_a_fresh_worker_for_all_its_cases() {
    let place = Place::new();
    place.script("own.sh", &format!("echo x >> started\nexec {ASSAY} worker"));
    let own = |name| {
        benchmark(
            name,
            "workload = \"spin\"\nworker = \"own\"\nparams = { steps = 10 }",
        )
    };
    let workers = "[workers.own]\nargv = [\"{dir}/own.sh\"]\n".to_owned();
    place.write(
        "tiny.toml",
        suite_with("tiny", FOUR, &[own("a"), own("b"), workers]),
    );
    let started = || place.read("started").lines().count();
    place
        .assay("plan ./tiny.toml --arm A=here --arm B=here -o m.json")
        .exits(0);
    let asked = started();
    place.assay("run m.json").exits(0);
    assert_eq!(started() - asked, 4 * 2);
}

#[test]
fn an_arm_may_be_an_environment() {
    let place = Place::with_suite(&[spin("control/spin", 100_000)]);
    let run = format!("run ./tiny.toml --json --arm A=here --arm B=env:{SLOWER}");
    let run = place.assay(&run).exits(0).json();
    let ratio = time_on(&run, "spin", "B") / time_on(&run, "spin", "A");
    assert!((1.3..1.7).contains(&ratio), "{ratio}");
    place
        .assay("show")
        .says("control/spin@cpu  A ")
        .says("control/spin@cpu  B ");
    place
        .assay("reproduce latest")
        .says("inputs:  identical")
        .says("outputs: identical");
    assert_eq!(place.record().header.manifest.arms.len(), 2);
}

#[test]
fn an_arm_may_be_a_worker_which_is_kept() {
    let place = Place::with_suite(&[spin("control/spin", 100_000)]);
    place.script("slower.sh", &format!("{SLOWER} exec {ASSAY} worker"));
    place
        .assay("plan ./tiny.toml --arm A=here --arm B=worker:slower.sh -o m.json")
        .exits(0);
    fs::remove_file(place.path("slower.sh")).unwrap();
    let run = place.assay("run m.json --json").exits(0).json();
    let ratio = time_on(&run, "spin", "B") / time_on(&run, "spin", "A");
    assert!((1.3..1.7).contains(&ratio), "{ratio}");
    place.assay("reproduce latest").says("inputs:  identical");
    place
        .assay("reproduce latest --worker m.json")
        .refuses(&["--worker", "2 arms"]);
    fs::remove_dir_all(place.path("assay-data/workers")).unwrap();
    place
        .assay("run m.json")
        .exits(3)
        .says("arm `B`")
        .says("assay-data/workers");
}

#[test]
fn an_arm_may_have_a_prefix_of_its_own() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place
        .assay_with(&[
            "run",
            "./tiny.toml",
            "--arm",
            "A=here",
            "--arm",
            "B=prefix:env X=1",
        ])
        .exits(0);
    let prefixes: Vec<_> = place
        .record()
        .header
        .manifest
        .arms
        .into_iter()
        .map(|arm| arm.prefix)
        .collect();
    assert_eq!(prefixes, [vec![], vec!["env".to_owned(), "X=1".to_owned()]]);
}

#[test]
fn arms_that_make_no_sense_are_refused() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    for (arms, words) in [
        ("--arm A", &["--arm A", "NAME=SPEC"][..]),
        ("--arm A=there", &["`there`", "commit:REV"]),
        ("--arm A=here --arm A=worker:x", &["contradicts here"]),
        ("--arm A=worker:nowhere", &["arm `A`", "nowhere"]),
        (
            "--arm A=commit:HEAD",
            &["arm `A`", "not in a git repository"],
        ),
        ("--arm A=here --arm a=here", &["two arms"]),
        ("--arm a/b=here", &["no name of an arm"]),
        (
            "--prefix nice --arm A=prefix:nice",
            &["leave --prefix away"],
        ),
        ("--arm A=here --arm B=worker:tiny.toml", &["arm `B`"]),
    ] {
        let outcome = place.assay(&format!("plan ./tiny.toml -o m.json {arms}"));
        outcome.refuses(words);
    }
    place
        .assay("plan ./tiny.toml -o m.json --arm only=here")
        .exits(0);
    place
        .assay("run m.json --arm A=here")
        .refuses(&["--arm", "cannot change a manifest"]);
}

/// A repository whose only commit has a tool that says 1; by now it says 2.
fn repository() -> Place {
    let place = Place::new();
    let tool = "[[benchmark]]\nname = \"tool\"\n[benchmark.command]\nargv = [\"sh\", \"{dir}/tool.sh\"]\nmetrics = [{ name = \"said\", unit = \"1\", direction = \"neutral\", regex = \"(\\\\d+)\" }]\n";
    place.write("suites/tiny.toml", suite("tiny", &[tool.to_owned()]));
    place.write("suites/tool.sh", "echo 1\n");
    place.write(
        "build.sh",
        "mkdir -p out && cp worker.sh out/worker && chmod +x out/worker\n",
    );
    place.write("worker.sh", format!("#!/bin/sh\nexec {ASSAY} worker\n"));
    for arguments in [
        "init -q -b main .",
        "add -A",
        "-c user.name=t -c user.email=t@example.org commit -q -m first",
    ] {
        git(&place, arguments);
    }
    place.write(".git/info/exclude", "assay/\n*.lock\nassay-data/\n");
    place.write("suites/tool.sh", "echo 2\n");
    place
}

#[track_caller]
fn git(place: &Place, arguments: &str) -> String {
    let output = place
        .program("git")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_arm_may_be_a_commit_whose_files_are_measured() {
    if !have("git") {
        return;
    }
    let place = repository();
    let before = git(&place, "status --porcelain");
    let run = "run ./suites/tiny.toml --json --arm then=commit:HEAD --arm now=here";
    let run = place.assay(run).exits(0).json();
    let metrics = run["cases"][0]["metrics"].as_array().unwrap();
    let said = metrics
        .iter()
        .position(|m| m["metric"]["name"] == "said")
        .unwrap();
    for (arm, expected) in [("then", 1.0), ("now", 2.0)] {
        let said = metric_on(&run, "tool", arm, said);
        assert!((said - expected).abs() < 1e-9, "{arm} said {said}");
    }
    assert_eq!(git(&place, "status --porcelain"), before);
    let commit = place.record().header.manifest.arms[0]
        .commit
        .clone()
        .unwrap();
    assert_eq!(commit.commit, git(&place, "rev-parse HEAD").trim());
    // What lies in the cache is only a copy.
    fs::remove_dir_all(place.path("assay/commits")).unwrap();
    place
        .assay("reproduce latest")
        .says("inputs:  identical")
        .says("outputs: identical");
}

#[test]
fn a_commit_is_built_by_the_declared_command() {
    if !have("git") {
        return;
    }
    let place = repository();
    place.write(
        "assay.toml",
        "[build]\ncommand = [\"sh\", \"build.sh\"]\nworker = \"out/worker\"\n",
    );
    place.write("spin.toml", suite("spin", &[spin("control/spin", 1000)]));
    place
        .assay("run ./spin.toml --arm then=commit:main --arm now=here")
        .exits(0)
        .says("sh build.sh");
    let arms = place.record().header.manifest.arms;
    let commit = arms[0].commit.clone().unwrap();
    assert_eq!(
        (commit.build.len(), commit.worker.as_deref()),
        (2, Some("out/worker"))
    );
    assert_ne!(arms[0].worker, arms[1].worker);
    // Kept: nothing has to be built. Lost: it is built again, as the manifest says.
    place.write("assay.toml", "");
    place
        .assay("reproduce latest")
        .lacks("building")
        .says("inputs:  identical");
    fs::remove_file(place.path("assay-data/workers").join(arms[0].worker.hex())).unwrap();
    place
        .assay("reproduce latest~1")
        .says("building")
        .says("inputs:  identical");
}

#[test]
fn a_commit_of_assay_itself_is_built_by_cargo() {
    if !have("git") {
        return;
    }
    let place = repository();
    place.write("suites/src/bin/assay-worker.rs", "");
    git(&place, "add suites/src");
    git(
        &place,
        "-c user.name=t -c user.email=t@example.org commit -q -m worker",
    );
    let order = "build --release -p assay-suites --bin assay-worker";
    let worker = format!(
        "printf '#!/bin/sh\\nexec {ASSAY} worker\\n' > $CARGO_TARGET_DIR/release/assay-worker"
    );
    let cargo = format!(
        "test \"$*\" = '{order}' && mkdir -p $CARGO_TARGET_DIR/release && {worker} && chmod +x $CARGO_TARGET_DIR/release/assay-worker"
    );
    place.script("bin/cargo", &cargo);
    let path = format!(
        "{}:{}",
        place.path("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let mut plan = place.program(ASSAY);
    plan.args(["plan", "smoke", "--filter", "control/spin", "-o", "m.json"])
        .args(["--arm", "then=commit:main", "--arm", "now=here"])
        .env("PATH", path);
    let output = plan.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    place
        .assay("run m.json")
        .exits(0)
        .says("control/spin@cpu  then");
}

#[test]
fn a_commit_that_cannot_be_built_says_why() {
    if !have("git") {
        return;
    }
    let place = repository();
    let run = "run ./suites/tiny.toml --arm then=commit:HEAD --arm now=here";
    place.write(
        "assay.toml",
        "[build]\ncommand = [\"sh\", \"-c\", \"echo broken heart; exit 7\"]\n",
    );
    place
        .assay(run)
        .exits(3)
        .says("broken heart")
        .says("exit status: 7");
    place.write(
        "assay.toml",
        "[build]\ncommand = [\"true\"]\nworker = \"out/worker\"\n",
    );
    place.assay(run).exits(3).says("out/worker: not there");
    place.write("assay.toml", "[build]\ncommand = []\n");
    place.assay(run).refuses(&["assay.toml", "build.command"]);
    place.write(
        "assay.toml",
        "[build]\ncommand = [\"true\"]\nworker = \"../x\"\n",
    );
    place.assay(run).refuses(&["assay.toml", "build.worker"]);
    place.write("assay.toml", "[build]\norder = [\"true\"]\n");
    place.assay(run).refuses(&["assay.toml", "order"]);
    place.write("assay.toml", "");
    place
        .assay("run ./suites/tiny.toml --arm then=commit:nowhere --arm now=here")
        .refuses(&["arm `then`", "`nowhere` is no commit of this repository"])
        .lacks("class=");
    place
        .assay("plan smoke --arm then=commit:HEAD")
        .refuses(&["nothing of that commit would be measured"]);
}
