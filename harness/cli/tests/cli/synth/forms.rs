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
fn numbers_beside_texts_of_digits_are_compared_either_way() {
    let place = Place::new();
    place.write(
        "numbers.csv",
        format!("flag,x\n{}", lines(60, |row| format!("{},{row}", row % 2))),
    );
    let texts = |word: &str| {
        lines(60, |row| {
            let flag = if row == 7 {
                word.to_owned()
            } else {
                (row % 2).to_string()
            };
            format!("{{\"flag\":\"{flag}\",\"x\":{row}}}")
        })
    };
    place.write("texts.jsonl", texts("1"));
    for (real, synthetic) in [
        ("numbers.csv", "texts.jsonl"),
        ("texts.jsonl", "numbers.csv"),
    ] {
        place
            .assay(&format!("synth score {real} {synthetic} --require shapes>=1"))
            .exits(0)
            .says("columns of numbers in one table and texts in the other are compared as what the real one holds: `flag`");
    }
    place.write("words.jsonl", texts("yes"));
    place
        .assay("synth score numbers.csv words.jsonl")
        .refuses(&[
            "column `flag` holds numbers in one table",
            "row 8 has \"yes\"",
            "mend one",
        ]);
    place.assay("synth score words.jsonl numbers.csv").exits(0);
}

#[test]
fn what_stands_for_missing_values_is_told_and_can_be_a_label() {
    let place = Place::new();
    let country = |row: u32| ["NA", "DE", "?"][row as usize % 3];
    let rows = lines(60, |row| format!("{},{row}", country(row)));
    place.write("people.csv", format!("country,x\n\n{rows}\n"));
    let words = [
        "2 lines of the file, line 2 being the first, are blank",
        "column `country` has 20 cells with \"?\" and 20 cells with \"NA\", the first in row 1, which are taken for missing values",
        "declare a category that has it among its labels, with --schema",
    ];
    let told = place.assay("synth fit people.csv -o model.json").exits(0);
    words.iter().fold(told, |told, words| told.says(words));
    let told = place.assay("synth score people.csv people.csv").exits(0);
    words.iter().fold(told, |told, words| told.says(words));
    place.write(
        "people.toml",
        "schema = 1\n[[table]]\nname = \"people\"\nrows = 60\ncolumn = [\n\
         { type = \"category\", name = \"country\", labels = [\"NA\", \"DE\"], missing = 0.5 },\n\
         { type = \"number\", name = \"x\", low = 0, high = 99 },\n]\n",
    );
    place
        .assay("synth check people.toml people.csv")
        .exits(0)
        .says("column `country` has 20 cells with \"?\", the first in row 3");
    for form in ["csv", "jsonl", "parquet"] {
        place
            .assay("synth fit people.csv --schema people.toml -o model.json")
            .exits(0)
            .lacks("\"NA\"");
        place
            .assay(&format!("synth sample model.json --rows 90 -o made.{form}"))
            .exits(0);
        place
            .assay(&format!("synth score people.csv made.{form} --schema people.toml --require shapes>=0.9 --require constraints<=0"))
            .exits(0);
        let card: serde_json::Value =
            serde_json::from_str(&place.read(&format!("made.{form}.card.json"))).unwrap();
        assert_eq!(card["columns"][0]["labels"], 2, "{form}");
    }
    // What a schema makes, the schema finds again.
    place.assay("synth tables people.toml -o made").exits(0);
    place
        .assay("synth check people.toml made/people.csv")
        .exits(0);
    assert!(place.read("made/people.csv").contains("\nNA,"));
}

#[test]
fn columns_that_hold_some_numbers_and_rows_that_leave_members_out_are_told_of() {
    let place = Place::new();
    let size = |row: u32| match row % 3 {
        0 => row.to_string(),
        _ => ["small", "large"][row as usize % 2].to_owned(),
    };
    place.write(
        "sizes.csv",
        format!(
            "size,x\n{}\n",
            lines(60, |row| format!("{},{row}", size(row)))
        ),
    );
    place
        .assay("synth fit sizes.csv -o model.json")
        .exits(0)
        .says("column `size` is taken for categories: 20 of its 60 values are numbers, row 1 with \"0\" being the first");
    let member = |row: u32| if row % 4 == 1 { "" } else { ",\"y\":2" };
    place.write(
        "rows.jsonl",
        lines(60, |row| format!("{{\"x\":{row}{}}}", member(row))),
    );
    let words =
        "column `y` is left out of 15 rows of the file, row 2 being the first: it is missing there";
    for command in [
        "fit rows.jsonl -o model.json",
        "score rows.jsonl rows.jsonl",
    ] {
        place
            .assay(&format!("synth {command}"))
            .exits(0)
            .says(words)
            .lacks("column `x` is left out");
    }
}

#[test]
fn integers_of_any_length_keep_their_digits_and_that_is_said() {
    let place = Place::new();
    let id = |row: u32| format!("1844674407370955161{}", 5 + row % 3);
    let rows = lines(60, |row| format!("{{\"id\":{},\"x\":{row}}}", id(row)));
    place.write("ids.jsonl", rows);
    place
        .assay("synth fit ids.jsonl -o model.json")
        .exits(0)
        .says("column `id` holds numbers in the file and is taken for categories, for row 1 has 18446744073709551615")
        .says("values that are made are texts");
    place
        .assay("synth sample model.json --rows 50 -o made.jsonl")
        .exits(0);
    for made in members(&place, "made.jsonl", "id") {
        let made = made.as_str().unwrap();
        assert!((0..3).any(|row| id(row) == made), "{made}");
    }
}

#[test]
fn a_detection_that_is_worse_than_guessing_is_told_for_what_it_is() {
    let place = Place::new();
    place.assay("synth census --rows 900 -o real.csv").exits(0);
    let real = place.read("real.csv");
    let (head, rows) = real.split_once('\n').unwrap();
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.rotate_left(400);
    place.write("copied.csv", format!("{head}\n{}\n", rows.join("\n")));
    place
        .assay("synth census --rows 900 --seed 2 -o other.csv")
        .exits(0);
    place
        .assay("synth score real.csv copied.csv --require auc<0.6 --html page.html")
        .exits(0)
        .says("is below 0.5 by more than chance")
        .says("1.0000 of them are exact copies");
    assert!(place.read("page.html").contains("by more than chance"));
    place
        .assay("synth score real.csv other.csv")
        .exits(0)
        .lacks("by more than chance");
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
    assert_eq!(card["parameters"]["masks"], 2.0);
}
