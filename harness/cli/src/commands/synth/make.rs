//! `assay synth make`: items of a recipe, what is known of each, and a card that says what they are.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::items::recipe::NAMES;
use assay_suites::synthetic::items::{Form, Items, Recipe, append_all, npy};
use assay_suites::synthetic::progress::Progress;
use assay_suites::synthetic::table::cells::CellTypes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::card::{self, CardColumn, CardColumns, Head, Privacy};
use super::files::{self, Part, Wanted};
use super::progress::telling;
use super::sink::Sink;
use crate::errors::Exit;

/// About how many bytes are made at a time.
const BATCH_BYTES: usize = 1 << 26;
/// Longest recipe and corpus that are read, in bytes.
const MAX_RECIPE: u64 = 1 << 24;
const MAX_CORPUS: u64 = 1 << 30;
/// Items that are read back and compared with their labels, at most: a large language model takes long for each.
const CHECKED: u64 = 8;

/// What is made.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `spectra`, `series` and `pictures` are arrays (.npy) with labels; `grammar`, `markov`, `instructions` and `language` are lines.
    #[arg(value_parser = NAMES)]
    generator: String,
    /// How many there are, over all shards.
    #[arg(long, value_name = "N")]
    items: u64,
    /// Which ones: the same seed gives the same, on any machine, in any parts.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Only part K of N, from 1 on.
    #[arg(long, value_name = "K/N", value_parser = files::shard)]
    shard: Option<Part>,
    /// Parameters as a JSON object; a grammar, for example.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// One parameter, such as `points=2048`; goes before the recipe's.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Of markov: the texts to learn, one in each line; without them, texts of the built-in grammar.
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Where they go: .npy for arrays; .jsonl, .csv, .parquet or, of single texts, .txt for lines.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Of arrays: where labels go, a row for each item: .csv, .jsonl or .parquet.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// What a file of items is: its data card.
#[derive(Debug, Serialize)]
struct Card<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    items: u64,
    first_item: u64,
    all_items: u64,
    /// SHA-256 of what a chain learned.
    corpus: Option<Digest>,
    facts: std::collections::BTreeMap<String, String>,
    labels: Option<Labels>,
    quality: Quality,
}

/// That items are what they should be. None was found that is not: it would have been an error.
#[derive(Debug, Serialize)]
struct Quality {
    /// Items that were read back and agree with their labels or fields.
    checked_items: u64,
}

#[derive(Debug, Serialize)]
struct Labels {
    file: String,
    digest: Digest,
    columns: Vec<CardColumn>,
}

pub fn run(args: &Args) -> Result<Exit> {
    ensure!(
        (1..1 << 44).contains(&args.items),
        "--items: expected 1 to 2^44 - 1, which is as many as a seed has"
    );
    let recipe = Recipe::of(&args.generator, parameters(args)?).map_err(|what| anyhow!(what))?;
    ensure!(
        args.corpus.is_none() || matches!(recipe, Recipe::Markov(_)),
        "--corpus is of markov: `{}` learns nothing",
        args.generator
    );
    ensure_outputs(args)?;
    let corpus = args.corpus.as_deref().map(corpus).transpose()?;
    // Some learn first, and some take long for each item.
    let maker = telling(|progress| {
        progress.begin(&format!("making the generator `{}`", args.generator), 0);
        recipe.build(corpus.as_deref())
    })
    .map_err(|what| anyhow!(what))?;
    let items = args.shard.unwrap_or(Part::WHOLE).of(args.items);
    // Whatever is wrong with a name is said before the first item is made.
    let target = target(&args.output, &maker.form())?;
    let labels = begin_labels(args, &*maker, &items)?;
    ensure_size(args, &*maker, &items)?;
    let quality = telling(|progress| checked(args.seed, &*maker, items.clone(), progress))?;
    let digest = write_items(args, &target, &*maker, items.clone())?;
    let labels = labels.map(|(path, sink)| write_labels(args, path, sink, &*maker, items.clone()));
    let card = Card {
        head: Head::new(
            &args.output,
            digest,
            args.seed,
            recipe.name(),
            recipe.parameters(),
            privacy(&recipe, corpus.is_some()),
        ),
        items: items.end - items.start,
        first_item: items.start,
        all_items: args.items,
        corpus: corpus.as_ref().map(Digest::of),
        facts: maker.facts().into_iter().collect(),
        labels: labels.transpose()?,
        quality,
    };
    card::write(&args.output, &card)?;
    crate::say!("{}: {} items, {digest}", args.output.display(), card.items);
    for (name, value) in &card.facts {
        crate::say!("{name}: {value}");
    }
    if matches!(maker.form(), Form::Array { .. }) && args.labels.is_none() {
        crate::note!(
            "note: the labels, what is known of each item, are not written: --labels FILE says where to"
        );
    }
    Ok(Exit::Fine)
}

