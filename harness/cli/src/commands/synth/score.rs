//! `assay synth score`: synthetic rows beside the real ones that they were learned from.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use assay_suites::synthetic::quality::report::{Report, Scores, report};
use assay_suites::synthetic::table::file;

use super::{files, sheet};
use crate::errors::Exit;

/// Which rows, and what they must reach.
#[derive(Debug, clap::Args)]
pub struct Args {
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
    /// A page with the scores, and distributions side by side, in a file of its own.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
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
    let missed: Vec<String> = required
        .iter()
        .filter_map(|one| one.missed(&report))
        .collect();
    for words in &missed {
        crate::note!("{words}");
    }
    if let Some(path) = &args.html {
        let names = [&args.real, &args.synthetic].map(|path| files::name(path));
        let page = sheet::page(&names, [&real, &synthetic], &report, missed.clone())?;
        files::write(path, page.as_bytes())?;
        crate::note!("{}", path.display());
    }
    Ok(if missed.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    })
}

/// A score among several.
pub type Reading = fn(&Scores) -> f64;

/// The scores that can be required.
pub const SCORES: [(&str, Reading); 6] = [
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
    for words in notes(report) {
        crate::say!("{words}");
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

/// What was found beside scores, a sentence each.
pub fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(detection) = &report.detection {
        notes.push(format!(
            "detection: AUC {:.3} (0.5: not told apart), pMSE ratio {:.2} (1: as it should be)",
            detection.auc, detection.pmse_ratio
        ));
    }
    notes.push(match &report.closeness {
        Some(close) => format!(
            "copies: {:.2} % exact, {:.2} % duplicates; protection {:.3} against a random baseline, {:.3} against overfitting",
            100.0 * close.exact_copies,
            100.0 * close.duplicates,
            close.baseline_protection,
            close.overfit_protection
        ),
        None => "copies: nothing is said without rows held out; give them with --held-out".into(),
    });
    notes
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
