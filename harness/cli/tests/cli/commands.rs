//! Plain commands as workloads: metrics by rule, a right exit code, and an end for the whole group.

use std::time::Duration;

use crate::helpers::{Place, benchmark, case, eventually, spin, state};

/// A benchmark that runs a shell command.
fn shell(name: &str, script: &str, more: &str) -> String {
    let script = script.replace('\\', "\\\\").replace('"', "\\\"");
    benchmark(
        name,
        &format!("command = {{ argv = [\"sh\", \"-c\", \"{script}\"], {more} }}"),
    )
}

#[test]
fn metrics_are_taken_by_rule_beside_those_that_every_command_has() {
    let json =
        r#"metrics = [{ name = "rows", unit = "1", direction = "higher", json = "/result/rows" }]"#;
    let regex = r#"metrics = [{ name = "score", unit = "s", direction = "lower", regex = "score: ([0-9.]+)" }]"#;
    let place = Place::with_suite(&[
        shell("json", r#"echo '{"result": {"rows": 42}}'"#, json),
        shell("regex", "echo noise; echo score: 2.5", regex),
    ]);
    let run = place.assay("run ./tiny.toml --json").exits(0).json();
    let metric = |name: &str, metric: &str| {
        let metrics = case(&run, name)["metrics"].as_array().unwrap();
        let found = metrics.iter().find(|m| m["metric"]["name"] == metric);
        found
            .unwrap_or_else(|| panic!("no {metric} in {metrics:#?}"))
            .clone()
    };
    assert_eq!(metric("json", "rows")["rounds"][0], 42.0);
    assert_eq!(metric("json", "rows")["metric"]["direction"], "higher");
    assert_eq!(metric("regex", "score")["rounds"][0], 2.5);
    for name in ["time", "user_time", "system_time", "peak_memory"] {
        assert_eq!(
            metric("json", name)["rounds"].as_array().unwrap().len(),
            2,
            "{name}"
        );
    }
}

#[test]
fn a_command_that_goes_wrong_costs_its_case() {
    let missing =
        r#"metrics = [{ name = "n", unit = "1", direction = "lower", regex = "n=([0-9]+)" }]"#;
    let place = Place::with_suite(&[
        shell("exits", "echo broken >&2; exit 3", ""),
        shell("expected", "exit 3", "exit_code = 3"),
        shell("killed", "kill -9 $$", ""),
        shell("silent", "true", missing),
        benchmark("absent", "command = { argv = [\"no-such-program\"] }"),
        spin("control/spin", 1000),
    ]);
    let run = place.assay("run ./tiny.toml --json").exits(1).json();
    for (name, words) in [
        ("exits", "3"),
        ("killed", "9"),
        ("silent", "`n`"),
        ("absent", "no-such-program"),
    ] {
        let found = state(&run, &format!("{name}@"));
        assert!(
            found.starts_with("failed ") && found.contains(words),
            "{name}: {found}"
        );
    }
    assert_eq!(state(&run, "expected@"), "ok ");
    assert_eq!(state(&run, "control/spin"), "ok ");
}

#[test]
fn a_timeout_ends_all_that_the_command_started() {
    let script = "sleep 1000 & echo $! >> children; setsid sleep 1000 & echo $! >> children; wait";
    let place = Place::with_suite(&[
        shell("slow", script, "timeout_s = 1"),
        spin("control/spin", 1000),
    ]);
    let run = place.assay("run ./tiny.toml --json").exits(1).json();
    let found = state(&run, "slow@");
    assert!(
        found.starts_with("failed ") && found.contains("longer than 1000 ms"),
        "{found}"
    );
    assert_eq!(state(&run, "control/spin"), "ok ");
    let children = place.read("children");
    assert!(children.lines().count() >= 2, "{children}");
    let lives = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    assert!(eventually(Duration::from_secs(5), || !children
        .lines()
        .any(lives)));
    place.is_left_alone();
}

#[test]
fn axes_and_the_folder_are_filled_in() {
    let lines = "command = { argv = [\"sh\", \"{dir}/count.sh\", \"{n}\"], env = { WHAT = \"n is {n}\" }, metrics = [{ name = \"n\", unit = \"1\", direction = \"neutral\", regex = \"n is ([0-9]+)\" }] }\naxes = { n = [3, 4] }";
    let place = Place::with_suite(&[benchmark("count", lines)]);
    place.script("count.sh", "test \"$WHAT\" = \"n is $1\" && echo $WHAT");
    let run = place.assay("run ./tiny.toml --json").exits(0).json();
    assert_eq!(state(&run, "count[n=4]@cpu"), "ok ");
    // The script is pinned: its digest is in the manifest.
    let manifest = place.assay("plan ./tiny.toml").exits(0).json();
    let digest = manifest["manifest"]["sources"]["{dir}/count.sh"]
        .as_str()
        .unwrap();
    assert!(digest.starts_with("sha256:"));
}

#[test]
fn declarations_that_cannot_work_are_refused() {
    for (more, words) in [
        (
            "metrics = [{ name = \"n\", unit = \"1\", direction = \"lower\" }]",
            "`json` or `regex`",
        ),
        (
            "metrics = [{ name = \"n\", unit = \"1\", direction = \"lower\", regex = \"[0-9]+\" }]",
            "needs a group",
        ),
        (
            "metrics = [{ name = \"n\", unit = \"1\", direction = \"lower\", regex = \"(\" }]",
            "field `regex`",
        ),
        (
            "metrics = [{ name = \"n\", unit = \"1\", direction = \"lower\", json = \"a/b\" }]",
            "field `json`",
        ),
        ("timeouts = 1", "timeouts"),
    ] {
        let place = Place::with_suite(&[shell("bad", "true", more)]);
        place
            .assay("plan ./tiny.toml")
            .refuses(&["tiny.toml", words]);
    }
}

#[test]
fn a_lock_file_without_environments_is_told() {
    let place = Place::new();
    for command in ["env list", "env verify"] {
        let told = place.assay(command).exits(0);
        told.says("containers/lock.toml has no environment; ");
    }
}

#[test]
fn rounds_can_be_fewer_than_a_suite_says() {
    let place = Place::new();
    let planned = place.assay("plan smoke --rounds 2").exits(0);
    let file: serde_json::Value = serde_json::from_str(&planned.stdout).unwrap();
    let cases = file["manifest"]["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let rounds = ["rounds", "max_rounds"].map(|name| &case["policy"][name]);
        assert_eq!(rounds, [2, 2], "{case}");
    }
    for odd in ["0", "3", "1002"] {
        let command = format!("plan smoke --rounds {odd}");
        place.assay(&command).refuses(&["option --rounds", odd]);
    }
}
