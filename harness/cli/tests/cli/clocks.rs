//! Locked clocks: never without consent, and never for longer than the run, however it ends.

use rustix::process::{Pid, Signal, kill_process};

use crate::gpu::{Bench, texts};
use crate::helpers::{ASSAY, PATIENCE, eventually, have};

/// The base clock, as NVML takes it.
const BASE: u32 = 0xffff_ff01;
const RESET: [&str; 3] = ["reset 0 0 0", "reset-memory 0 0 0", "reset 1 0 0"];

impl Bench {
    /// Calls that changed a setting, in order.
    fn calls(&self) -> Vec<String> {
        let log = self.fake.log();
        log.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn until_called(&self, call: &str) {
        let called = eventually(PATIENCE, || self.calls().iter().any(|made| made == call));
        assert!(called, "{:?}", self.calls());
    }

    /// Waits until all clocks are reset after they were locked, and the guard has gone.
    #[track_caller]
    fn is_reset(&self) {
        self.until_called(RESET[2]);
        let calls = self.calls();
        assert!(calls[0].starts_with("lock 0 "), "{calls:?}");
        assert_eq!(calls[calls.len() - 3..], RESET, "{calls:?}");
        self.place.is_left_alone();
    }
}

#[test]
fn clocks_are_locked_while_a_run_lasts_and_the_record_says_so() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    bench.assay("run ./gpu.toml --lock-clocks --yes").exits(0);
    let locked = [
        format!("lock 0 {BASE} {BASE}"),
        "lock-memory 0 2619 2619".into(),
        format!("lock 1 {BASE} {BASE}"),
    ];
    let expected: Vec<String> = locked.into_iter().chain(RESET.map(String::from)).collect();
    assert_eq!(bench.calls(), expected);
    let record = bench.record();
    let texts = texts(&record);
    assert_eq!(
        texts[0],
        "clocks were locked for this run: NVIDIA Made-Up H100 (GPU-00000000-aaaa-bbbb-cccc-000000000000) at its base clock, \
         its memory at 2619 MHz; NVIDIA Made-Up RTX (GPU-11111111-aaaa-bbbb-cccc-111111111111) at its base clock, its memory not"
    );
    assert!(texts.contains(&"clocks were reset"), "{texts:?}");
    let shown = |field: &str| {
        let before = &record.header.fingerprint.settings[field];
        let after = &record.footer.as_ref().unwrap().fingerprint.settings[field];
        assert_eq!(before, after);
        before.to_string()
    };
    assert_eq!(shown("gpu.0.clocks.locked_sm_mhz"), "base");
    assert_eq!(shown("gpu.0.clocks.locked_memory_mhz"), "2619");
    assert_eq!(shown("gpu.1.clocks.locked_sm_mhz"), "base");
    let settings = &record.header.fingerprint.settings;
    assert!(!settings.contains_key("gpu.1.clocks.locked_memory_mhz"));
    // Not asked for, nothing is locked, and the difference is put into words.
    bench.assay("run ./gpu.toml").exits(0);
    assert_eq!(bench.calls(), expected);
    let reproduced = bench.assay("reproduce latest~1 --no-confirm");
    reproduced.says("The clock that Assay locked on GPU 0 was base and is now absent.");
}

#[test]
fn a_clock_of_ones_own_and_a_model_are_what_is_locked() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    let suite = bench.place.read("gpu.toml");
    bench
        .place
        .write("gpu.toml", suite.replace("\"cuda\"", "\"cuda:RTX\""));
    bench.fake.say("no memory lock\n");
    bench
        .assay("run ./gpu.toml --lock-clocks=1500 --yes")
        .exits(0);
    assert_eq!(bench.calls(), ["lock 1 1500 1500", "reset 1 0 0"]);
}

#[test]
fn without_consent_nothing_is_locked_and_nothing_is_run() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    bench
        .assay("run ./gpu.toml --lock-clocks")
        .refuses(&["--lock-clocks", "no terminal", "--yes"]);
    bench
        .assay("run ./gpu.toml --yes")
        .refuses(&["--lock-clocks"]);
    bench
        .assay("run ./gpu.toml --lock-clocks=fast --yes")
        .refuses(&["`base` or a number of MHz"]);
    assert!(bench.calls().is_empty() && bench.place.records().is_empty());
}

