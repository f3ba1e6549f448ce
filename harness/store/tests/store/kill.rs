//! `kill -9` in the middle of ingest: the database opens, and holds whole records only.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use assay_store::Access;
use assay_store::synthetic::Recipe;

use crate::{Place, child, child_folder, open};

fn recipe(night: u32) -> Recipe {
    Recipe {
        night,
        samples: 400,
        ..Recipe::default()
    }
}

/// Not a test: the process that gets killed.
#[test]
#[ignore = "started by store_survives_kill"]
fn child_ingests() {
    let Some(folder) = child_folder() else { return };
    for night in 0.. {
        let recipe = recipe(night);
        let mut store = open(&folder.join("assay.duckdb"), Access::Write).unwrap();
        let path = recipe.write(&folder.join("records"), None).unwrap();
        store.ingest_record(&recipe.record(), &path).unwrap();
        println!("done {}", recipe.run());
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn store_survives_kill() {
    for delay_ms in [20, 60, 90, 130, 170, 230, 310, 420] {
        let place = Place::new();
        let mut other = child("kill::child_ingests", place.folder.path());
        std::thread::sleep(Duration::from_millis(delay_ms));
        other.kill().unwrap();
        other.wait().unwrap();
        let lines = BufReader::new(other.stdout.take().unwrap()).lines();
        let done: Vec<String> = lines
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("done ").map(|(_, run)| run.to_owned()))
            .collect();
        if place.database().exists() {
            // What a person would run next.
            let mut store = place.writer();
            let known: Vec<String> = store
                .runs()
                .unwrap()
                .iter()
                .map(|row| row.run.to_string())
                .collect();
            assert!(done.iter().all(|run| known.contains(run)), "{delay_ms} ms");
            store.ingest_folders(&[place.records()]).unwrap();
            drop(store);
            let report = place.reader().verify(&[]).unwrap();
            assert!(
                report.problems.is_empty(),
                "{delay_ms} ms: {:?}",
                report.problems
            );
        } else {
            assert!(done.is_empty());
        }
    }
}

#[test]
fn store_can_be_read_right_after_a_kill() {
    let place = Place::new();
    let mut other = child("kill::child_ingests", place.folder.path());
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let second = lines
        .by_ref()
        .map_while(Result::ok)
        .filter(|line| line.contains("done"))
        .nth(1);
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(second.is_some());
    assert!(place.reader().runs().unwrap().len() >= 2);
}
