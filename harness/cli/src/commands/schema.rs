//! `assay schema`: JSON Schema of the formats, from the types that read them.

use anyhow::Result;
use assay_record::{Body, ManifestFile};
use clap::ValueEnum;
use schemars::schema_for;

use crate::errors::Exit;
use crate::suite::Suite;

/// Which schema.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The format.
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A suite, as TOML read as JSON.
    Suite,
    /// A manifest file.
    Manifest,
    /// The body of one line of a record.
    Record,
}

pub fn run(args: &Args) -> Result<Exit> {
    crate::say!("{}", text(args.format)?);
    Ok(Exit::Fine)
}

fn text(format: Format) -> Result<String> {
    let schema = match format {
        Format::Suite => schema_for!(Suite),
        Format::Manifest => schema_for!(ManifestFile),
        Format::Record => schema_for!(Body),
    };
    Ok(serde_json::to_string_pretty(&schema)?)
}

#[cfg(test)]
mod tests {
    use super::{Format, text};

    #[test]
    fn the_checked_in_schemas_are_fresh() {
        for (format, file) in [
            (Format::Suite, "suite"),
            (Format::Manifest, "manifest"),
            (Format::Record, "record"),
        ] {
            let path = format!(
                "{}/../../suites/definitions/schema/{file}.schema.json",
                env!("CARGO_MANIFEST_DIR")
            );
            let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
            let fresh = text(format).unwrap();
            assert!(
                checked_in.trim_end() == fresh,
                "{path} is stale: write it with `assay schema {file} > {path}`"
            );
        }
    }
}
