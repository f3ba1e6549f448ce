//! `assay synth fit`: learn a table and write the model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_suites::synthetic::declared::{MOST_DRAWS, rules};
use assay_suites::synthetic::generators::Model;
use assay_suites::synthetic::generators::mst::Mst;
use assay_suites::synthetic::privacy::Budget;
use assay_suites::synthetic::progress::Progress;
use assay_suites::synthetic::table::doubts::doubts;
use assay_suites::synthetic::table::schema::MOST_CATEGORIES;
use assay_suites::synthetic::table::{Table, Values};
use assay_suites::synthetic::workload::{GENERATORS, Noise, fit_declared};

use super::declared::{self, Declaration};
use super::files;
use super::model::{Declared, Learned, ModelFile};
use super::progress::telling;
use crate::errors::Exit;

/// Rows that are made to see how many of them keep to what is declared, at most, and their seed.
const PROBED: u64 = 1 << 11;
const PROBE_SEED: u64 = 0;

/// Which table, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The table.
    table: PathBuf,
    /// `copula`, `independent`, or `mst`, which is differentially private.
    #[arg(long, default_value = GENERATORS[0], value_parser = GENERATORS)]
    generator: String,
    /// Of mst: how much may be learned of any one row, without it 1. Less is more private.
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// Of mst: the probability of more; without it 1e-9, below one over the number of rows of any table of less than a billion.
    #[arg(
        long,
        value_name = "D",
        requires = "epsilon",
        allow_negative_numbers = true
    )]
    delta: Option<f64>,
    /// Of mst: noise of a seed instead of the operating system's. Who knows the seed can take the noise away: for tests.
    #[arg(long, value_name = "N")]
    noise_seed: Option<u64>,
    #[command(flatten)]
    declared: declared::Args,
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
    let inputs = [Some(&args.table), args.declared.schema.as_ref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    files::ensure_output(&args.output, &inputs)?;
    let declaration = args.declared.declaration(&args.table)?;
    let reading = args.declared.reading(declaration.as_ref());
    let (source, model) = telling(|progress| {
        progress.begin(&format!("reading {}", args.table.display()), 0);
        let source = declared::read(&args.table, &reading, declaration.as_ref())?;
        let model = learn(args, &source.table, declaration.as_ref(), progress)?;
        anyhow::Ok((source, model))
    })?;
    let table = &source.table;
    if let Model::Mst(mst) = &model {
        tell_privacy(mst, table.rows() as u64);
    }
    tell_keys(table, declaration.as_ref());
    for doubt in doubts(&source, &reading.types) {
        crate::note!("note: {doubt}");
    }
    let rows = table.rows() as u64;
    // Of a private table nothing is told exactly that the budget did not pay for.
    let is_private = matches!(model, Model::Mst(_));
    let learned = Learned {
        table: files::name(&args.table),
        digest: (!is_private).then(|| table.digest()),
        rows: (!is_private).then_some(rows),
    };
    let declared = declaration.as_ref().map(|of| Declared {
        declared_in: of.digest,
        table: of.table.clone(),
    });
    let model = ModelFile::new(learned, model, declared, source.cell_types());
    if let Some(declaration) = &declaration {
        tell_declared(declaration, table, &model)?;
    }
    files::write(&args.output, &model.bytes()?)?;
    crate::say!(
        "{}: {} of {rows} rows, {} columns",
        args.output.display(),
        model.model.name(),
        table.columns.len()
    );
    Ok(Exit::Fine)
}

fn learn(
    args: &Args,
    table: &Table,
    declaration: Option<&Declaration>,
    progress: &Progress,
) -> Result<Model> {
    let budget = match args.epsilon {
        None => None,
        Some(epsilon) => Some(match args.delta {
            Some(delta) => Budget::new(epsilon, delta)?,
            None => Budget::usual(epsilon)?,
        }),
    };
    let noise = args.noise_seed.map_or(Noise::Secret, Noise::Seeded);
    let learnable = declaration.map(|of| of.table.learnable(table));
    let model = fit_declared(
        &args.generator,
        learnable.as_ref().unwrap_or(table),
        declaration.map_or(&[], |of| &of.table.column),
        budget,
        noise,
        progress,
    );
    model.with_context(|| args.table.display().to_string())
}

fn tell_privacy(mst: &Mst, rows: u64) {
    crate::note!(
        "spent epsilon {} at delta {:.3e} in {} measurements",
        if mst.epsilon < 1e6 {
            format!("{:.6}", mst.epsilon)
        } else {
            format!("{:.3e}", mst.epsilon)
        },
        mst.delta,
        mst.ledger.len()
    );
    let budget = Budget {
        epsilon: mst.epsilon,
        delta: mst.delta,
    };
    // What depends on the number of rows is for who holds them, and in no file.
    let warning = budget.warning(rows);
    for caveat in mst.caveats.iter().chain(&warning) {
        crate::note!("warning: {caveat}");
    }
}

/// Which columns of texts are made anew.
fn tell_keys(table: &Table, declaration: Option<&Declaration>) {
    let is_declared = |name: &str| {
        declaration.is_some_and(|of| of.table.column.iter().any(|column| column.name() == name))
    };
    for column in &table.columns {
        let name = &column.name;
        match column.values {
            Values::Key { .. } if is_declared(name) => {
                crate::note!(
                    "note: the keys of column `{name}` are made anew, and none is learned"
                );
            }
            Values::Key { .. } => crate::note!(
                "note: the texts of column `{name}` nearly all differ, or are more than {MOST_CATEGORIES}: they are made anew, and none is learned"
            ),
            _ => {}
        }
    }
}

/// What of the schema was not used, what of the table does not keep to it, and how rows will.
fn tell_declared(of: &Declaration, table: &Table, model: &ModelFile) -> Result<()> {
    let open = of.open_columns(table);
    if !open.is_empty() {
        crate::note!(
            "note: not declared in {}, and learned as they are: `{}`",
            of.name(),
            open.join("`, `")
        );
    }
    for rule in rules(&of.table, table, &BTreeMap::new())? {
        if let Some(first) = rule.broken.first() {
            crate::note!(
                "note: {} does not hold in {} rows of the table, the first of them row {}: they are learned as they are{}",
                rule.what,
                rule.broken.len(),
                first + 1,
                if matches!(model.model, Model::Mst(_)) {
                    ", but for what is beyond a range or no label, which counts as missing"
                } else {
                    ""
                }
            );
        }
    }
    for name in of.table.unique_names() {
        crate::note!(
            "note: column `{name}` is unique: it will be a permutation of its range, and nothing of it is learned"
        );
    }
    // As many as the least unique column has room for, at least one.
    let mut tried = (0..=PROBED.ilog2()).rev().map(|power| 1 << power);
    let (maker, rows) = tried
        .find_map(|rows| Some((model.maker(rows).ok()?, rows)))
        .context("a declared table has room for a row")?;
    let (_, drawn) = maker.rows(PROBE_SEED, 0, rows as usize)?;
    if let Some(drawn) = drawn {
        crate::note!(
            "note: of {} rows that were made to see, {} broke what is declared and were drawn again, {} in vain: `sample` draws a row at most {MOST_DRAWS} times",
            drawn.rows,
            drawn.drawn_again,
            drawn.in_vain
        );
    }
    for what in of.table.not_kept() {
        crate::note!("warning: nobody will see to it that {what}");
    }
    Ok(())
}
