//! `assay synth score`: synthetic rows beside the real ones that they were learned from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use assay_protocol::DeviceSelector;
use assay_suites::synthetic::declared::unchecked;
use assay_suites::synthetic::quality::closeness::distances_on;
use assay_suites::synthetic::quality::constraints::{Constraints, Declared};
use assay_suites::synthetic::quality::detection::{self, Detection};
use assay_suites::synthetic::quality::figures::{CONSTRAINTS, FIGURES, Quality, card_scores};
use assay_suites::synthetic::quality::report::{Report, report_on};
use assay_suites::synthetic::quality::requirement::Requirement;
use assay_suites::synthetic::quality::utility;
use assay_suites::synthetic::table::{Table, census};

use super::declared::{self, Declaration};
use super::tables::{self, OfSchema};
use super::{card, files, sheet};
use crate::errors::{CouldNotRun, Exit};

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
    #[command(flatten)]
    declared: declared::Args,
    /// Another table of the schema, in a file of its name, that keys of the synthetic rows are looked up in.
    #[arg(long, value_name = "FILE", requires = "schema")]
    with: Vec<PathBuf>,
    /// What must be reached: `quality=0.9` (at least), `exact_copies<=0.001` (at most) or `auc<0.6` (below), of any score that is shown;
    /// otherwise the exit code is 1.
    #[arg(long, value_name = "SCORE=VALUE")]
    require: Vec<String>,
    /// A page with the scores, and distributions side by side, in a file of its own.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What takes the distances to the closest record: `cpu`, of 5,000 rows of each table drawn at random, or a CUDA device (`cuda`,
    /// `cuda:1`), of 100,000.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: DeviceSelector,
    /// Put the scores on the data card beside the synthetic rows.
    #[arg(long)]
    card: bool,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    /// Draws of scores are the same each time.
    const SEED: u64 = 1;
    let required = required(args)?;
    ensure_page(args)?;
    ensure_device(&args.device)?;
    let declaration = args.declared.declaration(&args.real)?;
    let declaration = declaration.as_ref();
    let reading = args.declared.reading(declaration);
    let table = |path: &Path| {
        let source = declared::read(path, &reading, declaration)?;
        declared::tell_left_out(path, &source);
        anyhow::Ok(source.table)
    };
    let (real, synthetic) = (table(&args.real)?, table(&args.synthetic)?);
    let held_out = args.held_out.as_deref().map(table).transpose()?;
    let others = others(args, declaration)?;
    ensure_looked_up(&required, declaration, &others)?;
    let card = args.card.then(|| card::of_file(&args.synthetic));
    let card = card.transpose()?;
    let declared = declaration.map(|of| Declared {
        table: &of.table,
        others: &others,
    });
    let report = report_on(
        &args.device,
        &real,
        held_out.as_ref(),
        &synthetic,
        declared,
        SEED,
    )
    .with_context(|| {
        let held_out = args.held_out.as_deref();
        let held_out = held_out.map_or(String::new(), |path| {
            format!(", {} held out", path.display())
        });
        format!(
            "{} beside {}{held_out}",
            args.synthetic.display(),
            args.real.display()
        )
    })?;
    if let Some(card) = card {
        card.add_quality(&Quality {
            real: files::name(&args.real),
            real_rows: real.rows(),
            held_out_rows: held_out.as_ref().map(Table::rows),
            scores: card_scores(&report),
        })?;
    }
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

/// What must be reached, and can be told of what is given.
fn required(args: &Args) -> Result<Vec<Requirement>> {
    let of_text = |text: &String| {
        let one = Requirement::parse(text).map_err(|what| anyhow!("--require {what}"))?;
        let name = one.figure().name;
        ensure!(
            !one.needs_held_out() || args.held_out.is_some(),
            "--require {text}: `{name}` needs real rows that were not learned from; give them with --held-out"
        );
        ensure!(
            !one.needs_schema() || args.declared.schema.is_some(),
            "--require {text}: `{name}` needs to know what rows are to keep to; give it with --schema"
        );
        Ok(one)
    };
    args.require.iter().map(of_text).collect()
}

/// Other tables of the schema, by their names.
fn others(args: &Args, declaration: Option<&Declaration>) -> Result<BTreeMap<String, Table>> {
    let mut others = BTreeMap::new();
    let Some(declaration) = declaration else {
        return Ok(others);
    };
    for path in &args.with {
        let name = files::name(&path.with_extension(""));
        let of = OfSchema {
            schema: &declaration.schema,
            path: &declaration.path,
            name: Some(&name),
        };
        let (name, table) = tables::read_one(&of, path, args.declared.delimiter)?;
        others.insert(name, table);
    }
    Ok(others)
}

