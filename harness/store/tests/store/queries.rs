//! What queries return, against the records that went in.

use std::path::Path;

use assay_protocol::Metric;
use assay_record::{Block, BlockStatus, Origin, Source, canonical};
use assay_store::synthetic::Recipe;
use assay_store::{ImportRow, StoreError};

use crate::{Place, night};

pub fn ingest(place: &Place, recipes: &[Recipe]) {
    let mut store = place.writer();
    for recipe in recipes {
        let path = recipe.write(&place.records(), None).unwrap();
        store.ingest_record(&recipe.record(), &path).unwrap();
    }
}

#[test]
fn store_returns_runs_and_documents_as_recorded() {
    let place = Place::new();
    let tagged = Recipe {
        tags: vec!["release".into()],
        ..night("bench-1", 1)
    };
    ingest(&place, &[tagged.clone(), night("bench-1", 0)]);
    let store = place.reader();
    let runs = store.runs().unwrap();
    let record = tagged.record();
    assert_eq!(runs.len(), 2);
    assert!(runs[0].started < runs[1].started);
    assert_eq!(runs[1], store.run(&tagged.run()).unwrap());
    assert_eq!(runs[1].tags, ["release"]);
    assert_eq!(runs[1].commit, Some(tagged.commit()));
    assert_eq!(
        store.manifest(&runs[1].manifest).unwrap().manifest,
        record.header.manifest
    );
    // In canonical form 0.0 is 0, so a document comes back equal in its digest.
    let same = |stored: assay_record::Fingerprint, recorded: assay_record::Fingerprint| {
        assert_eq!(stored.digest().unwrap(), recorded.digest().unwrap());
    };
    let before = store.fingerprint(&runs[1].before).unwrap();
    let after = store.fingerprint(&runs[1].after.unwrap()).unwrap();
    same(before, record.header.fingerprint);
    same(after, record.footer.unwrap().fingerprint);
    assert_eq!(store.events(&tagged.run()).unwrap()[0].text, "made up");
    assert_eq!(store.resolve("tag:release").unwrap(), tagged.run());
    assert_eq!(store.resolve("latest").unwrap(), tagged.run());
    assert_eq!(
        store.resolve("latest~1").unwrap(),
        night("bench-1", 0).run()
    );
    assert!(matches!(
        store.run(&night("bench-1", 7).run()),
        Err(StoreError::UnknownRun { .. })
    ));
}

#[test]
fn store_knows_what_runs_were_imported_from() {
    let place = Place::new();
    ingest(&place, &[night("bench-1", 1), night("bench-1", 0)]);
    let mut record = night("bench-1", 2).record();
    let origin = Origin {
        format: "asv".into(),
        file: "\"source\":{\"imported\":{".into(),
    };
    let suite = &mut record.header.manifest.suite;
    suite.source = Source::Imported(origin.clone());
    let digest = suite.digest;
    record.header.manifest_digest = canonical::digest(&record.header.manifest).unwrap();
    let path = Path::new("/made/up.jsonl");
    place.writer().ingest_record(&record, path).unwrap();
    let run = record.header.run;
    let imports = place.reader().imports().unwrap();
    assert_eq!(
        imports,
        [ImportRow {
            run,
            digest,
            origin
        }]
    );
}

#[test]
fn store_returns_cases_and_samples_as_recorded() {
    let place = Place::new();
    let recipe = night("bench-1", 0);
    ingest(&place, std::slice::from_ref(&recipe));
    let store = place.reader();
    let record = recipe.record();
    let cases = store.cases(&recipe.run()).unwrap();
    let ids: Vec<String> = cases.iter().map(|case| case.case.clone()).collect();
    assert_eq!(ids, recipe.case_ids());
    let first = &cases[0];
    let names: Vec<&str> = first
        .metrics
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    assert_eq!(names, [Metric::TIME, "loss", "peak_memory"]);
    for (round, row) in first.rounds.iter().enumerate() {
        let block = &record.blocks[round * 3];
        let mut times = block.samples.times_ns()[1..].to_vec();
        times.sort_by(f64::total_cmp);
        let median = f64::midpoint(times[4], times[5]);
        assert_eq!(
            row.values,
            [
                Some(median),
                Some(f64::midpoint(1.0 / 6.0, 1.0 / 7.0)),
                Some(4096.0)
            ]
        );
        assert_eq!(row.verification, block.verification);
    }
    let samples = store.samples(&recipe.run(), &ids[0], "main").unwrap();
    assert_eq!(samples.len(), 4);
    assert_eq!(samples[2].samples, record.blocks[6].samples);
    assert!(
        store
            .samples(&recipe.run(), &ids[0], "other")
            .unwrap()
            .is_empty()
    );
}

