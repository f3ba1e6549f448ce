//! What is refused: tables, models, sizes and outputs that do not do.

use std::fmt::Write as _;

use super::with_people;

#[test]
fn tables_that_cannot_be_learned_are_refused_and_odd_ones_are_not() {
    let place = with_people();
    let refused = |name: &str, content: &[u8], words: &[&str]| {
        place.write(name, content);
        place
            .assay(&format!("synth fit {name} -o x.json"))
            .refuses(words);
        assert!(!place.path("x.json").exists(), "{name}");
    };
    refused("nothing.csv", b"", &["nothing.csv"]);
    refused("head.csv", b"a,b\n", &["head.csv", "no rows"]);
    refused("ragged.csv", b"a,b\n1,2\n3\n", &["ragged.csv", "line 3"]);
    refused("broken.csv", b"a,b\n1,\xff\xfe\n", &["broken.csv", "UTF-8"]);
    refused("wide.csv", b"\0a\0\n\0" as &[u8], &["wide.csv", "UTF-16"]);
    refused(
        "latin.jsonl",
        b"{\"a\": \"caf\xe9\"}\n",
        &["latin.jsonl", "line 1"],
    );
    refused("list.jsonl", b"[1]\n", &["list.jsonl", "line 1", "object"]);
    refused("t.xlsx", b"", &[".csv, .jsonl or .parquet"]);
    place.assay("synth fit people.csv -o model.json").exits(0);
    place
        .assay("synth sample model.json --rows 50 -o whole.parquet")
        .exits(0);
    let whole = std::fs::read(place.path("whole.parquet")).unwrap();
    refused(
        "half.parquet",
        &whole[..whole.len() / 2],
        &["half.parquet", "no whole Parquet file"],
    );
    place
        .assay("synth fit absent.csv -o x.json")
        .refuses(&["absent.csv"]);
    let mut odd = String::from("constant,none,one_of_many,digits\n");
    for row in 0..300 {
        writeln!(odd, "7,,name {row},00{}", row % 5).unwrap();
    }
    place.write("odd.csv", odd);
    place.write("one.csv", "a,b\n1,x\n");
    for (table, generator) in [
        ("odd", "independent"),
        ("odd", "copula"),
        ("odd", "mst"),
        ("one", "copula"),
        ("one", "mst"),
    ] {
        place
            .assay(&format!(
                "synth fit {table}.csv --generator {generator} -o {table}.json"
            ))
            .exits(0);
        place
            .assay(&format!("synth sample {table}.json --rows 20 -o made.csv"))
            .exits(0);
        let made = place.read("made.csv");
        assert_eq!(made.lines().count(), 21, "{generator}");
        let expected = match (table, generator) {
            // Noise may make anything of so few rows.
            (_, "mst") => "",
            ("odd", _) => "7,,key-000000000,00",
            _ => "1,x",
        };
        let row = made.lines().nth(1).unwrap();
        assert!(row.starts_with(expected), "{generator}: {row}");
    }
}

#[test]
fn what_the_machine_lacks_is_told_apart_from_bad_input() {
    let place = with_people();
    place
        .assay("synth score people.csv people.csv --device cuda:99")
        .exits(3)
        .says("--device cuda:99");
    std::os::unix::fs::symlink("/dev/full", place.path("rows.csv.unfinished")).unwrap();
    place
        .assay("synth census --rows 100 -o rows.csv")
        .exits(3)
        .says("rows.csv: ")
        .says("No space left");
    for name in ["rows.csv", "rows.csv.unfinished"] {
        assert!(place.path(name).symlink_metadata().is_err(), "{name}");
    }
}

#[test]
fn what_has_no_room_on_the_disk_is_refused_with_how_much_is_missing() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    place.write("t.toml", "schema = 1\n[[table]]\nname = \"t\"\nrows = 9999999999999\ncolumn = [{ type = \"key\", name = \"id\" }]\n");
    let many = 9_999_999_999_999_u64;
    for (command, file, words) in [
        // Known before the first is made.
        (
            format!("make spectra --items {many} -o x.npy"),
            "x.npy",
            "9999999999999 items take ",
        ),
        (
            format!("make pictures --items {many} -o x.npy --labels x.csv"),
            "x.npy",
            "items take ",
        ),
        // Known by the first ones.
        (
            format!("make grammar --items {many} -o x.txt"),
            "x.txt",
            " take about ",
        ),
        (
            format!("make grammar --items {many} -o x.jsonl"),
            "x.jsonl",
            " take about ",
        ),
        (
            format!("census --rows {many} -o x.csv"),
            "x.csv",
            " take about ",
        ),
        (
            format!("sample model.json --rows {many} -o x.parquet"),
            "x.parquet",
            " take about ",
        ),
        ("tables t.toml -o .".into(), "t.csv", " take about "),
    ] {
        place
            .assay(&format!("synth {command}"))
            .exits(3)
            .says(file)
            .says(words)
            .says("are missing");
        for left in [
            file.to_owned(),
            format!("{file}.unfinished"),
            "x.csv".into(),
        ] {
            assert!(!place.path(&left).exists(), "{command}: {left}");
        }
    }
    // More bytes than there are numbers for.
    place
        .assay(&format!(
            "synth make spectra --items {many} --set points=1048576 -o x.npy"
        ))
        .refuses(&["x.npy", "more than a file can hold"]);
}

#[test]
fn outputs_that_do_not_do_are_refused_before_the_work() {
    let place = with_people();
    let before = place.read("people.csv");
    place
        .assay("synth fit people.csv -o people.csv")
        .refuses(&["people.csv", "would be overwritten"]);
    place
        .assay("synth fit people.csv -o absent/model.json")
        .refuses(&["absent/model.json"]);
    place
        .assay("synth score people.csv people.csv --html absent/x.html")
        .refuses(&["absent/x.html"])
        .lacks("copies:");
    place
        .assay("synth score people.csv people.csv --html people.csv")
        .refuses(&["would be overwritten"]);
    place
        .assay("synth make spectra --items 2 -o s.npy --labels s.xlsx")
        .refuses(&["s.xlsx", ".csv, .jsonl or .parquet"]);
    assert!(!place.path("s.npy").exists());
    assert_eq!(place.read("people.csv"), before);
}

#[test]
fn models_and_sizes_that_do_not_do_are_refused() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    place
        .assay("synth sample people.csv --rows 5 -o x.csv")
        .refuses(&["people.csv", "no model"]);
    let newer = place
        .read("model.json")
        .replacen("\"schema\":1", "\"schema\":9", 1);
    place.write("newer.json", newer);
    place
        .assay("synth sample newer.json --rows 5 -o x.csv")
        .refuses(&["schema 9", "newer assay"]);
    for (rows, words) in [
        ("0", "at least 1"),
        ("99999999999999999", "2^44"),
        ("-3", "unexpected argument"),
    ] {
        place
            .assay(&format!("synth sample model.json --rows {rows} -o x.csv"))
            .refuses(&[words]);
    }
    for shard in ["0/3", "4/3", "half"] {
        place
            .assay(&format!(
                "synth sample model.json --rows 5 --shard {shard} -o x.csv"
            ))
            .refuses(&["K/N"]);
    }
    place
        .assay("synth sample model.json --rows 5 -o x.txt")
        .refuses(&[".csv, .jsonl or .parquet"]);
    place.write("other.csv", "age,job\n1,x\n");
    place
        .assay("synth score people.csv other.csv")
        .refuses(&["`pay`", "missing"]);
    place
        .assay("synth score people.csv people.csv --require fame=1")
        .refuses(&["fame", "quality"]);
    assert!(!place.path("x.csv").exists());
}
