//! Files of the user's that a training reads: text and tokenizer are files of the suite, pinned and carried as others are.

use std::fs;

use assay_record::Block;

use crate::helpers::{PATIENCE, Place, benchmark, eventually, have, suite, suite_with};

/// Characters of words, a space and an end of line, with two merges.
const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "Ċ": 4, "ab": 5, "Ġab": 6}, "merges": [["a", "b"], ["Ġ", "ab"]]}}"#;

/// A place with a suite of one training, with its text and its tokenizer in folders beside it.
fn place() -> Place {
    let place = Place::new();
    let training = "workload = \"train-lm\"\nparams = { batch = 2, length = 8, layers = 1, width = 16, heads = 2, steps = 4, text = \
                    \"{dir}/texts/words.txt\", tokenizer = \"{dir}/tokenizer.json\" }\n";
    place.write(
        "suites/tiny.toml",
        suite("tiny", &[benchmark("lm", training)]),
    );
    place.write("suites/texts/words.txt", "ab abc cab c\n".repeat(40));
    place.write("suites/tokenizer.json", TOKENIZER);
    place
}

#[test]
fn a_checkpoint_is_not_written_into_the_folder_that_is_pinned() {
    let place = place();
    let suite = place.read("suites/tiny.toml");
    let saved = suite.replace("steps = 4", "steps = 4, save = \"{dir}/made.safetensors\"");
    place.write("suites/tiny.toml", saved);
    place
        .assay("list ./suites/tiny.toml")
        .refuses(&["parameter `save`: {dir}/made.safetensors", "outside"]);
}

/// The second would take the place of the first.
#[test]
fn two_cases_do_not_write_one_checkpoint() {
    let place = place();
    let suite = place.read("suites/tiny.toml");
    let path = place.path("made.safetensors");
    let save = |save: &str| format!("steps = 4, save = \"{save}\"");
    let axes = |name: &str| format!("{suite}axes = {{ {name} }}\n");
    let of_rates =
        axes("rate = [0.001, 0.002]").replace("steps = 4", &save(&path.display().to_string()));
    place.write("suites/tiny.toml", of_rates);
    place
        .assay("list ./suites/tiny.toml")
        .refuses(&["parameter `save`: lm[rate=0.001]@cpu and lm[rate=0.002]@cpu would both write"]);
    let of_files = ["one", "two"].map(|name| format!("\"{}\"", place.path(name).display()));
    place.write(
        "suites/tiny.toml",
        axes(&format!("save = [{}]", of_files.join(", "))),
    );
    place.assay("list ./suites/tiny.toml").exits(0);
}

/// A reproduction is compared with what was saved, and does not write over it.
#[test]
fn a_reproduction_leaves_the_checkpoint_of_the_original() {
    let place = place();
    let suite = place.read("suites/tiny.toml");
    let path = place.path("made.safetensors");
    let save = format!("steps = 4, save = \"{}\"", path.display());
    place.write("suites/tiny.toml", suite.replace("steps = 4", &save));
    place.assay("run ./suites/tiny.toml").exits(0);
    let then = fs::metadata(&path).unwrap().modified().unwrap();
    place
        .assay("reproduce latest --no-confirm")
        .says("outputs: identical");
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), then);
}

#[test]
fn text_and_tokenizer_are_pinned() {
    let place = place();
    place.assay("run ./suites/tiny.toml").exits(0);
    let manifest = place.record().header.manifest;
    let pinned: Vec<_> = manifest.sources.keys().map(String::as_str).collect();
    assert_eq!(pinned, ["{dir}/texts/words.txt", "{dir}/tokenizer.json"]);
    let run = place.assay("show --json").exits(0).json();
    let metrics = run["cases"][0]["metrics"].to_string();
    assert!(metrics.contains("bits_per_byte"), "{run:#}");
    let again = || place.assay("reproduce latest --no-confirm");
    again()
        .says("inputs:  identical")
        .says("outputs: identical");
    place.write(
        "suites/tokenizer.json",
        TOKENIZER.replace(", [\"Ġ\", \"ab\"]", ""),
    );
    again()
        .exits(1)
        .says("suites/tokenizer.json is not what the manifest pins")
        .says("nothing was run");
}

