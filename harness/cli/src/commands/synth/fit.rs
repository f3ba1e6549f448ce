//! `assay synth fit`: learn a table and write the model.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use assay_suites::synthetic::generators::{MODEL_SCHEMA, Model};
use assay_suites::synthetic::privacy::Budget;
use assay_suites::synthetic::table::file;
use assay_suites::synthetic::workload::{GENERATORS, Noise, fit};

use super::files;
use super::model::{Learned, ModelFile};
use crate::errors::Exit;

/// Which table, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The table.
    table: PathBuf,
    /// `copula`, `independent`, or `mst`, which is differentially private.
    #[arg(long, default_value = GENERATORS[0], value_parser = GENERATORS)]
    generator: String,
    /// Of mst: how much may be learned of any one row. Less is more private.
    #[arg(long, value_name = "E")]
    epsilon: Option<f64>,
    /// Of mst: the probability of more; without it, one over the square of the number of rows.
    #[arg(long, value_name = "D", requires = "epsilon")]
    delta: Option<f64>,
    /// Of mst: noise of a seed instead of the operating system's. Who knows the seed can take the noise away: for tests.
    #[arg(long, value_name = "N")]
    noise_seed: Option<u64>,
    /// Where the model goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: &Args) -> Result<Exit> {
    ensure!(
        args.generator == "mst" || (args.epsilon.is_none() && args.noise_seed.is_none()),
        "--epsilon and --noise-seed are of mst: `{}` is not private at all",
        args.generator
    );
    let table = file::read(&args.table)?;
    let rows = table.rows() as u64;
    let budget = match args.epsilon {
        None => None,
        Some(epsilon) => {
            let usual = 1.0 / (rows.max(2) as f64).powi(2);
            Some(Budget::new(epsilon, args.delta.unwrap_or(usual))?)
        }
    };
    let noise = args.noise_seed.map_or(Noise::Secret, Noise::Seeded);
    let model = fit(&args.generator, &table, budget, noise)
        .with_context(|| args.table.display().to_string())?;
    if let Model::Mst(mst) = &model {
        crate::note!(
            "spent epsilon {:.6} at delta {:.3e} in {} measurements",
            mst.epsilon,
            mst.delta,
            mst.ledger.len()
        );
        for caveat in &mst.caveats {
            crate::note!("warning: {caveat}");
        }
    }
    if args.noise_seed.is_some() {
        crate::note!("warning: the noise comes of a seed: who knows it can take it away");
    }
    let learned = Learned {
        table: files::name(&args.table),
        digest: table.digest(),
        rows,
    };
    let model = ModelFile {
        schema: MODEL_SCHEMA,
        learned,
        model,
    };
    files::write(&args.output, &serde_json::to_vec(&model)?)?;
    crate::say!(
        "{}: {} of {rows} rows, {} columns",
        args.output.display(),
        model.model.name(),
        table.columns.len()
    );
    Ok(Exit::Fine)
}
