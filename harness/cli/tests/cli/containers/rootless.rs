//! Podman without root: a user of their own, who can write to nothing of this machine's but what is theirs.

use std::path::Path;
use std::process::Command;

use super::{Harbour, worker};
use crate::helpers::{ASSAY, Outcome};

/// Who that is.
const NAME: &str = "assay-rootless";

/// Somebody who is made for a test, and is gone after it.
struct User<'a>(&'a Harbour);

impl<'a> User<'a> {
    /// `None` where nobody may be made: by root alone, and where that is asked for.
    fn new(harbour: &'a Harbour) -> Option<Self> {
        let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
        if !required.contains("rootless") {
            println!(
                "skipped: it makes a user on this machine, where ASSAY_REQUIRE names `rootless`"
            );
            return None;
        }
        assert!(
            rustix::process::geteuid().is_root(),
            "only root makes users"
        );
        let home = harbour.place.path("");
        is_done(
            Command::new("useradd")
                .args(["--no-create-home", "--home-dir"])
                .arg(&home)
                .arg(NAME),
        );
        let user = Self(harbour);
        for folder in ["run", "bin"] {
            std::fs::create_dir_all(harbour.place.path(folder)).unwrap();
        }
        for (program, name) in [(Path::new(ASSAY), "assay"), (&worker(), "assay-worker")] {
            std::fs::copy(program, harbour.place.path("bin").join(name)).unwrap();
        }
        is_done(Command::new("chown").args(["-R", NAME]).arg(&home));
        Some(user)
    }

    /// A program as this user has it.
    fn program(&self, program: &Path) -> Command {
        let mut command = self.0.command("runuser");
        command
            .args(["-u", NAME, "--"])
            .arg(program)
            .env("XDG_RUNTIME_DIR", self.0.place.path("run"));
        command
    }

    fn assay(&self, arguments: &str) -> Outcome {
        let mut command = self.program(&self.0.place.path("bin/assay"));
        let output = command.args(arguments.split(' ')).output().unwrap();
        Outcome::of(arguments, &output)
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        // Ends the process that holds what podman mounted.
        let _ = self
            .program(Path::new("podman"))
            .args(["system", "migrate"])
            .output();
        let _ = Command::new("userdel").args(["--force", NAME]).output();
    }
}

fn is_done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn a_user_who_is_not_root_builds_runs_and_reproduces() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.recipe("box", "");
    let Some(user) = User::new(&harbour) else {
        return;
    };
    user.assay("env build box --worker bin/assay-worker")
        .exits(0);
    user.assay("run ./tiny.toml --env box").exits(0);
    let record = harbour.place.record();
    let inspected = format!("inspected while it ran: image {}", harbour.locked("config"));
    let event = record
        .events
        .iter()
        .find(|event| event.text.contains(&inspected));
    let event = event.unwrap_or_else(|| panic!("{:?}", record.events));
    // Control groups of version 1 are root's; that nothing is bounded is then said.
    let can_bound = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert_eq!(
        event.text.contains("are not bounded"),
        !can_bound,
        "{}",
        event.text
    );
    user.assay("reproduce latest --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
}