/// What is promised to those who wrote what was learned.
fn privacy(recipe: &Recipe, is_of_corpus: bool) -> Privacy<'static> {
    match recipe {
        Recipe::Markov(_) if is_of_corpus => card::LEARNED_TEXTS,
        Recipe::Language(language) if language.checkpoint.is_some() => card::LEARNED_CHECKPOINT,
        _ => card::LEARNED_NOTHING,
    }
}

/// That outputs have a place, and take that of nothing that is read.
fn ensure_outputs(args: &Args) -> Result<()> {
    let inputs = args.recipe.iter().chain(&args.corpus);
    let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
    files::ensure_output(&args.output, &inputs)?;
    args.labels
        .as_deref()
        .map_or(Ok(()), |labels| files::ensure_output(labels, &inputs))
}

/// The parameters of the recipe's file, and those that are set.
fn parameters(args: &Args) -> Result<Map<String, Value>> {
    let mut parameters = match &args.recipe {
        None => Map::new(),
        Some(path) => {
            let bytes = read(path, MAX_RECIPE)?;
            serde_json::from_slice(&bytes).with_context(|| {
                format!("{}: expected a JSON object of parameters", path.display())
            })?
        }
    };
    for text in &args.set {
        let (key, value) = text
            .split_once('=')
            .with_context(|| format!("--set {text}: expected KEY=VALUE"))?;
        // What is no JSON is a text: nobody wants to quote it twice.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        parameters.insert(key.into(), value);
    }
    Ok(parameters)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let in_path = || path.display().to_string();
    let size = std::fs::metadata(path).with_context(in_path)?.len();
    ensure!(size <= most, "{}: longer than {most} bytes", path.display());
    std::fs::read(path).with_context(in_path)
}

fn corpus(path: &Path) -> Result<String> {
    String::from_utf8(read(path, MAX_CORPUS)?).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..place]
            .split(|byte| *byte == b'\n')
            .count();
        anyhow!(
            "{}: line {line}: no UTF-8; convert the file first",
            path.display()
        )
    })
}

/// Where items go, by the ending of the file's name.
enum Target {
    /// Their own bytes.
    Bytes,
    /// Rows of a table.
    Table,
}

fn target(path: &Path, form: &Form) -> Result<Target> {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    match (form, ending) {
        (Form::Array { .. }, "npy")
        | (Form::Line { is_json: true }, "jsonl")
        | (Form::Line { is_json: false }, "txt") => Ok(Target::Bytes),
        (Form::Line { .. }, "jsonl" | "csv" | "parquet") => Ok(Target::Table),
        (Form::Array { .. }, _) => bail!(
            "{}: expected a name that ends with .npy; what is known of arrays goes to --labels",
            path.display()
        ),
        (Form::Line { is_json: true }, _) => bail!(
            "{}: expected a name that ends with .jsonl, .csv or .parquet",
            path.display()
        ),
        (Form::Line { is_json: false }, _) => bail!(
            "{}: expected a name that ends with .txt, .jsonl, .csv or .parquet",
            path.display()
        ),
    }
}

fn write_items(
    args: &Args,
    target: &Target,
    maker: &dyn Items,
    items: Range<u64>,
) -> Result<Digest> {
    let form = maker.form();
    match target {
        Target::Table => {
            let like = maker.table(args.seed, items.start, 1);
            let count = items.end - items.start;
            let sink = Sink::create(&args.output, &like, &CellTypes::new(), count)?;
            Ok(write_table(sink, args.seed, maker, items, batch(&form))?.0)
        }
        Target::Bytes => {
            let mut sink = Sink::of_bytes(&args.output, items.end - items.start)?;
            sink.append_bytes(
                &npy::header(&form, items.end - items.start).unwrap_or_default(),
                0,
            )?;
            let mut bytes = Vec::new();
            for (at, count) in batches(items, batch(&form)) {
                bytes.clear();
                append_all(maker, args.seed, at, count, &mut bytes);
                sink.append_bytes(&bytes, count)?;
            }
            sink.finish()
        }
    }
}

