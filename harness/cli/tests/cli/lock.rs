//! One run at a time on a device, and one writer at a time on the database.

use std::io::Write as _;
use std::process::Stdio;

use rustix::process::Signal;

use crate::helpers::{Place, have, spin, suite_with};

/// A place in which a run measures that ends only when it is asked to.
fn busy() -> (Place, crate::helpers::Running) {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let policy =
        "rounds = 200, max_rounds = 200, min_samples = 2, max_samples = 100, round_ms = 100";
    place.write(
        "long.toml",
        suite_with("long", policy, &[spin("a", 10_000)]),
    );
    let running = place.start("run ./long.toml");
    place.until_blocks(1);
    (place, running)
}

#[test]
fn a_device_in_use_is_refused_naming_who_uses_it() {
    let (place, running) = busy();
    let pid = format!("process {}", running.pid());
    place
        .assay("run ./tiny.toml")
        .exits(3)
        .says("cpu is in use")
        .says(&pid)
        .says("--wait");
    assert_eq!(place.runs().len(), 1);
    running.signal(Signal::INT);
    running.end().exits(130);
    // The lock went with the process that held it.
    place.assay("run ./tiny.toml").exits(0);
}

#[test]
fn a_device_in_use_is_waited_for() {
    let (place, running) = busy();
    let waiting = place.start("run ./tiny.toml --wait 1000");
    waiting.until_it_says(&format!(
        "waiting for cpu: another assay (process {})",
        running.pid()
    ));
    running.signal(Signal::INT);
    running.end().exits(130);
    waiting.end().exits(0).says("1 ok");
}

#[test]
fn runs_under_different_locks_do_not_meet() {
    let (place, running) = busy();
    let beside = place.beside("elsewhere");
    beside.write("tiny.toml", place.read("tiny.toml"));
    // Another folder of locks stands for another machine.
    beside.assay("run ./tiny.toml").exits(0);
    running.signal(Signal::INT);
    running.end().exits(130);
}

#[test]
fn a_locked_database_is_waited_for_and_its_holder_named() {
    if !have("python3") {
        return;
    }
    let place = Place::with_runs(1);
    let script = "import fcntl,sys; f=open('assay-data/assay.duckdb','r+b'); fcntl.lockf(f,fcntl.LOCK_EX); print('held',flush=True); sys.stdin.read()";
    let mut holder = place
        .program("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut held).unwrap();
    let waiting = place.start("show");
    waiting.until_it_says("locked by process");
    waiting.until_it_says("waiting up to");
    holder.stdin.take().unwrap().flush().unwrap();
    holder.wait().unwrap();
    waiting.end().exits(0).says("1 ok");
}