#[test]
fn pictures_and_spectra_that_were_made_are_trained_on() {
    let place = Place::new();
    place
        .assay("synth make pictures --items 20 --set size=72 -o p.npy --labels p.parquet")
        .exits(0);
    place
        .assay("synth make spectra --items 20 --set points=512 -o s.npy --labels s.csv")
        .exits(0);
    let cnn = "workload = \"train-cnn\"\nparams = { batch = 2, width = 4, steps = 3, images = \"{dir}/p.npy\", labels = \"{dir}/p.parquet\" }\n";
    let vae = "workload = \"train-vae\"\nparams = { batch = 2, points = 32, width = 8, steps = 3, fluxes = \"{dir}/s.npy\" }\n";
    let benchmarks = [benchmark("cnn", cnn), benchmark("vae", vae)];
    place.write("made.toml", suite("made", &benchmarks));
    place.assay("run ./made.toml").exits(0);
    let record = place.record();
    let pinned = record.header.manifest.sources;
    let pinned: Vec<_> = pinned.keys().map(String::as_str).collect();
    assert_eq!(pinned, ["{dir}/p.npy", "{dir}/p.parquet", "{dir}/s.npy"]);
    for name in ["pictures", "spectra"] {
        let mut all = record
            .blocks
            .iter()
            .filter_map(|block| block.prepared.as_ref());
        let found = all
            .find(|prepared| prepared.inputs.contains_key(name))
            .unwrap();
        let leaked = &found.facts[&format!("{name}.leaked")];
        assert!(leaked.starts_with("0.0000 of held-out"), "{leaked}");
    }
    place
        .assay("reproduce latest --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
    let cut = fs::read(place.path("s.npy")).unwrap();
    place.write("s.npy", &cut[..cut.len() - 4]);
    place
        .assay("run ./made.toml")
        .exits(1)
        .says("s.npy: its header tells of 20 items of 4096 bytes each, and 81916 bytes are behind it: it is cut short");
}

/// What came of the first round of a tiny training with these parameters.
fn trained(place: &Place, given: &str) -> Block {
    write_training(place, given);
    place.assay("run ./long.toml").exits(0);
    let mut blocks = place.record().blocks.into_iter();
    blocks.next().unwrap()
}

fn write_training(place: &Place, given: &str) {
    let training = format!(
        "workload = \"train-lm\"\nparams = {{ batch = 2, length = 8, layers = 1, width = 16, heads = 2, corpus = 3000, {given} }}\n"
    );
    let policy = "rounds = 2, max_rounds = 2, min_samples = 20, max_samples = 20, warmup_ms = 0, round_ms = 5000";
    let benchmarks = [benchmark("lm", &training)];
    place.write("long.toml", suite_with("long", policy, &benchmarks));
}

/// The bits of loss of so many samples.
fn losses(block: &Block, count: usize) -> Vec<u64> {
    let losses = &block.samples.values["loss"][..count];
    losses.iter().map(|loss| loss.to_bits()).collect()
}

/// Bits of what a whole training came to.
fn came_to(block: &Block) -> [u64; 2] {
    ["final_loss", "held_out_loss"].map(|name| block.values[name].to_bits())
}

#[test]
fn a_training_that_was_stopped_goes_on_to_the_same_bits() {
    let place = Place::new();
    let half = place.path("half.safetensors").display().to_string();
    let whole = trained(&place, "steps = 20");
    let saved = format!("steps = 20, stop = 10, save = \"{half}\"");
    let first = trained(&place, &saved);
    let second = trained(&place, &format!("steps = 20, resume = \"{half}\""));
    let all = losses(&whole, 20);
    assert_eq!(losses(&first, 10), all[..10]);
    assert_eq!(losses(&second, 10), all[10..]);
    assert_eq!(came_to(&second), came_to(&whole));
    let facts = second.prepared.unwrap().facts;
    assert_eq!(facts["resumed"], "after step 10");
    write_training(&place, &format!("steps = 10, resume = \"{half}\""));
    place
        .assay("run ./long.toml")
        .exits(1)
        .says("its training has come to step 10; expected less than `steps`, 10");
}

#[test]
fn a_training_that_was_killed_goes_on_to_the_same_bits() {
    let place = Place::new();
    let saved = place.path("saved.safetensors");
    let path = saved.display();
    // More steps than anybody waits for.
    write_training(
        &place,
        &format!("steps = 1000000, save_every = 25, save = \"{path}\""),
    );
    let running = place.start("run ./long.toml");
    assert!(eventually(PATIENCE, || saved.exists()));
    running.kill();
    place.is_left_alone();
    let step = step_of(&fs::read(&saved).unwrap());
    assert!(step >= 25 && step.is_multiple_of(25), "{step}");
    let end = format!("steps = 1000000, stop = {}", step + 10);
    let resumed = trained(&place, &format!("{end}, resume = \"{path}\""));
    let whole = trained(&place, &end);
    assert_eq!(came_to(&resumed), came_to(&whole));
}

/// The step that a checkpoint tells of.
fn step_of(checkpoint: &[u8]) -> usize {
    let length = u64::from_le_bytes(checkpoint[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&checkpoint[8..8 + length]).unwrap();
    let step = header["__metadata__"]["step"].as_str().unwrap();
    step.parse().unwrap()
}

/// What a training came to is told where it is run and where it is shown, and not its time alone.
#[test]
fn a_run_says_what_its_training_came_to() {
    let place = place();
    let run = place.assay("run ./suites/tiny.toml").exits(0);
    let shown = place.assay("show").exits(0);
    let figures = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("      "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(figures(&run.stdout), figures(&shown.stdout));
    let found = figures(&shown.stdout).join("\n");
    for figure in [
        "items/s",
        "final_loss ",
        "held_out_loss ",
        "perplexity ",
        "bits_per_byte ",
        "mfu_6n ",
        "mfu_palm ",
        "peak_memory ",
        "gradient_norm ",
        "time_attention ",
        "output ",
    ] {
        assert_eq!(found.matches(figure).count(), 1, "{figure}: {shown}");
    }
    assert!(found.lines().all(|line| line.len() <= 120), "{found}");
}

#[test]
fn a_bundle_carries_text_and_tokenizer() {
    if !have("git") {
        return;
    }
    let place = place();
    for arguments in [
        &["init", "-q", "-b", "main", "."][..],
        &["add", "suites"],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "commit",
            "-q",
            "-m",
            "first",
        ],
    ] {
        let status = place.program("git").args(arguments).status();
        assert!(status.unwrap().success(), "{arguments:?}");
    }
    place.assay("run ./suites/tiny.toml").exits(0);
    place.assay("bundle latest -o run.bundle").exits(0);
    let elsewhere = Place::new();
    fs::rename(place.path("run.bundle"), elsewhere.path("run.bundle")).unwrap();
    drop(place);
    elsewhere
        .assay("reproduce run.bundle --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
}

#[test]
fn a_folder_in_the_middle_of_a_parameter_is_refused() {
    let place = place();
    let text = place.read("suites/tiny.toml");
    let wrong = text.replace("{dir}/tokenizer.json", "x/{dir}/tokenizer.json");
    place.write("suites/tiny.toml", wrong);
    place
        .assay("run ./suites/tiny.toml")
        .refuses(&["{dir} stands at the start of an argument, variable or parameter"]);
    place.write("suites/tiny.toml", text);
    fs::remove_file(place.path("suites/tokenizer.json")).unwrap();
    place
        .assay("run ./suites/tiny.toml")
        .refuses(&["file {dir}/tokenizer.json that the suite names"]);
}