/// That items have room: of arrays, with their labels, how much they take is known before the first is made, and of lines behind the
/// first ones.
fn ensure_size(args: &Args, maker: &dyn Items, items: &Range<u64>) -> Result<()> {
    let (form, count) = (maker.form(), items.end - items.start);
    let Some(header) = npy::header(&form, count) else {
        return Ok(());
    };
    let bytes = count.checked_mul(form.bytes() as u64);
    let bytes = bytes.and_then(|bytes| bytes.checked_add(header.len() as u64));
    let bytes = bytes.with_context(|| {
        format!(
            "{}: {count} items of {} bytes are more than a file can hold; make parts of it with --shard",
            args.output.display(),
            form.bytes()
        )
    })?;
    let arrays = Wanted::new(&args.output, bytes, format!("{count} items take"));
    let labels = args.labels.as_ref().map(|path| {
        let some = maker.table(args.seed, items.start, count.min(files::SOME) as usize);
        let what = format!("the labels of {count} items take about");
        Wanted::like(path.clone(), &some, count, what)
    });
    let wanted: Vec<Wanted> = [Some(Ok(arrays)), labels]
        .into_iter()
        .flatten()
        .collect::<Result<_>>()?;
    files::ensure_room_for_all(&wanted)
}

/// Checks some items, from all over.
fn checked(
    seed: u64,
    maker: &dyn Items,
    items: Range<u64>,
    progress: &Progress,
) -> Result<Quality> {
    let count = items.end - items.start;
    let checked_items = count.min(CHECKED);
    progress.begin("items that are checked", checked_items as usize);
    for place in 0..checked_items {
        let item = items.start + place * (count / checked_items);
        let mut bytes = Vec::new();
        maker.append(seed, item, &mut bytes);
        maker
            .check(seed, item, &bytes)
            .map_err(|what| anyhow!("item {item} is not what it should be: {what}"))?;
        progress.step();
    }
    Ok(Quality { checked_items })
}

/// Where labels go, if anywhere: a file that is begun.
fn begin_labels<'a>(
    args: &'a Args,
    maker: &dyn Items,
    items: &Range<u64>,
) -> Result<Option<(&'a Path, Sink)>> {
    let Some(path) = args.labels.as_deref() else {
        return Ok(None);
    };
    ensure!(
        matches!(maker.form(), Form::Array { .. }),
        "--labels is of arrays: lines have no others"
    );
    let like = maker.table(args.seed, items.start, 1);
    let sink = Sink::create(path, &like, &CellTypes::new(), items.end - items.start)?;
    Ok(Some((path, sink)))
}

fn write_labels(
    args: &Args,
    path: &Path,
    sink: Sink,
    maker: &dyn Items,
    items: Range<u64>,
) -> Result<Labels> {
    let (digest, columns) = write_table(sink, args.seed, maker, items, 1 << 14)?;
    Ok(Labels {
        file: files::name(path),
        digest,
        columns,
    })
}

fn write_table(
    mut sink: Sink,
    seed: u64,
    maker: &dyn Items,
    items: Range<u64>,
    batch: u64,
) -> Result<(Digest, Vec<CardColumn>)> {
    let mut columns = CardColumns::default();
    for (at, count) in batches(items, batch) {
        let rows = maker.table(seed, at, count as usize);
        sink.append(&rows)?;
        columns.see(&rows);
    }
    Ok((sink.finish()?, columns.finish()))
}

/// How many items are made at a time.
fn batch(form: &Form) -> u64 {
    (BATCH_BYTES / form.bytes()).max(1) as u64
}

/// Where each batch begins, and how many it has.
fn batches(items: Range<u64>, batch: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = items.end;
    items
        .step_by(batch as usize)
        .map(move |at| (at, batch.min(end - at)))
}
