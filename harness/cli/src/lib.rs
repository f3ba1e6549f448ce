//! The assay command: plan, pin, execute, and one file per subcommand.
