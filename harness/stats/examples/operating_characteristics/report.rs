//! The counts as tables, and as one JSON object.

use serde_json::{Value, json};

use crate::noise::{ROUNDS, SAMPLES};
use crate::others::RULES;
use crate::simulate::{PATIENCE, Result, Share};
use crate::{CASES, EFFECTS, HISTORY, NIGHTS, gate};

/// Tests in thirty nights of the suite: false alarms are stated per this many.
const MONTH: f64 = (NIGHTS * CASES) as f64;

/// Tables in Markdown.
pub fn text(results: &[Result], intervals: &[(usize, f64)], replicates: u64) {
    println!(
        "{CASES} cases, {ROUNDS} rounds of {SAMPLES} samples a night, baseline of {} runs, {replicates} replicates of {NIGHTS} nights; \
         confirmation of {} pairs. Seeded.\n",
        gate::WINDOW,
        assay_stats::gate::CONFIRMATION_PAIRS
    );
    println!("Machines:\n");
    for result in results {
        println!("- **{}**: {}", result.model.name, result.model.what);
    }
    println!("\nOthers' rules:\n");
    for rule in &RULES {
        println!("- **{}**: {}", rule.name, rule.decides);
    }
    false_alarms(results);
    power(results);
    coverage(results, intervals);
}

fn false_alarms(results: &[Result]) {
    println!("\n### Nothing changed: false alarms in {NIGHTS} nights of {CASES} cases\n");
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    println!(
        "| machine | suspects a night | called by `check` alone | **alerts after confirmation** | machine events | {} |",
        names.join(" | ")
    );
    println!("|---|{}", "---|".repeat(4 + RULES.len()));
    for Result { model, counts } in results {
        let others: Vec<String> = counts
            .others
            .iter()
            .map(|share| per_month(*share))
            .collect();
        println!(
            "| {} | {:.1} | {} | **{}** | {:.2} | {} |",
            model.name,
            counts.suspects.value() * CASES as f64,
            per_month(counts.calls),
            per_month(counts.alerts),
            counts.events.value() * NIGHTS as f64,
            others.join(" | ")
        );
    }
}

fn power(results: &[Result]) {
    println!(
        "\n### One case slower: found, of 100, on the same night / within {PATIENCE} nights (others: on the same night)\n"
    );
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    println!(
        "| machine | change | **Assay, alerted** | {} |",
        names.join(" | ")
    );
    println!("|---|---|{}", "---|".repeat(1 + RULES.len()));
    for Result { model, counts } in results {
        for (number, effect) in EFFECTS.iter().enumerate() {
            let others: Vec<String> = (0..RULES.len())
                .map(|rule| percent(counts.others_find[rule][number]))
                .collect();
            println!(
                "| {} | {:.0} % | **{} / {}** | {} |",
                model.name,
                100.0 * effect,
                percent(counts.same_night[number]),
                percent(counts.in_time[number]),
                others.join(" | ")
            );
        }
    }
}

fn coverage(results: &[Result], intervals: &[(usize, f64)]) {
    println!(
        "\n### 95 % intervals that cover the truth, and unchanged cases called unchanged, of 100\n"
    );
    println!(
        "| machine | within a run, 6 pairs | 16 pairs | across runs, {} runs | relative to the suite | 5 runs | Criterion's | **called unchanged** |",
        gate::WINDOW
    );
    println!("|---|---|---|---|---|---|---|---|");
    for Result { model, counts } in results {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | **{}** |",
            model.name,
            percent(counts.covers_six_pairs),
            percent(counts.covers_sixteen_pairs),
            percent(counts.covers_across),
            percent(counts.covers_relative),
            percent(counts.covers_five),
            percent(counts.covers_criterion),
            percent(counts.unchanged),
        );
    }
    println!();
    for (rounds, share) in intervals {
        println!(
            "An interval from {rounds} rounds a side that ignores the night covers {:.1} of 100 on the quiet machine.",
            100.0 * share
        );
    }
    let mut agree = Share::default();
    for result in results {
        agree.of += result.counts.bootstrap_agrees.of;
        agree.hits += result.counts.bootstrap_agrees.hits;
    }
    println!(
        "Criterion's rule is computed by its limit for many samples; with its bootstraps it decided alike in {} of {} comparisons.",
        agree.hits, agree.of
    );
}

/// One object, on the last line.
pub fn json(results: &[Result], replicates: u64) {
    let machines: Vec<Value> = results.iter().map(machine).collect();
    println!(
        "{}",
        json!({
            "cases": CASES, "rounds": ROUNDS, "samples": SAMPLES, "history": HISTORY, "nights": NIGHTS,
            "replicates": replicates, "window": gate::WINDOW,
            "confirmation_pairs": assay_stats::gate::CONFIRMATION_PAIRS, "machines": machines,
        })
    );
}

fn machine(result: &Result) -> Value {
    let counts = &result.counts;
    let month = |share: Share| share.value() * MONTH;
    let find = |shares: &[Share]| -> Value {
        let pairs = EFFECTS.iter().zip(shares);
        pairs
            .map(|(effect, share)| (format!("{effect}"), json!(share.value())))
            .collect()
    };
    let others: serde_json::Map<String, Value> = RULES
        .iter()
        .enumerate()
        .map(|(number, rule)| {
            let of = json!({"false_alarms": month(counts.others[number]), "found_same_night": find(&counts.others_find[number])});
            (rule.name.to_owned(), of)
        })
        .collect();
    json!({
        "name": result.model.name,
        "assay": {
            "suspects_a_night": counts.suspects.value() * CASES as f64,
            "false_calls_of_check": month(counts.calls),
            "false_alerts": month(counts.alerts),
            "false_alerts_seen": counts.alerts.hits,
            "machine_events": counts.events.value() * NIGHTS as f64,
            "found_same_night": find(&counts.same_night),
            "found_within_three_nights": find(&counts.in_time),
            "covers_within_run_6": counts.covers_six_pairs.value(),
            "covers_within_run_16": counts.covers_sixteen_pairs.value(),
            "covers_across_runs": counts.covers_across.value(),
            "covers_relative_to_suite": counts.covers_relative.value(),
            "covers_across_runs_5": counts.covers_five.value(),
            "called_unchanged": counts.unchanged.value(),
        },
        "others": others,
        "criterion_interval_covers": counts.covers_criterion.value(),
    })
}

fn per_month(share: Share) -> String {
    let value = share.value() * MONTH;
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

fn percent(share: Share) -> String {
    format!("{:.1}", 100.0 * share.value())
}
