//! `assay synth`: learn a table, make rows like it, and score them; on its own, with anybody's table.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::generators::{MODEL_SCHEMA, Model};
use assay_suites::synthetic::privacy::Budget;
use assay_suites::synthetic::privacy::accountant::Entry;
use assay_suites::synthetic::quality::report::{Report, Scores, report};
use assay_suites::synthetic::table::file::{self, Sink};
use assay_suites::synthetic::workload::{GENERATORS, Noise, fit};
use serde::{Deserialize, Serialize};

use crate::errors::Exit;

/// Rows that are made at a time.
const BATCH: u64 = 1 << 16;
/// Longest model that is read, in bytes.
const MAX_MODEL: u64 = 1 << 30;

/// What to do with a table.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Learn a table (.csv, .jsonl, .parquet) and write the model.
    Fit(Fit),
    /// Make rows of a model, and a card that says what they are.
    Sample(Sample),
    /// Compare synthetic rows with real ones.
    Score(Score),
}

#[derive(Debug, clap::Args)]
struct Fit {
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

#[derive(Debug, clap::Args)]
struct Sample {
    /// The model.
    model: PathBuf,
    /// How many rows there are, over all shards.
    #[arg(long, value_name = "N")]
    rows: u64,
    /// Which rows: the same seed gives the same ones, on any machine, in any parts.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Only part K of N, from 1 on; all parts one behind the other are the whole.
    #[arg(long, value_name = "K/N", value_parser = shard)]
    shard: Option<(u64, u64)>,
    /// Where the rows go: .csv, .jsonl or .parquet. The card goes beside them.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Score {
    /// The real rows that were learned from.
    real: PathBuf,
    /// The synthetic ones.
    synthetic: PathBuf,
    /// Real rows that were not learned from: for what is given away, and for utility.
    #[arg(long, value_name = "FILE")]
    held_out: Option<PathBuf>,
    /// What must be reached, such as `quality=0.9`, or at most, such as `three_way<0.1`; otherwise the exit code is 1.
    #[arg(long, value_name = "SCORE=VALUE")]
    require: Vec<String>,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

/// A model as it lies on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    schema: u32,
    learned: Learned,
    model: Model,
}

/// What a model was learned from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Learned {
    /// The file's name.
    table: String,
    /// Of its rows as CSV.
    digest: Digest,
    rows: u64,
}

/// What a file of synthetic rows is: its data card.
#[derive(Debug, Serialize)]
struct Card<'a> {
    schema: u32,
    file: String,
    digest: Digest,
    rows: u64,
    first_row: u64,
    all_rows: u64,
    seed: u64,
    generator: &'static str,
    model: Digest,
    learned: &'a Learned,
    columns: Vec<CardColumn>,
    privacy: Option<Privacy<'a>>,
}

#[derive(Debug, Serialize)]
struct CardColumn {
    name: String,
    holds: &'static str,
}

#[derive(Debug, Serialize)]
struct Privacy<'a> {
    epsilon: f64,
    delta: f64,
    ledger: &'a [Entry],
    caveats: &'a [String],
}

pub fn run(args: &Args) -> Result<Exit> {
    match &args.command {
        Command::Fit(args) => learn(args),
        Command::Sample(args) => sample(args),
        Command::Score(args) => score(args),
    }
}

fn learn(args: &Fit) -> Result<Exit> {
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
        table: args
            .table
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        digest: table.digest(),
        rows,
    };
    let model = ModelFile {
        schema: MODEL_SCHEMA,
        learned,
        model,
    };
    write(&args.output, &serde_json::to_vec(&model)?)?;
    crate::say!(
        "{}: {} of {rows} rows, {} columns",
        args.output.display(),
        model.model.name(),
        table.columns.len()
    );
    Ok(Exit::Fine)
}

fn sample(args: &Sample) -> Result<Exit> {
    ensure!(args.rows > 0, "--rows: expected at least 1");
    ensure!(
        args.rows < 1 << 44,
        "--rows: expected fewer than 2^44, which is as many as a seed has"
    );
    let bytes = read(&args.model)?;
    let file: ModelFile = model_of(&args.model, &bytes)?;
    let (part, parts) = args.shard.unwrap_or((1, 1));
    let bound = |part: u64| (u128::from(args.rows) * u128::from(part) / u128::from(parts)) as u64;
    let (first, end) = (bound(part - 1), bound(part));
    let mut sink = Sink::create(&args.output, &file.model.rows(args.seed, first, 1))?;
    let mut at = first;
    let mut columns = Vec::new();
    while at < end {
        let rows = (end - at).min(BATCH);
        let table = file.model.rows(args.seed, at, rows as usize);
        if columns.is_empty() {
            columns = table
                .columns
                .iter()
                .map(|c| CardColumn {
                    name: c.name.clone(),
                    holds: c.values.kind(),
                })
                .collect();
        }
        sink.append(&table)?;
        at += rows;
    }
    let digest = sink.finish()?;
    let privacy = match &file.model {
        Model::Mst(mst) => Some(Privacy {
            epsilon: mst.epsilon,
            delta: mst.delta,
            ledger: &mst.ledger,
            caveats: &mst.caveats,
        }),
        _ => None,
    };
    let card = Card {
        schema: 1,
        file: args
            .output
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        digest,
        rows: end - first,
        first_row: first,
        all_rows: args.rows,
        seed: args.seed,
        generator: file.model.name(),
        model: Digest::of(&bytes),
        learned: &file.learned,
        columns,
        privacy,
    };
    let beside = args.output.with_extension("card.json");
    write(&beside, &serde_json::to_vec_pretty(&card)?)?;
    crate::say!("{}: {} rows, {digest}", args.output.display(), end - first);
    Ok(Exit::Fine)
}

