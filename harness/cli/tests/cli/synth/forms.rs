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

/// The members of the rows of a file of JSON lines.
fn members(place: &Place, file: &str, name: &str) -> Vec<serde_json::Value> {
    let member = |line: &str| -> serde_json::Value {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row[name].clone()
    };
    place.read(file).lines().map(member).collect()
}

#[test]
fn texts_of_a_file_with_types_stay_texts_and_what_was_mixed_is_told() {
    let place = Place::new();
    let rows = lines(60, |row| {
        let mixed = ["1", "\"x\"", "2"][row as usize % 3];
        format!(
            "{{\"zip\":\"00{}\",\"size\":\"{}\",\"word\":\"{}\",\"mixed\":{mixed},\"x\":{row}}}",
            row % 5,
            row % 4,
            row % 2 == 0,
        )
    });
    place.write("texts.jsonl", rows);
    place
        .assay("synth fit texts.jsonl -o model.json")
        .exits(0)
        .says("column `zip` holds texts in the file, 60 of 60 of which look like numbers, such as \"000\" in row 1")
        .says("column `size` holds texts in the file")
        .says("column `mixed` mixes 40 numbers and 20 texts, row 2 being the first")
        .lacks("`x`")
        .lacks("`word`");
    place
        .assay("synth sample model.json --rows 50 -o made.parquet")
        .exits(0);
    // What the Parquet file says is seen by what is made of it.
    place.assay("synth fit made.parquet -o again.json").exits(0);
    for model in ["model", "again"] {
        place
            .assay(&format!(
                "synth sample {model}.json --rows 50 -o made.jsonl"
            ))
            .exits(0);
        for name in ["zip", "size", "word", "mixed"] {
            let made = members(&place, "made.jsonl", name);
            assert!(made.iter().all(serde_json::Value::is_string), "{made:?}");
        }
        let made = members(&place, "made.jsonl", "x");
        assert!(made.iter().all(serde_json::Value::is_u64), "{made:?}");
        let zips = members(&place, "made.jsonl", "zip");
        assert!(
            zips.iter()
                .all(|zip| zip.as_str().unwrap().starts_with("00"))
        );
        place.assay("synth score texts.jsonl made.jsonl").exits(0);
    }
    // A model that an older assay cannot read says so by its schema.
    assert!(place.read("model.json").starts_with("{\"schema\":3,"));
}

#[test]
fn digits_with_leading_zeros_are_text_and_that_is_said() {
    let place = Place::new();
    let rows = lines(60, |row| format!("{:03},{row}", row % 12));
    place.write("codes.csv", format!("code,x\n{rows}"));
    place
        .assay("synth fit codes.csv -o model.json")
        .exits(0)
        .says("column `code` is of digits, but 60 of its 60 values, row 1 with \"000\" being the first")
        .says("numbers would lose the leading zeros")
        .says("taken for categories, which are made as they are written");
    place
        .assay("synth sample model.json --rows 40 -o made.csv")
        .exits(0);
    let made = place.read("made.csv");
    assert!(
        made.lines()
            .skip(1)
            .all(|row| row.starts_with('0') && &row[3..4] == ",")
    );
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