#[test]
fn on_a_terminal_it_asks() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    if !have("script") {
        return;
    }
    let answered = |answer: &str| {
        let command = format!("{ASSAY} run ./gpu.toml --lock-clocks");
        let mut terminal = bench.place.program("sh");
        // What is typed lies there when the question comes; the terminal stays open behind it.
        let line = format!("(echo {answer}; sleep 5) | script -qec '{command}' /dev/null");
        terminal.args(["-c", &line]);
        terminal.env("ASSAY_NVML", bench.fake.library());
        let output = terminal.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("[y/N]"), "{said}");
        (output.status.code(), said)
    };
    let (code, said) = answered("no");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("not confirmed"), "{said}");
    assert!(bench.calls().is_empty() && bench.place.records().is_empty());
    let (code, said) = answered("y");
    assert_eq!(code, Some(0), "{said}");
    bench.is_reset();
}

#[test]
fn without_rights_nothing_is_run() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    bench.fake.say("forbidden\n");
    bench
        .assay("run ./gpu.toml --lock-clocks --yes")
        .exits(3)
        .says("GPU 0: its clocks cannot be locked without root's rights");
    assert!(bench.calls().is_empty() && bench.place.records().is_empty());
    // The second GPU fails: the first is as it was.
    bench.fake.say("lost 1\n");
    bench
        .assay("run ./gpu.toml --lock-clocks --yes")
        .exits(3)
        .says("GPU 1: ");
    let calls = bench.calls();
    assert_eq!(calls[calls.len() - 2..], RESET[..2], "{calls:?}");
    // Without NVML there is nothing to lock.
    let mut blind = bench.place.program(ASSAY);
    blind.args(["run", "./gpu.toml", "--lock-clocks", "--yes"]);
    let output = blind.env("ASSAY_NVML", "/nonexistent.so").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("NVML could not be loaded"), "{said}");
}

#[test]
fn suites_of_the_cpu_lock_nothing() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    let spin = crate::helpers::spin("control/spin", 1000);
    bench
        .place
        .write("tiny.toml", crate::helpers::suite("tiny", &[spin]));
    bench
        .assay("run ./tiny.toml --lock-clocks --yes")
        .exits(0)
        .says("no case runs on a GPU");
    assert!(bench.calls().is_empty());
}

#[test]
fn a_killed_harness_leaves_no_clock_locked() {
    let Some(bench) = Bench::of(100, 1000) else {
        return;
    };
    let running = bench.start("run ./gpu.toml --lock-clocks --yes");
    bench.place.until_record();
    assert!(!bench.calls().iter().any(|call| call.starts_with("reset")));
    running.kill();
    bench.is_reset();
}

#[test]
fn an_interrupted_run_resets_them() {
    let Some(bench) = Bench::of(100, 1000) else {
        return;
    };
    let running = bench.start("run ./gpu.toml --lock-clocks --yes");
    bench.place.until_blocks(1);
    running.signal(Signal::INT);
    running.end().exits(130);
    bench.is_reset();
}

#[test]
fn a_run_that_cannot_go_on_resets_them() {
    let Some(bench) = Bench::of(2, 20) else {
        return;
    };
    bench.assay("plan ./gpu.toml -o gpu.json").exits(0);
    // No file may grow beyond a few KiB: the record cannot be written.
    let line = format!("trap '' XFSZ; ulimit -f 8; exec {ASSAY} run gpu.json --lock-clocks --yes");
    let mut limited = bench.place.program("sh");
    limited
        .args(["-c", &line])
        .env("ASSAY_NVML", bench.fake.library());
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    bench.is_reset();
}

#[test]
fn a_guard_disregards_polite_signals_and_the_loss_of_one_is_said() {
    let Some(bench) = Bench::of(2, 700) else {
        return;
    };
    let running = bench.start("run ./gpu.toml --lock-clocks --yes");
    bench.place.until_record();
    let guard = bench.guard();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(guard, signal).unwrap();
    }
    bench.place.until_blocks(1);
    assert!(!bench.calls().iter().any(|call| call.starts_with("reset")));
    kill_process(guard, Signal::KILL).unwrap();
    running
        .end()
        .exits(0)
        .says("warning: clocks may still be locked")
        .says("sudo nvidia-smi -rgc");
}

impl Bench {
    /// The guard of the run that goes on.
    fn guard(&self) -> Pid {
        let processes = self.place.processes();
        let is_guard = |pid: &&u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|word| word == b"clock-guard")
        };
        let guard = processes.iter().find(is_guard).expect("a guard");
        Pid::from_raw(guard.cast_signed()).unwrap()
    }
}
