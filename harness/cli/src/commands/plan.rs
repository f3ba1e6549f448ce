//! `assay plan`: a suite's manifest, without running it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::errors::Exit;
use crate::plan;
use crate::settings::Settings;
use crate::suite::locate;

/// What to plan, shared by every command that plans.
#[derive(Clone, Debug, clap::Args)]
pub struct Selection {
    /// Only cases whose id contains this text; may be given again.
    #[arg(long, value_name = "TEXT")]
    pub filter: Vec<String>,
    /// Only benchmarks with this tag; may be given again.
    #[arg(long, value_name = "TAG")]
    pub benchmark_tag: Vec<String>,
    /// So many rounds of every case, and no more, whatever the suite says: an even number. Fewer are quicker, and tell less.
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// Key of the random order of cases; without it, the order follows from the suite.
    #[arg(long, value_name = "N")]
    pub order_seed: Option<u64>,
    /// Command put before every worker, such as "taskset -c 2"; split at spaces.
    #[arg(long, value_name = "COMMAND")]
    pub prefix: Option<String>,
    /// Run in this environment of the lock file: `assay env list`.
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// An arm to interleave with others: here, image:ENVIRONMENT, env:KEY=VALUE, worker:PATH, commit:REV, or
    /// prefix:COMMAND; a name given again adds to its arm.
    #[arg(long, value_name = "NAME=SPEC")]
    pub arm: Vec<String>,
}

impl Selection {
    /// As the planner takes it.
    pub fn options(&self) -> plan::Options {
        let words = |text: &String| text.split_whitespace().map(str::to_owned).collect();
        plan::Options {
            filters: self.filter.clone(),
            tags: self.benchmark_tag.clone(),
            rounds: self.rounds,
            order_seed: self.order_seed,
            prefix: self.prefix.as_ref().map(words).unwrap_or_default(),
            arms: self.arm.clone(),
            environment: self.env.clone(),
        }
    }

    /// The first of these options that was given: a manifest takes none of them.
    pub fn first_given(&self) -> Option<&'static str> {
        let Self {
            filter,
            benchmark_tag,
            rounds,
            order_seed,
            prefix,
            env,
            arm,
        } = self;
        [
            ("--filter", !filter.is_empty()),
            ("--benchmark-tag", !benchmark_tag.is_empty()),
            ("--rounds", rounds.is_some()),
            ("--order-seed", order_seed.is_some()),
            ("--prefix", prefix.is_some()),
            ("--env", env.is_some()),
            ("--arm", !arm.is_empty()),
        ]
        .into_iter()
        .find_map(|(option, given)| given.then_some(option))
    }
}

/// What to plan and where to write it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A suite by name or path.
    suite: String,
    #[command(flatten)]
    selection: Selection,
    /// File to write; without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let located = locate::locate(&args.suite)?;
    let file = plan::plan(&located, &Settings::load()?, &args.selection.options())?;
    let bytes = file
        .to_bytes()
        .context("the manifest has no canonical form")?;
    match &args.output {
        None => std::io::stdout().write_all(&bytes)?,
        Some(path) => std::fs::write(path, &bytes).with_context(|| cannot_write(path))?,
    }
    crate::note!(
        "{} cases, manifest {}",
        file.manifest.cases.len(),
        file.digest
    );
    if file.manifest.project.git().is_none() {
        crate::note!("note: not in a git repository; the manifest names no commit");
    }
    Ok(Exit::Fine)
}

fn cannot_write(file: &Path) -> String {
    let file_shown = file.display();
    let parent = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    match parent.filter(|dir| !dir.exists()) {
        Some(dir) => format!(
            "{file_shown}: there is no folder {0}; make it with `mkdir -p {0}`",
            dir.display()
        ),
        None => format!("{file_shown}: the manifest cannot be written"),
    }
}