/// That what constraints must reach is not reached for want of tables that keys are of.
fn ensure_looked_up(
    required: &[Requirement],
    declaration: Option<&Declaration>,
    others: &BTreeMap<String, Table>,
) -> Result<()> {
    let open = declaration.map_or_else(Vec::new, |of| unchecked(&of.table, others));
    ensure!(
        open.is_empty() || !required.iter().any(Requirement::needs_schema),
        "--require {}: it cannot be told whether {} holds: give the other table with --with",
        CONSTRAINTS,
        open.join(", and whether ")
    );
    Ok(())
}

/// That the page has a place, and takes that of no table.
fn ensure_page(args: &Args) -> Result<()> {
    let Some(page) = &args.html else {
        return Ok(());
    };
    let mut inputs: Vec<&Path> = vec![&args.real, &args.synthetic];
    inputs.extend(args.held_out.as_deref());
    inputs.extend(args.declared.schema.as_deref());
    inputs.extend(args.with.iter().map(PathBuf::as_path));
    files::ensure_output(page, &inputs)
}

/// That a device takes distances at all: it is tried with two rows, before any table is read.
fn ensure_device(device: &DeviceSelector) -> Result<()> {
    let rows = census::rows(1, 0, 2);
    distances_on(device, &rows, &rows)
        .map_err(|failure| CouldNotRun(format!("--device {device}: {failure}")))?;
    Ok(())
}

fn show(report: &Report) {
    let line = |name: &str, [a, b, c]: [&str; 3]| {
        crate::say!("{name:<20} {a:>9} {b:>10} {c:>12}");
    };
    line("", ["synthetic", "bootstrap", "independent"]);
    for figure in &FIGURES {
        let words = figure.words(report);
        line(figure.name, words.each_ref().map(String::as_str));
    }
    crate::say!(
        "two_way and three_way are errors, 0 being best, as of copies, duplicates and constraints; auc is best at 0.5, pmse_ratio at 1; of the others 1 is best"
    );
    for words in notes(report) {
        crate::say!("{words}");
    }
    for rule in report.constraints.iter().flat_map(|all| &all.rules) {
        let [synthetic, bootstrap, independent] = rule.broken;
        if let Some(first) = rule.first_row {
            crate::say!(
                "constraint {}: broken by {synthetic:.4} of the rows, the first of them row {first}; by {bootstrap:.4} of a bootstrap, {independent:.4} of independent columns",
                rule.what
            );
        }
    }
    for one in &report.utility {
        let kept = one.kept().map_or_else(
            || "nothing to learn".into(),
            |[kept, ..]| format!("{kept:.4} kept"),
        );
        crate::say!(
            "utility {:<23} {kept}: AUC {:.4}, of real rows {:.4}, of a bootstrap {:.4}, of independent columns {:.4}, for {}",
            one.target,
            one.synthetic,
            one.real,
            one.bootstrap,
            one.independent,
            one.question
        );
    }
    for column in &report.columns {
        if column.shape.is_some() || column.coverage.is_some() {
            crate::say!(
                "column {:<24} shape {}; coverage {}",
                column.name,
                beside(column.shape, column.shape_floors),
                beside(column.coverage, column.coverage_floors)
            );
        }
    }
    let mut worst: Vec<_> = report.pairs.iter().collect();
    worst.sort_by(|a, b| a.trend.total_cmp(&b.trend));
    for pair in worst.into_iter().take(5) {
        crate::say!(
            "pair {} and {}: trend {}",
            pair.columns[0],
            pair.columns[1],
            beside(Some(pair.trend), pair.trend_floors)
        );
    }
}

/// A score and its floors.
fn beside(value: Option<f64>, [again, apart]: [Option<f64>; 2]) -> String {
    let [value, again, apart] = [value, again, apart]
        .map(|score| score.map_or_else(|| "none".into(), |score| format!("{score:.4}")));
    format!("{value}, of a bootstrap {again}, of independent columns {apart}")
}

/// What floors do not say.
const FLOORS: &str = "floors that say nothing by themselves: a bootstrap has real rows and nothing else, so its exact_copies are 1, its \
     baseline_protection is the least that there is, and its duplicates are those of drawing rows again; independent columns have each column's own \
     distribution, so beside a column both floors say what chance makes of it, and only beside pairs what a generator scores that learned no dependency";

