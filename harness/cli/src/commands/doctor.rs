//! `assay doctor`: whether this machine can give honest numbers. Changes nothing.

use assay_machine::doctor::{self, Level};

use crate::errors::Exit;

/// How to say it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also what is as it should be.
    #[arg(short, long)]
    all: bool,
}

pub fn run(args: &Args) -> Exit {
    let findings = doctor::examine(
        &assay_machine::fingerprint(),
        &assay_machine::timer::resolution(),
    );
    let shown = findings
        .iter()
        .filter(|finding| args.all || finding.level != Level::Good);
    for finding in shown {
        crate::say!(
            "{}: {}: {}",
            format!("{:?}", finding.level).to_lowercase(),
            finding.topic,
            finding.what
        );
        for (word, text) in [("why", &finding.why), ("fix", &finding.fix)] {
            if !text.is_empty() {
                crate::say!("    {word}: {text}");
            }
        }
    }
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    crate::say!(
        "{} bad, {} warnings, {} notes, {} good",
        count(Level::Bad),
        count(Level::Warning),
        count(Level::Note),
        count(Level::Good)
    );
    Exit::Fine
}
