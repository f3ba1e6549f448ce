//! Forms of files: what separates fields, what truth values are, and what a run that was broken off leaves.

use crate::helpers::Place;

/// A line for each row.
fn lines(rows: u32, line: impl Fn(u32) -> String) -> String {
    let mut lines: Vec<String> = (0..rows).map(line).collect();
    lines.push(String::new());
    lines.join("\n")
}

#[test]
fn other_separators_than_commas_are_refused_until_they_are_said() {
    let place = Place::new();
    let rows = lines(40, |row| format!("{};{}", row % 7, row % 3));
    place.write("semicolons.csv", format!("a;b\n{rows}"));
    place.write("tabs.csv", format!("a\tb\n{}", rows.replace(';', "\t")));
    for (file, delimiter) in [("semicolons", ";"), ("tabs", "tab")] {
        place
            .assay(&format!("synth fit {file}.csv -o model.json"))
            .refuses(&[&format!("{file}.csv"), "--delimiter"]);
        place
            .assay_with(&[
                "synth",
                "fit",
                &format!("{file}.csv"),
                "--delimiter",
                delimiter,
                "-o",
                "model.json",
            ])
            .exits(0)
            .says("2 columns");
        // Rows that were made have commas.
        place
            .assay("synth sample model.json --rows 30 -o made.csv")
            .exits(0);
        place
            .assay_with(&[
                "synth",
                "score",
                &format!("{file}.csv"),
                "made.csv",
                "--delimiter",
                delimiter,
            ])
            .exits(0);
    }
    for delimiter in ["ab", "5", "\"", ""] {
        place
            .assay_with(&[
                "synth",
                "fit",
                "tabs.csv",
                "--delimiter",
                delimiter,
                "-o",
                "x.json",
            ])
            .refuses(&["--delimiter", "one sign"]);
    }
}

#[test]
fn truth_values_of_json_lines_stay_what_they_are() {
    let place = Place::new();
    let rows = lines(60, |row| format!("{{\"is\":{},\"x\":{row}}}", row % 3 == 0));
    place.write("truths.jsonl", rows);
    place.assay("synth fit truths.jsonl -o model.json").exits(0);
    for form in ["jsonl", "parquet"] {
        place
            .assay(&format!("synth sample model.json --rows 50 -o made.{form}"))
            .exits(0);
        place
            .assay(&format!("synth score truths.jsonl made.{form}"))
            .exits(0);
    }
    let made = place.read("made.jsonl");
    let first: serde_json::Value = serde_json::from_str(made.lines().next().unwrap()).unwrap();
    assert!(first["is"].is_boolean(), "{first}");
    place.write("empty.jsonl", "{}\n{}\n");
    place
        .assay("synth fit empty.jsonl -o x.json")
        .refuses(&["empty.jsonl", "2 objects are without members"]);
}

#[test]
fn columns_that_are_not_scored_are_named() {
    let place = Place::new();
    let rows = lines(40, |row| format!("{},{}", row % 7, row % 3));
    place.write("real.csv", format!("a,b\n{rows}"));
    let more = rows.replace('\n', ",9,x\n");
    place.write("more.csv", format!("a,b,c,d\n{more}"));
    place
        .assay("synth score real.csv more.csv --html page.html")
        .exits(0)
        .says("columns that the real table has not are not scored: `c`, `d`");
    assert!(place.read("page.html").contains("are not scored"));
}

#[test]
fn what_a_killed_run_left_is_used_up_by_the_next_one() {
    let place = Place::new();
    place.write(
        "rows.csv.unfinished",
        "half of a row, and more of it than there will be".repeat(99),
    );
    place
        .assay("synth census --rows 5 -o rows.csv")
        .exits(0)
        .says("rows.csv.unfinished was left by a run that did not end: it is overwritten");
    assert!(!place.path("rows.csv.unfinished").exists());
    assert_eq!(place.read("rows.csv").lines().count(), 6);
    place
        .assay("synth census --rows 5 -o rows.csv")
        .exits(0)
        .lacks("did not end");
}

#[test]
fn spectra_of_few_pixels_have_few_masks() {
    let place = Place::new();
    place
        .assay("synth make spectra --items 3 --set points=128 -o s.npy")
        .exits(0);
    let card: serde_json::Value = serde_json::from_str(&place.read("s.npy.card.json")).unwrap();
    assert_eq!(card["recipe"]["spectra"]["masks"], 2.0);
}
