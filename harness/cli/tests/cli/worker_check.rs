//! The conformance check: a good worker passes in any language, a broken one is told what it gets wrong.

use crate::helpers::{ASSAY, Outcome, Place, have, repository_file};

/// Ways of breaking the example worker: what is replaced, by what, and the words that must be said.
const BROKEN: [(&str, &str, &str); 9] = [
    (
        "    case = None\n    for line",
        "    print('loading')\n    case = None\n    for line",
        "not a protocol line",
    ),
    ("{\"v\": PROTOCOL, **reply}", "{\"v\": 99, **reply}", "99"),
    (
        "output = sorted(self.input)",
        "output = self.input",
        "its own output is wrong",
    ),
    (
        "\"samples\": len(replies)",
        "\"samples\": 1 + len(replies)",
        "samples",
    ),
    (
        "random.Random(int(case[\"seed\"]))",
        "random.Random()",
        "different input digests",
    ),
    (
        "except Exception as error",
        "except ZeroDivisionError as error",
        "ended",
    ),
    (
        "\"start_ns\": start",
        "\"start_ns\": 1",
        "the clock went back",
    ),
    ("\"host_ns\": host_ns", "\"host_ns\": 0", "zero time"),
    (
        "if __name__ == \"__main__\":\n    main()",
        "main()\nsys.exit(3)",
        "ended with exit status: 3",
    ),
];

fn checked(place: &Place, worker: &str) -> Outcome {
    place.assay(&format!("worker-check --timeout 20 {worker}"))
}

#[test]
fn the_example_worker_passes() {
    if !have("python3") {
        return;
    }
    let place = Place::new();
    place.write(
        "worker.py",
        repository_file("suites/workers/example_worker.py"),
    );
    checked(&place, "python3 worker.py")
        .exits(0)
        .says(" 0 faults")
        .lacks("FAULT");
}

#[test]
fn a_broken_worker_is_told_what_it_gets_wrong() {
    if !have("python3") {
        return;
    }
    let place = Place::new();
    let good = repository_file("suites/workers/example_worker.py");
    for (part, broken, words) in BROKEN {
        assert_eq!(
            good.matches(part).count(),
            1,
            "the example worker has changed: {part}"
        );
        place.write("worker.py", good.replace(part, broken));
        checked(&place, "python3 worker.py")
            .exits(1)
            .says("FAULT")
            .says(words);
    }
    place.is_left_alone();
}

#[test]
fn a_worker_that_never_answers_is_not_waited_for() {
    if !have("python3") {
        return;
    }
    let place = Place::new();
    let good = repository_file("suites/workers/example_worker.py");
    let hangs = good.replace("    return [case.verify()], case", "    time.sleep(1000)");
    place.write("worker.py", hangs);
    place
        .assay("worker-check --timeout 1 python3 worker.py")
        .exits(1)
        .says("verify: gave no answer for 1 s");
    place.is_left_alone();
}

#[test]
fn the_built_in_worker_passes_and_its_faults_are_named() {
    let place = Place::new();
    checked(&place, &format!("--workload spin {ASSAY} worker")).exits(0);
    for (mode, words) in [
        ("none", " 0 faults"),
        ("crash", "SIGABRT"),
        ("wrong", "its own output is wrong"),
        ("rubbish", "not a protocol line"),
        ("too-many-samples", "more samples than"),
        ("negative-time", "`-1`"),
        ("truncated", "output ended"),
    ] {
        let command = format!("--workload fault --param mode={mode} {ASSAY} worker");
        let code = i32::from(mode != "none");
        checked(&place, &command).exits(code).says(words);
    }
}

#[test]
fn what_is_no_worker_is_told_so() {
    let place = Place::new();
    checked(&place, "cat")
        .exits(1)
        .says("hello")
        .says("not a protocol line");
    checked(&place, "false")
        .exits(1)
        .says("hello")
        .says("exit status: 1")
        .says("does it speak the worker protocol?");
    checked(&place, "no-such-program").refuses(&["cannot start `no-such-program`"]);
}