#[test]
fn store_details_of_a_run_are_those_of_its_rounds_that_count() {
    let place = Place::new();
    let recipe = night("bench-1", 0);
    let mut record = recipe.record();
    record.blocks[3].status = BlockStatus::Wrong("other numbers".into());
    let on_device = &mut record.blocks[1].samples;
    on_device.device_ns = on_device.host_ns.iter().map(|ns| ns / 2).collect();
    let mut store = place.writer();
    store
        .ingest_record(&record, &place.path("a.jsonl"))
        .unwrap();
    let other = Recipe {
        seed: 2,
        ..recipe.clone()
    };
    let mut of_other = other.record();
    for block in &mut of_other.blocks {
        block.samples.host_ns.iter_mut().for_each(|ns| *ns *= 2);
    }
    store
        .ingest_record(&of_other, &place.path("b.jsonl"))
        .unwrap();
    let runs = [other.run(), recipe.run()];
    let detailed = store.detailed_rounds(&runs, |_, _, _| true).unwrap();
    let rounds = &detailed[1];
    let expected: Vec<&Block> = record
        .blocks
        .iter()
        .filter(|block| block.status == BlockStatus::Ok)
        .collect();
    assert_eq!(rounds.len(), expected.len());
    for (round, block) in rounds.iter().zip(expected) {
        assert_eq!((&round.case, round.round), (&block.case, block.round));
        assert_eq!(round.values[Metric::TIME], block.samples.times_ns());
        assert_eq!(
            round.values.get("loss"),
            block.samples.values.get("loss"),
            "{}",
            block.case
        );
        assert_eq!(round.gauges.is_empty(), block.telemetry.is_empty());
    }
    let gauge = &rounds[0].gauges[0];
    let ends = [gauge.steps[0].middle, gauge.steps[1].middle];
    assert_eq!((gauge.unit.as_str(), ends), ("Hz", [3e9, 3.1e9]));
    let case = &recipe.case_ids()[1];
    let is_wanted = |run, of: &str, _: &str| run == 0 && of == case;
    let plain = store.sampled_rounds(&runs, is_wanted).unwrap();
    assert_eq!((plain[0].len(), plain[1].len()), (4, 0));
    assert!(plain[0].iter().all(|round| round.gauges.is_empty()));
    let blocks = of_other.blocks.iter().filter(|block| block.case == *case);
    for (round, block) in plain[0].iter().zip(blocks) {
        assert_eq!(round.values[Metric::TIME], block.samples.times_ns());
    }
}

#[test]
fn store_gauges_of_a_run_cover_it_from_end_to_end() {
    let place = Place::new();
    let recipe = night("bench-1", 0);
    let shorter = Recipe {
        rounds: 2,
        ..night("bench-1", 1)
    };
    ingest(&place, &[recipe.clone(), shorter.clone()]);
    let store = place.reader();
    let none = night("bench-1", 7);
    let runs = [recipe.run(), none.run(), shorter.run()];
    let of_runs = store.run_gauges(&runs).unwrap();
    assert_eq!(of_runs.len(), 2);
    assert_eq!(of_runs[&shorter.run()].length_ns, 3_000_001_000);
    let found = &of_runs[&recipe.run()];
    // Four rounds of three cases, a second apart, of which the first case has readings.
    assert_eq!(found.length_ns, 9_000_001_000);
    let [gauge] = &found.gauges[..] else {
        panic!("{found:?}");
    };
    assert_eq!(gauge.name, "cpu.frequency");
    assert!(gauge.steps.is_sorted_by(|a, b| a.at < b.at));
    let ends = [&gauge.steps[0], &gauge.steps[gauge.steps.len() - 1]];
    assert!(ends[0].at < 0.01 && ends[1].at > 0.99, "{ends:?}");
    let readings = gauge.steps.iter().flat_map(|step| [step.low, step.high]);
    let (low, high) = readings.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    assert_eq!((low, high), (3e9, 3.1e9));
}

#[test]
fn store_series_hold_good_rounds_only() {
    let place = Place::new();
    let mut record = night("bench-1", 0).record();
    record.blocks[0].status = BlockStatus::Failed("crash".into());
    record.blocks[3].status = BlockStatus::Wrong("other numbers".into());
    record.blocks[6].status = BlockStatus::Skipped("no memory".into());
    // The failed visit again, alone, and well.
    let mut again = record.blocks[0].clone();
    again.status = BlockStatus::Ok;
    again.attempt = 1;
    again.samples.host_ns.fill(77_700);
    record.blocks.push(again);
    let mut store = place.writer();
    store
        .ingest_record(&record, &place.path("a.jsonl"))
        .unwrap();
    let series = store.series_of_case(&record.blocks[0].case).unwrap();
    let time = series
        .iter()
        .find(|row| row.key.metric == Metric::TIME)
        .unwrap();
    assert_eq!(time.points.len(), 1);
    let (_, rounds) = time.points.iter().next().unwrap();
    assert_eq!(rounds.len(), 2);
    assert_eq!(rounds[0].to_bits(), 777.0f64.to_bits());
    let case = &store.cases(&record.header.run).unwrap()[0];
    assert_eq!(case.rounds.len(), 5);
    assert_eq!(case.good_values(Metric::TIME), rounds);
}

#[test]
fn store_series_are_apart_by_machine_and_definition_and_in_order() {
    let place = Place::new();
    let recipes: Vec<Recipe> = [3, 1, 2]
        .into_iter()
        .flat_map(|n| [night("bench-1", n), night("ci-runner", n)])
        .collect();
    ingest(&place, &recipes);
    let mut store = place.writer();
    let mut redefined = night("bench-1", 4).record();
    redefined.header.manifest.cases[1].definition = assay_protocol::Digest::of("new");
    store
        .ingest_record(&redefined, &place.path("b.jsonl"))
        .unwrap();
    let series = store.series().unwrap();
    // On each of two machines: three cases' time, loss and peak_memory; and the redefined time.
    assert_eq!(series.len(), 2 * 5 + 1);
    assert!(series.windows(2).all(|pair| pair[0].key < pair[1].key));
    for row in &series {
        assert!(row.points.iter().map(|(run, _)| run).is_sorted());
        assert!(row.points.iter().all(|(_, values)| values.len() == 4));
    }
    let of_case = store
        .series_of_case(&night("bench-1", 1).case_ids()[1])
        .unwrap();
    assert_eq!(of_case.len(), 3);
    assert!(of_case.iter().all(|row| series.contains(row)));
    assert!(store.series_of_case("nobody").unwrap().is_empty());
}

#[test]
fn store_without_runs_says_so() {
    let place = Place::new();
    let error = place.writer().resolve("latest").unwrap_err();
    assert!(matches!(error, StoreError::NoRuns { .. }));
    assert!(place.reader().series().unwrap().is_empty());
}
