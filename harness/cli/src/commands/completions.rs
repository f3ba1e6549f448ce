//! `assay completions`: for bash, zsh, fish and others.

use clap_complete::Shell;

use crate::errors::Exit;

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: &Args, mut command: clap::Command) -> Exit {
    clap_complete::generate(args.shell, &mut command, "assay", &mut std::io::stdout());
    Exit::Fine
}
