//! Items of recipes: texts, arrays and records, by generators and by models of the user.

use std::fmt::Write as _;

use crate::helpers::{Place, suite};

/// A file's text; a language model writes bytes, and what they spell is its own affair.
fn text(place: &Place, name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(place.path(name)).unwrap()).into_owned()
}

#[test]
fn items_come_in_parts_with_labels_and_a_card() {
    let place = Place::new();
    for (generator, ending) in [
        ("grammar", "txt"),
        ("markov", "txt"),
        ("instructions", "jsonl"),
        ("language", "txt"),
    ] {
        let make = |more: &str, output: &str| {
            place
                .assay(&format!(
                    "synth make {generator} --items 30 --seed 4 {more} -o {output}.{ending}"
                ))
                .exits(0);
            text(&place, &format!("{output}.{ending}"))
        };
        let all = make("", "all");
        assert_eq!(all.lines().count(), 30);
        assert_eq!(
            make("--shard 1/2", "a") + &make("--shard 2/2", "b"),
            all,
            "{generator}"
        );
    }
    place
        .assay("synth make spectra --items 6 --set points=256 -o s.npy --labels s.csv")
        .exits(0)
        .says("6 items")
        .lacks("are not written");
    place
        .assay("synth make spectra --items 2 --set points=256 -o alone.npy")
        .exits(0)
        .says("are not written: --labels FILE");
    let bytes = std::fs::read(place.path("s.npy")).unwrap();
    assert_eq!(bytes.len(), 128 + 6 * 2 * 256 * 4);
    assert!(String::from_utf8_lossy(&bytes[..128]).contains("'shape': (6, 2, 256)"));
    let labels = place.read("s.csv");
    assert!(
        labels.starts_with("kind,redshift,") && labels.lines().count() == 7,
        "{labels}"
    );
    let card: serde_json::Value = serde_json::from_str(&place.read("s.npy.card.json")).unwrap();
    assert_eq!(card["parameters"]["points"], 256);
    assert_eq!(card["labels"]["file"], "s.csv");
    assert_eq!(card["quality"]["checked_items"], 6);
    place
        .assay("synth make pictures --items 3 --set size=72 -o p.npy --labels p.jsonl")
        .exits(0);
    assert!(place.read("p.jsonl").contains("\"caption\":\"a "));
    place
        .assay("synth make grammar --items 5 -o g.parquet")
        .exits(0)
        .lacks("are not written")
        .says("entropy: ");
}

#[test]
fn a_model_that_was_trained_writes() {
    let place = Place::new();
    let saved = place.path("model.safetensors");
    let training = format!(
        "[[benchmark]]\nname = \"lm\"\nworkload = \"train-lm\"\nparams = {{ steps = 40, width = 32, layers = 1, corpus = 50000, save = \"{}\" }}\n",
        saved.display()
    );
    place.write("train.toml", suite("train", &[training]));
    place.assay("run ./train.toml").exits(0);
    let make =
        "synth make language --set checkpoint=model.safetensors --set temperature=0.7 --items 20";
    place.assay(&format!("{make} -o all.txt")).exits(0);
    let all = text(&place, "all.txt");
    assert_eq!(all.lines().count(), 20);
    place
        .assay(&format!("{make} --shard 2/2 -o half.txt"))
        .exits(0);
    assert!(all.ends_with(&text(&place, "half.txt")));
    place.assay(&format!("{make} -o all.jsonl")).exits(0);
    let lines: Vec<serde_json::Value> = place
        .read("all.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let bytes = std::fs::read(place.path("all.txt")).unwrap();
    let raw = bytes
        .strip_suffix(b"\n")
        .unwrap()
        .split(|byte| *byte == b'\n');
    for (line, raw) in lines.iter().zip(raw) {
        match (&line["text"], &line["hex"]) {
            (serde_json::Value::String(text), serde_json::Value::Null) => {
                assert_eq!(text.as_bytes(), raw);
            }
            (serde_json::Value::Null, serde_json::Value::String(hex)) => {
                let digits = raw.iter().fold(String::new(), |mut digits, byte| {
                    let _ = write!(digits, "{byte:02x}");
                    digits
                });
                assert!(*hex == digits && std::str::from_utf8(raw).is_err());
            }
            other => panic!("{other:?}"),
        }
    }
    let card: serde_json::Value = serde_json::from_str(&place.read("all.txt.card.json")).unwrap();
    assert!(card.to_string().contains("\"model\""), "{card:#}");
    let mut bytes = std::fs::read(&saved).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    place.write("model.safetensors", bytes);
    place
        .assay(&format!("{make} -o x.txt"))
        .refuses(&["checkpoint", "is damaged"]);
    place
        .assay("synth make language --set checkpoint=absent --items 2 -o x.txt")
        .refuses(&["absent"]);
    place
        .assay("synth make language --set temperature=0 --items 2 -o x.txt")
        .refuses(&["`temperature` is 0"]);
}

#[test]
fn own_texts_and_grammars_are_learned_and_what_is_wrong_with_them_is_said() {
    let place = Place::new();
    place.write("corpus.txt", "the cat sat\nthe dog sat\n");
    place
        .assay("synth make markov --items 20 --corpus corpus.txt --set order=1 -o t.txt")
        .exits(0);
    let words = ["the", "cat", "dog", "sat"];
    assert!(
        place
            .read("t.txt")
            .split_whitespace()
            .all(|word| words.contains(&word))
    );
    place.write(
        "grammar.json",
        r#"{"start": "s", "symbols": {"s": ["{n} runs", ["{n} walks", 3]], "n": ["Ada", "Alan"]}}"#,
    );
    place
        .assay("synth make grammar --recipe grammar.json --items 9 -o g.txt")
        .exits(0)
        // One bit of who, and 0.8113 of what.
        .says("entropy: 1.8113 bits a text");
    place.write("bad.txt", b"fine\n\xff\xfe\n");
    let make = |arguments: &str| place.assay(&format!("synth make {arguments} -o x.txt"));
    make("markov --items 1 --corpus bad.txt").refuses(&["bad.txt", "line 2", "UTF-8"]);
    make("grammar --items 1 --corpus corpus.txt").refuses(&["learns nothing"]);
    make("grammar --items 1 --set start=nobody").refuses(&["`nobody`"]);
    make("grammar --items 1 --set colour=red").refuses(&["colour"]);
    make("grammar --items 1 --set start").refuses(&["KEY=VALUE"]);
    make("grammar --items 1 --labels l.csv").refuses(&["--labels"]);
    make("grammar --items 0").refuses(&["--items"]);
    make("spectra --items 1").refuses(&[".npy"]);
    make("instructions --items 1").refuses(&[".jsonl"]);
    make("novels --items 1").refuses(&["novels", "spectra"]);
    assert!(!place.path("x.txt").exists());
}
