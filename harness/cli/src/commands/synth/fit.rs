//! `assay synth fit`: learn a table and write the model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use assay_suites::synthetic::declared::{Drawn, MOST_DRAWS, Rule, unchecked};
use assay_suites::synthetic::generators::Model;
use assay_suites::synthetic::generators::private::Private;
use assay_suites::synthetic::privacy::Budget;
use assay_suites::synthetic::privacy::mechanism::{MECHANISMS, Mechanism};
use assay_suites::synthetic::progress::Progress;
use assay_suites::synthetic::table::doubts::doubts;
use assay_suites::synthetic::table::schema::MOST_CATEGORIES;
use assay_suites::synthetic::table::{Table, Values};
use assay_suites::synthetic::workload::{GENERATORS, Noise, Privacy, fit_declared};

use super::declared::{self, Declaration};
use super::files;
use super::model::{Declared, Learned, ModelFile};
use super::progress::telling;
use crate::errors::Exit;
use crate::output::counted;

/// Rows that are made to see how many of them keep to what is declared, at most, and their seed.
const PROBED: u64 = 1 << 11;
const PROBE_SEED: u64 = 0;

/// Which table, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The table.
    table: PathBuf,
    /// `copula`; `independent`, which is differentially private where an epsilon or a mechanism is asked for; or `mst`, which always is.
    #[arg(long, default_value = GENERATORS[0], value_parser = GENERATORS)]
    generator: String,
    /// How much may be learned of any one row; of a private model without it 1. Less is more private.
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// The probability of more; without it 1e-9, below one over the number of rows of any table of less than a billion.
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: Option<f64>,
    /// Of independent: which noise is added to the counts of all columns, and by which bound. Without it `analytic-gaussian`, the least Gaussian
    /// noise; `laplace` has a delta of 0, and less noise for few columns; `gaussian` is for an epsilon below 1.
    #[arg(long, value_parser = MECHANISMS)]
    mechanism: Option<String>,
    /// Of private models: noise of a seed instead of the operating system's. Who knows the seed can take the noise away: for tests.
    #[arg(long, value_name = "N")]
    noise_seed: Option<u64>,
    #[command(flatten)]
    declared: declared::Args,
    /// Where the model goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: &Args) -> Result<Exit> {
    let privacy = privacy(args)?;
    let inputs = [Some(&args.table), args.declared.schema.as_ref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    files::ensure_output(&args.output, &inputs)?;
    let declaration = args.declared.declaration(&args.table)?;
    let reading = args.declared.reading(declaration.as_ref());
    let (source, rules, model) = telling(|progress| {
        progress.begin(&format!("reading {}", args.table.display()), 0);
        let source = declared::read(&args.table, &reading, declaration.as_ref())?;
        let rules = match &declaration {
            None => vec![],
            Some(of) => of.rules(&source.table)?,
        };
        if let Some(of) = &declaration {
            of.ensure_some_keep(&args.table, &rules, source.table.rows())?;
        }
        let model = learn(
            args,
            &privacy,
            &source.table,
            declaration.as_ref(),
            progress,
        )?;
        anyhow::Ok((source, rules, model))
    })?;
    let table = &source.table;
    if let Some(private) = model.private() {
        tell_privacy(&args.generator, &privacy, private, table);
    }
    tell_keys(table, declaration.as_ref());
    for doubt in doubts(&source, &reading.types) {
        crate::note!("note: {doubt}");
    }
    let rows = table.rows() as u64;
    // Of a private table nothing is told exactly that the budget did not pay for.
    let is_private = model.private().is_some();
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
    let exit = match &declaration {
        None => Exit::Fine,
        Some(declaration) => {
            tell_declared(declaration, table, &rules, &model);
            tell_kept(declaration, &model)?
        }
    };
    files::write(&args.output, &model.bytes()?)?;
    crate::say!(
        "{}: {} of {}, {}",
        args.output.display(),
        model.model.name(),
        counted(rows, "row"),
        counted(table.columns.len() as u64, "column")
    );
    Ok(exit)
}

/// How private the model is to be.
fn privacy(args: &Args) -> Result<Privacy> {
    let is_asked_for = args.epsilon.is_some() || args.mechanism.is_some();
    let mechanism = match (args.generator.as_str(), &args.mechanism) {
        ("independent", None) if is_asked_for => Some(Mechanism::AnalyticGaussian),
        (_, name) => name.as_deref().and_then(Mechanism::of_name),
    };
    let epsilon = args.epsilon.unwrap_or(1.0);
    let privacy = Privacy {
        budget: match args.delta {
            Some(delta) => Budget::new(epsilon, delta)?,
            None => Budget::usual(epsilon)?,
        },
        mechanism,
        noise: args.noise_seed.map_or(Noise::Secret, Noise::Seeded),
    };
    let is_private = args.generator == "mst" || mechanism.is_some();
    privacy
        .check(&args.generator)
        .map_err(|what| anyhow!("--mechanism: {what}"))?;
    ensure!(
        is_private || (!is_asked_for && args.delta.is_none() && args.noise_seed.is_none()),
        "--epsilon, --delta and --noise-seed are of private models: `{}` is not private{}",
        args.generator,
        if args.generator == "independent" {
            " without --epsilon or --mechanism"
        } else {
            " at all"
        }
    );
    if args.delta.is_some() {
        privacy
            .check_delta(&args.generator)
            .map_err(|what| anyhow!("--delta: {what}"))?;
    }
    Ok(privacy)
}

