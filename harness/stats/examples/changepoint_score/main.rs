//! Scores [`change_points`] on a folder of labelled series, e.g. the Turing Change Point Dataset, and counts its false alarms
//! on made-up noise. Nothing is tuned per series: there is nothing to tune.
//!
//! `cargo run --release -p assay-stats --example changepoint_score -- [--json] DIR`; exit code 2 for input that it cannot use.

#[path = "../../tests/noise/mod.rs"]
mod noise;
mod score;
mod series;

use std::path::PathBuf;
use std::process::ExitCode;

use assay_stats::{ChangePoint, change_points};
use noise::Noise;
use score::{Score, mean, score};
use serde_json::json;
use series::{Series, read_folder};

/// A group of series: its name, and what belongs to it.
type Kind = (&'static str, fn(&Judged) -> bool);

/// A kind of noise: its name, and a series of so many points of it.
type Maker = (&'static str, fn(&mut Noise, usize) -> Vec<f64>);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("changepoint_score: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (folder, as_json) = arguments()?;
    let judged = read_folder(&folder)?
        .into_iter()
        .map(Judged::of)
        .collect::<Result<Vec<_>, _>>()?;
    if as_json {
        println!("{}", object(&judged));
    } else {
        print_scores(&judged);
        print_noise();
    }
    Ok(())
}

/// The folder, and whether JSON is wanted.
fn arguments() -> Result<(PathBuf, bool), String> {
    let (flags, folders): (Vec<_>, Vec<_>) = std::env::args_os()
        .skip(1)
        .partition(|argument| argument.to_string_lossy().starts_with("--"));
    let as_json = !flags.is_empty();
    if let Some(flag) = flags.iter().find(|flag| *flag != "--json") {
        return Err(format!(
            "unknown flag {}; usage: changepoint_score [--json] DIR",
            flag.display()
        ));
    }
    match folders.as_slice() {
        [folder] => Ok((PathBuf::from(folder), as_json)),
        _ => Err("usage: changepoint_score [--json] DIR".to_owned()),
    }
}

/// A series with what was found in it.
struct Judged {
    series: Series,
    found: Vec<ChangePoint>,
    score: Option<Score>,
    silence: Option<Score>,
}

impl Judged {
    fn of(series: Series) -> Result<Self, String> {
        let found = change_points(&series.values)
            .ok_or_else(|| format!("{}: `values` cannot be judged", series.name))?;
        let indices: Vec<usize> = found.iter().map(|change| change.index).collect();
        let count = series.values.len();
        Ok(Self {
            score: score(&series.annotators, &indices, count),
            silence: score(&series.annotators, &[], count),
            series,
            found,
        })
    }

    fn is_human(&self) -> bool {
        self.series.name.starts_with("tcpd-")
    }
}

fn object(judged: &[Judged]) -> serde_json::Value {
    let series: Vec<_> = judged
        .iter()
        .map(|one| {
            let detected: Vec<usize> = one.found.iter().map(|change| change.index).collect();
            json!({
                "name": one.series.name,
                "detected": detected,
                "f1": one.score.map(|score| score.f1),
                "cover": one.score.map(|score| score.cover),
            })
        })
        .collect();
    let scores: Vec<Score> = judged.iter().filter_map(|one| one.score).collect();
    let all = mean(&scores);
    json!({
        "series": series,
        "f1": all.map(|score| score.f1),
        "cover": all.map(|score| score.cover),
    })
}

fn print_scores(judged: &[Judged]) {
    println!(
        "{:<28}    F1  Cover   nothing: F1  Cover   detected (~ gradual)",
        "series"
    );
    for one in judged {
        print_row(
            &one.series.name,
            one.score,
            one.silence,
            &detected(&one.found),
        );
    }
    println!();
    let kinds: [Kind; 3] = [
        ("mean, people's (tcpd-*)", Judged::is_human),
        ("mean, maintainers' (others)", |one| !one.is_human()),
        ("mean, all labelled", |_| true),
    ];
    for (name, belongs) in kinds {
        let of_kind = || judged.iter().filter(|one| belongs(one));
        let scores: Vec<Score> = of_kind().filter_map(|one| one.score).collect();
        let silence: Vec<Score> = of_kind().filter_map(|one| one.silence).collect();
        let count = format!("{} series", scores.len());
        print_row(name, mean(&scores), mean(&silence), &count);
    }
}

fn print_row(name: &str, score: Option<Score>, silence: Option<Score>, what: &str) {
    match (score, silence) {
        (Some(score), Some(silence)) => println!(
            "{name:<28}  {:.3}  {:.3}         {:.3}  {:.3}   {what}",
            score.f1, score.cover, silence.f1, silence.cover
        ),
        _ => println!("{name:<28}  not labelled                       {what}"),
    }
}

fn detected(found: &[ChangePoint]) -> String {
    if found.is_empty() {
        return "-".to_owned();
    }
    let names = found
        .iter()
        .map(|change| format!("{}{}", if change.gradual { "~" } else { "" }, change.index));
    names.collect::<Vec<_>>().join(" ")
}

/// How many of 1000 series of pure noise show a change.
fn print_noise() {
    let kinds: [Maker; 4] = [
        ("white", |noise, count| noise.autoregressive(count, 0.0)),
        ("AR(1) 0.5", |noise, count| noise.autoregressive(count, 0.5)),
        ("Student t, 3 d.f.", |noise, count| {
            noise.heavy_tailed(count, 3)
        }),
        ("Student t, 2 d.f.", |noise, count| {
            noise.heavy_tailed(count, 2)
        }),
    ];
    let lengths = [30, 100, 300, 1000];
    println!("\nfalse alarms in 1000 series of {lengths:?} points of pure noise");
    for (name, series) in kinds {
        let counts = lengths.map(|count| {
            let alarms = (0..1000).filter(|&seed| {
                let values = series(&mut Noise::seeded(seed), count);
                change_points(&values).is_some_and(|found| !found.is_empty())
            });
            format!("{:5}", alarms.count())
        });
        println!("{name:<28} {}", counts.join(""));
    }
}
