//! Runs on a made-up NVML: who else is on the GPU, what disturbs it, a GPU that is lost, and energy.

use std::process::Command;

use assay_record::{BlockStatus, Event, Record};

use crate::fake::Fake;
use crate::helpers::{ASSAY, Outcome, Place, Running, have, suite_with};

/// GPU 0 of the made-up NVML.
const FIRST_GPU: &str = "GPU-00000000-aaaa-bbbb-cccc-000000000000";

/// A worker that says that it runs on GPU 0, and rests where it would compute.
const WORKER: &str = r#"
import json, sys, time
def say(**reply): print(json.dumps({"v": 1, **reply}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    kind = request["request"]
    if kind == "hello":
        say(kind="hello", protocol=1, worker="rest", version="1", devices=[{"kind": "cuda", "index": 0, "name": "made up"}], software={}, workloads=[{
            "name": "rest", "summary": "rests", "definition": 1, "parameters": [],
            "timing": ["hot"], "devices": ["cuda"]}])
    elif kind == "prepare":
        say(kind="prepared", work={"items": 4, "formula": "four"}, metrics=[], inputs={}, deterministic=True,
            device="GPU-00000000-aaaa-bbbb-cccc-000000000000")
    elif kind == "sample":
        end, taken = time.monotonic() + request["max_ns"] / 1e9, 0
        while taken == 0 or taken < request["max_samples"] and time.monotonic() < end:
            start = time.monotonic_ns()
            time.sleep(0.02)
            say(kind="sample", start_ns=start, iterations=1, host_ns=time.monotonic_ns() - start)
            taken += 1
        say(kind="sampled", samples=taken)
    elif kind == "verify":
        say(kind="verified", passed=True)
    elif kind == "teardown":
        say(kind="torn_down", values={})
"#;

/// A place with a suite of one case on a GPU, and the NVML that is found there.
pub struct Bench {
    pub place: Place,
    pub fake: Fake,
}

impl Bench {
    /// `None` where a tool is missing. Each round is measured for so long.
    pub fn of(rounds: u32, round_ms: u32) -> Option<Self> {
        if !have("python3") {
            return None;
        }
        let fake = Fake::build()?;
        let place = Place::new();
        place.write("worker.py", WORKER);
        let policy = format!(
            "rounds = {rounds}, max_rounds = {rounds}, target = 0.000001, min_samples = 2, max_samples = 100000, warmup_ms = 10, round_ms = {round_ms}"
        );
        let benchmark = "[[benchmark]]\nname = \"rest\"\nworker = \"rest\"\nworkload = \"rest\"\ndevices = [\"cuda\"]\n";
        let worker = "[workers.rest]\nargv = [\"python3\", \"{dir}/worker.py\"]\n";
        let suite = suite_with("gpu", &policy, &[benchmark.into(), worker.into()]);
        place.write("gpu.toml", suite);
        Some(Self { place, fake })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = self.place.program(ASSAY);
        command
            .args(arguments.split_whitespace())
            .env("ASSAY_NVML", self.fake.library());
        command
    }

    pub fn assay(&self, arguments: &str) -> Outcome {
        Outcome::of(arguments, &self.command(arguments).output().unwrap())
    }

    pub fn start(&self, arguments: &str) -> Running {
        Running::begin(&self.place, arguments, self.command(arguments))
    }

    pub fn record(&self) -> Record {
        self.place.record()
    }
}

pub fn texts(record: &Record) -> Vec<&str> {
    let events = record.events.iter();
    events.map(|event: &Event| event.text.as_str()).collect()
}

#[test]
fn other_users_of_a_gpu_are_told_before_and_after() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    bench
        .assay("run ./gpu.toml")
        .exits(0)
        .says("warning: before the run, GPU 1 is held by 2 other processes: unknown")
        .lacks("GPU 0 is held");
    let record = bench.record();
    let told = |when: &str| format!("{when} the run, GPU 1 is held by 2 other processes: unknown");
    for when in ["before", "after"] {
        assert!(
            texts(&record).contains(&&*told(when)),
            "{:?}",
            texts(&record)
        );
    }
    let device = record.blocks[0].device.as_deref();
    assert_eq!(record.header.fingerprint.gpu(device), Some(0));
    let disturbed = &record.blocks[0].disturbed;
    let of_gpu = disturbed.iter().any(|what| what.contains("GPU"));
    assert!(!of_gpu, "a power cap is no disturbance: {disturbed:?}");
}

#[test]
fn heat_and_reported_errors_mark_the_rounds() {
    let Some(bench) = Bench::of(2, 400) else {
        return;
    };
    bench.fake.say("throttle 0x48\n");
    let running = bench.start("run ./gpu.toml");
    bench.place.until_record();
    bench.fake.say("throttle 0x48\nxid 94\n");
    running.end().exits(0).says("disturbed in 2 of 2");
    let record = bench.record();
    let disturbed: Vec<&str> = record
        .blocks
        .iter()
        .flat_map(|block| block.disturbed.iter().map(String::as_str))
        .collect();
    let xid = "GPU 0 reported Xid 94: a contained memory error";
    let hot = disturbed
        .iter()
        .filter(|what| what.starts_with("GPU 0 was slowed down for heat in "));
    assert_eq!(hot.count(), 2, "{disturbed:?}");
    assert_eq!(
        texts(&record).iter().filter(|text| **text == xid).count(),
        1
    );
}

#[test]
fn a_gpu_that_is_lost_in_mid_run_costs_its_telemetry_and_the_run_goes_on() {
    let Some(bench) = Bench::of(2, 1000) else {
        return;
    };
    let running = bench.start("run ./gpu.toml");
    bench.place.until_blocks(1);
    bench.fake.say("lost 0\n");
    running.end().exits(0);
    let record = bench.record();
    assert!(
        record
            .blocks
            .iter()
            .all(|block| block.status == BlockStatus::Ok)
    );
    let has_power = |block: usize| {
        let mut series = record.blocks[block].telemetry.iter();
        series.any(|series| series.name == "gpu.0.power")
    };
    assert!(has_power(0));
    let lost = |text: &&str| text.starts_with("telemetry `gpu.0.power`: ");
    assert!(texts(&record).iter().any(lost), "{:?}", texts(&record));
    let after = record.footer.unwrap().fingerprint;
    let name = &after.hardware["gpu.0.name"];
    assert!(matches!(name, assay_record::Field::Error(_)), "{name:?}");
}

#[test]
fn rounds_that_are_long_enough_tell_the_energy_of_an_iteration() {
    let Some(bench) = Bench::of(2, 2600) else {
        return;
    };
    bench
        .assay("run ./gpu.toml")
        .exits(0)
        .says(" per item (counter within ");
    // The fake adds half a joule with each reading, of which there are ten in a second.
    let shown = bench.assay("show --json").exits(0).json();
    let energy = &shown["cases"][0]["energy"];
    let joules = energy["estimate"]["estimate"].as_f64().unwrap();
    let seconds = shown["cases"][0]["metrics"][0]["estimate"]["estimate"]
        .as_f64()
        .unwrap()
        / 1e9;
    let watts = joules / seconds;
    assert!((0.5..=15.0).contains(&watts), "{watts} W");
    let per_item = energy["per_item"]["estimate"].as_f64().unwrap();
    assert!((per_item * 4.0 / joules - 1.0).abs() < 1e-12, "{per_item}");
    assert!(energy["error"].as_f64().unwrap() <= 0.05);
}

/// A worker that runs on both GPUs at once, as ranks do.
fn of_both(rounds: u32, round_ms: u32) -> Option<Bench> {
    let bench = Bench::of(rounds, round_ms)?;
    let both = format!("{FIRST_GPU},GPU-11111111-aaaa-bbbb-cccc-111111111111");
    bench
        .place
        .write("worker.py", WORKER.replace(FIRST_GPU, &both));
    Some(bench)
}

#[test]
fn energy_of_gpus_that_run_a_case_together_is_that_of_all() {
    let Some(bench) = of_both(2, 2600) else {
        return;
    };
    bench.fake.say("energy 1\n");
    bench
        .assay("run ./gpu.toml")
        .exits(0)
        .says(" per item (counters of GPUs 0, 1 within ");
    let shown = bench.assay("show --json").exits(0).json();
    let case = &shown["cases"][0];
    let joules = case["energy"]["estimate"]["estimate"].as_f64().unwrap();
    let ns = &case["metrics"][0]["estimate"]["estimate"];
    let watts = joules / (ns.as_f64().unwrap() / 1e9);
    let record = bench.record();
    let of = |name: &str| {
        let all = record.blocks.iter().flat_map(|block| &block.telemetry);
        let own: Vec<f64> = all
            .filter(|series| series.name == name)
            .map(|series| {
                let last = series.values.len() - 1;
                let ns = series.at_ns[last] - series.at_ns[0];
                (series.values[last] - series.values[0]) / ns as f64 * 1e9
            })
            .collect();
        assert_eq!(own.len(), 2, "{name}");
        own.iter().sum::<f64>() / 2.0
    };
    let [first, second] = ["gpu.0.energy", "gpu.1.energy"].map(of);
    assert!(
        first > 0.0 && (second / first - 3.0).abs() < 0.3,
        "{first} {second}"
    );
    assert!(
        (watts / (first + second) - 1.0).abs() < 0.1,
        "{watts} {first} {second}"
    );
    assert_eq!(case["energy"]["gpus"], serde_json::json!([0, 1]));
}

#[test]
fn energy_is_not_told_where_one_gpu_of_several_does_not_tell_its_part() {
    let Some(bench) = of_both(2, 2600) else {
        return;
    };
    bench
        .assay("run ./gpu.toml")
        .exits(0)
        .says(", no energy: GPU 1 tells nothing of its own")
        .lacks(" per item");
    let shown = bench.assay("show --json").exits(0).json();
    assert!(shown["cases"][0]["energy"].is_null());
    // What disturbs one of them disturbs the case: GPU 1 is too hot, as the fake has it.
    let record = bench.record();
    let hot = |what: &String| what.starts_with("GPU 1 was slowed down for heat");
    assert!(
        record
            .blocks
            .iter()
            .all(|block| block.disturbed.iter().any(hot))
    );
}

#[test]
fn a_power_limit_that_was_changed_is_named_first() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    bench.assay("run ./gpu.toml").exits(0);
    bench.fake.say("limit 350000\n");
    let words = "The power limit of GPU 0 was 500 W and is now 350 W.";
    let again = bench.assay("reproduce latest --no-confirm");
    let first = again
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("what differs"));
    assert_eq!(first.skip(1).map(str::trim).next(), Some(words), "{again}");
    let again = bench.assay("reproduce latest~1 --no-confirm --json").json();
    let first = &again["explanations"][0];
    assert_eq!(first["field"], "settings.gpu.0.power.limit_watts");
    assert_eq!(
        (&first["before"], &first["after"]),
        (&"500 W".into(), &"350 W".into())
    );
    bench.assay("report").exits(0);
    let page = bench.place.read("assay-data/site/reproductions.html");
    assert!(page.contains(words), "{page}");
}