/// What was found beside scores, a sentence each.
pub fn notes(report: &Report) -> Vec<String> {
    let copies = &report.copies;
    let [_, apart] = &report.copies_floors;
    let mut notes: Vec<String> = ignored(report).collect();
    notes.push(FLOORS.into());
    notes.push(format!(
        "copies: {} of the synthetic rows are a row of the real table, {} occurred before among themselves; of independent columns {} and {}; all rows were compared",
        copies.copied_rows, copies.repeated_rows, apart.copied_rows, apart.repeated_rows
    ));
    notes.extend(
        report
            .detection
            .and_then(|found| upside_down(&found, report)),
    );
    if let Some(close) = &report.closeness {
        let others = close
            .held_out_rows
            .map_or(String::new(), |rows| format!(" and {rows} held out"));
        let [again, apart] = report.closeness_floors.map(|floor| {
            floor.map_or_else(|| "none".into(), |floor| format!("{:.4}", floor.distance))
        });
        notes.push(format!(
            "closeness: median distance {:.4} to the closest real row, {again} of a bootstrap, whose rows are real ones, {apart} of independent columns, {:.4} of uniform values; {} synthetic rows drawn at random beside {} real ones{others}",
            close.distance, close.random_distance, close.synthetic_rows, close.real_rows
        ));
    }
    if report
        .closeness
        .is_none_or(|close| close.held_out_rows.is_none())
    {
        notes.push(
            "without rows held out nothing is said of overfitting, and utility is tested on rows that were learned from; give them with --held-out"
                .into(),
        );
    }
    match &report.constraints {
        None => notes
            .push("without a schema nothing is said of constraints; give it with --schema".into()),
        Some(constraints) => notes.extend(of_constraints(constraints)),
    }
    notes
}

/// What a detection that is worse than guessing says.
fn upside_down(found: &Detection, report: &Report) -> Option<String> {
    found.is_upside_down().then(|| {
        format!(
            "auc of {:.4} is below 0.5 by more than chance, which is no good sign: so it is where rows repeat real ones, or nearly, for a row that is held out has its twin in the other table; {:.4} of them are exact copies",
            found.auc, report.copies.exact_copies
        )
    })
}

/// What was not scored.
fn ignored(report: &Report) -> impl Iterator<Item = String> {
    let extra = &report.extra_columns;
    let extra = (!extra.is_empty()).then(|| {
        format!(
            "columns that the real table has not are not scored: `{}`",
            extra.join("`, `")
        )
    });
    let keys = report.key_columns.iter().map(|of| {
        format!(
            "`{}` ({} of its synthetic keys are real ones)",
            of.column, of.copied
        )
    });
    let keys: Vec<String> = keys.collect();
    let keys = (!keys.is_empty()).then(|| {
        format!(
            "columns of keys have no part in any score but constraints, and rows that differ by nothing else are taken for the same: {}",
            keys.join(", ")
        )
    });
    let recast = &report.recast_columns;
    let recast = (!recast.is_empty()).then(|| {
        format!(
            "columns of numbers in one table and texts in the other are compared as what the real one holds: `{}`",
            recast.join("`, `")
        )
    });
    let drawn = report.learned_columns.map(|[drawn, all]| {
        format!(
            "detection and utility see {drawn} of the {all} columns, drawn at random under a fixed seed; the others have no part in them"
        )
    });
    let targets = report.utility_targets.map(|[drawn, all]| {
        format!("utility is of {drawn} of {all} columns, drawn at random under a fixed seed")
    });
    let detection = report.detection.is_none().then(|| {
        format!(
            "auc and pmse_ratio are none: they take at least {} rows of each table, and a column that varies",
            detection::LEAST_ROWS
        )
    });
    let utility = report.utility_kept.is_none().then(|| {
        format!(
            "utility is none: it takes at least {} rows of each table, and a column that others foretell",
            utility::LEAST_ROWS
        )
    });
    let is_close = report.closeness.and_then(|close| close.baseline_protection);
    let baseline = is_close.is_none().then(|| {
        "baseline_protection is none: rows of uniform values are no farther from real ones either, or no column but keys is there"
            .to_owned()
    });
    let all = [
        extra, keys, recast, drawn, targets, detection, utility, baseline,
    ];
    all.into_iter().flatten()
}

/// How many rules were looked at, and which were not.
fn of_constraints(constraints: &Constraints) -> impl Iterator<Item = String> {
    let rules = &constraints.rules;
    let kept = rules.iter().filter(|rule| rule.first_row.is_none()).count();
    let found = format!(
        "constraints: {kept} of the {} that are declared hold in every synthetic row; all rows were looked at{}",
        rules.len() + constraints.unchecked.len(),
        match constraints.unchecked.len() {
            0 => String::new(),
            count => format!(", but for {count} of what is declared"),
        }
    );
    let unchecked = &constraints.unchecked;
    let lost = (!unchecked.is_empty()).then(|| {
        format!(
            "not looked at, for the other table was not given with --with: {}",
            unchecked.join(", ")
        )
    });
    [found].into_iter().chain(lost)
}