fn learn(
    args: &Args,
    privacy: &Privacy,
    table: &Table,
    declaration: Option<&Declaration>,
    progress: &Progress,
) -> Result<Model> {
    let learnable = declaration.map(|of| of.table.learnable(table));
    let model = fit_declared(
        &args.generator,
        learnable.as_ref().unwrap_or(table),
        declaration.map_or(&[], |of| &of.table.column),
        privacy,
        progress,
    );
    model.with_context(|| args.table.display().to_string())
}

/// What was spent, what the guarantee does not cover, and where it promises little or leaves little. What depends on the number of rows
/// is for who holds them, and in no file.
fn tell_privacy(generator: &str, privacy: &Privacy, private: &Private, table: &Table) {
    let measurements = private.ledger.len();
    crate::note!(
        "spent epsilon {} at delta {} in {measurements} measurement{}",
        if private.epsilon < 1e6 {
            format!("{:.6}", private.epsilon)
        } else {
            format!("{:.3e}", private.epsilon)
        },
        if private.delta > 0.0 {
            format!("{:.3e}", private.delta)
        } else {
            "0".into()
        },
        if measurements == 1 { "" } else { "s" }
    );
    let rows = table.rows() as u64;
    let budget = Budget {
        delta: private.delta,
        ..privacy.budget
    };
    for caveat in private.caveats.iter().chain(&budget.warnings(rows)) {
        crate::note!("warning: {caveat}");
    }
    let noise = privacy.noise_on_counts(generator, table.columns.len());
    let deviation = noise.ok().flatten().map(|noise| noise.variance().sqrt());
    if let Some(deviation) = deviation.filter(|deviation| *deviation > rows as f64) {
        crate::note!(
            "warning: the noise on each count has a standard deviation of {deviation:.0}, and the table {rows} rows: next to nothing of it is in the model; more epsilon takes less noise"
        );
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

/// What of the schema was not used, and what of the table does not keep to it.
fn tell_declared(of: &Declaration, table: &Table, rules: &[Rule], model: &ModelFile) {
    let open = of.open_columns(table);
    if !open.is_empty() {
        crate::note!(
            "note: not declared in {}, and learned as they are: `{}`",
            of.name(),
            open.join("`, `")
        );
    }
    for rule in rules {
        if let Some(first) = rule.broken.first() {
            crate::note!(
                "note: {} does not hold in {} rows of the table, the first of them row {}: they are learned as they are{}",
                rule.what,
                rule.broken.len(),
                first + 1,
                if model.model.private().is_some() {
                    ", but for what is beyond a range or no label, which counts as missing"
                } else {
                    ""
                }
            );
        }
    }
    for what in unchecked(&of.table, &BTreeMap::new()) {
        crate::note!(
            "note: not looked at whether {what}: keys are learned as they occur, and `assay synth check` looks them up"
        );
    }
    for name in of.table.unique_names() {
        crate::note!(
            "note: column `{name}` is unique: it will be a permutation of its range, and nothing of it is learned"
        );
    }
}

/// How rows keep to the schema: whether any does.
fn tell_kept(of: &Declaration, model: &ModelFile) -> Result<Exit> {
    // As many as the least unique column has room for, at least one.
    let mut tried = (0..=PROBED.ilog2()).rev().map(|power| 1 << power);
    let (maker, rows) = tried
        .find_map(|rows| Some((model.maker(rows).ok()?, rows)))
        .context("a declared table has room for a row")?;
    let (_, drawn) = maker.rows(PROBE_SEED, 0, rows as usize)?;
    let Drawn {
        rows,
        drawn_again,
        in_vain,
    } = drawn.unwrap_or_default();
    crate::note!(
        "note: of {rows} rows that were made to see, {drawn_again} broke what is declared and were drawn again, {in_vain} in vain: `sample` draws a row at most {MOST_DRAWS} times"
    );
    let is_in_vain = in_vain > 0 && in_vain == rows;
    if is_in_vain {
        crate::note!(
            "warning: none of them keeps to it, and hardly any that `sample` makes will: learn rows that keep to it, or declare less"
        );
    }
    for what in of.table.not_kept() {
        crate::note!("warning: nobody will see to it that {what}");
    }
    Ok(if is_in_vain { Exit::Found } else { Exit::Fine })
}