fn score(args: &Score) -> Result<Exit> {
    /// Draws of scores are the same each time.
    const SEED: u64 = 1;
    let required = args
        .require
        .iter()
        .map(|text| Requirement::parse(text))
        .collect::<Result<Vec<_>>>()?;
    let (real, synthetic) = (file::read(&args.real)?, file::read(&args.synthetic)?);
    let held_out = args.held_out.as_deref().map(file::read).transpose()?;
    let report = report(&real, held_out.as_ref(), &synthetic, SEED)?;
    if args.json {
        crate::say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report);
    }
    let mut exit = Exit::Fine;
    for requirement in &required {
        if let Some(missed) = requirement.missed(&report) {
            crate::note!("{missed}");
            exit = Exit::Found;
        }
    }
    Ok(exit)
}

/// A score among several.
type Reading = fn(&Scores) -> f64;

/// The scores that can be required.
const SCORES: [(&str, Reading); 6] = [
    ("quality", |scores| scores.quality),
    ("shapes", |scores| scores.shapes),
    ("trends", |scores| scores.trends),
    ("coverage", |scores| scores.coverage),
    ("two_way", |scores| scores.two_way),
    ("three_way", |scores| scores.three_way),
];

fn show(report: &Report) {
    crate::say!(
        "{:<12} {:>9} {:>10} {:>12}",
        "",
        "synthetic",
        "bootstrap",
        "independent"
    );
    for (name, value) in SCORES {
        let [a, b, c] = [&report.scores, &report.bootstrap, &report.independent].map(value);
        crate::say!("{name:<12} {a:>9.4} {b:>10.4} {c:>12.4}");
    }
    crate::say!("two_way and three_way are errors, 0 being best; of the others 1 is best");
    if let Some(detection) = &report.detection {
        crate::say!(
            "detection: AUC {:.3} (0.5: not told apart), pMSE ratio {:.2} (1: as it should be)",
            detection.auc,
            detection.pmse_ratio
        );
    }
    if let Some(close) = &report.closeness {
        crate::say!(
            "copies: {:.2} % exact, {:.2} % duplicates; protection {:.3} against a random baseline, {:.3} against overfitting",
            100.0 * close.exact_copies,
            100.0 * close.duplicates,
            close.baseline_protection,
            close.overfit_protection
        );
    } else {
        crate::say!("copies: nothing is said without rows held out; give them with --held-out");
    }
    for column in &report.columns {
        if let Some(shape) = column.shape {
            crate::say!("column {:<24} shape {shape:.4}", column.name);
        }
    }
    let mut worst: Vec<_> = report.pairs.iter().collect();
    worst.sort_by(|a, b| a.trend.total_cmp(&b.trend));
    for pair in worst.into_iter().take(5) {
        crate::say!(
            "pair {} and {}: trend {:.4}",
            pair.columns[0],
            pair.columns[1],
            pair.trend
        );
    }
}

/// What a score must reach.
struct Requirement {
    name: &'static str,
    value: Reading,
    at_least: bool,
    bound: f64,
}

impl Requirement {
    fn parse(text: &str) -> Result<Self> {
        let Some((place, sign)) = text.char_indices().find(|(_, c)| matches!(c, '=' | '<')) else {
            bail!(
                "--require {text}: expected SCORE=VALUE for at least, or SCORE<VALUE for at most"
            );
        };
        let (name, bound) = (&text[..place], &text[place + 1..]);
        let known = SCORES.iter().find(|(known, _)| *known == name);
        let (name, value) = known.with_context(|| {
            let names: Vec<_> = SCORES.iter().map(|(name, _)| *name).collect();
            format!(
                "--require {text}: no score is called `{name}`: there are {}",
                names.join(", ")
            )
        })?;
        let bound: f64 = bound
            .parse()
            .with_context(|| format!("--require {text}: `{bound}` is no number"))?;
        Ok(Self {
            name,
            value: *value,
            at_least: sign == '=',
            bound,
        })
    }

    /// In words, if it is not met; a score that is not there meets nothing.
    fn missed(&self, report: &Report) -> Option<String> {
        let found = (self.value)(&report.scores);
        let is_met = if self.at_least {
            found >= self.bound
        } else {
            found <= self.bound
        };
        let word = if self.at_least { "at least" } else { "at most" };
        (!is_met).then(|| format!("{}: {found:.4}, required {word} {}", self.name, self.bound))
    }
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("`{text}`: expected K/N with K from 1 to N, such as 2/8");
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let (part, parts) = (
        part.parse().map_err(|_| wrong())?,
        parts.parse().map_err(|_| wrong())?,
    );
    if part == 0 || part > parts {
        Err(wrong())
    } else {
        Ok((part, parts))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    ensure!(
        size <= MAX_MODEL,
        "{}: longer than a model can be",
        path.display()
    );
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// A model of this version, or words.
fn model_of(path: &Path, bytes: &[u8]) -> Result<ModelFile> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let in_path = || format!("{}: no model; `assay synth fit` writes one", path.display());
    let version: Version = serde_json::from_slice(bytes).with_context(in_path)?;
    ensure!(
        version.schema <= MODEL_SCHEMA,
        "{}: a model of schema {}, and this assay reads up to {MODEL_SCHEMA}; use a newer assay",
        path.display(),
        version.schema
    );
    serde_json::from_slice(bytes).with_context(in_path)
}

/// Writes a file that is there whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let in_path = || path.display().to_string();
    let file = tempfile::NamedTempFile::new_in(folder).with_context(in_path)?;
    std::fs::write(file.path(), bytes).with_context(in_path)?;
    file.persist(path).with_context(in_path)?;
    Ok(())
}
