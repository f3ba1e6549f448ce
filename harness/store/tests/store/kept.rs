//! What is kept beside the database of all series: whatever becomes of it or of the runs, nobody can tell from what is read.

use std::fs;
use std::time::Duration;

use assay_record::BlockStatus;
use assay_store::{Patience, SeriesRow, Store};

use crate::queries::ingest;
use crate::{Place, night};

/// All series, and the same as the tables alone have them.
fn both(place: &Place) -> [Vec<SeriesRow>; 2] {
    let with = place.reader().series().unwrap();
    let alone = place.writer().series().unwrap();
    [with, alone]
}

fn agree(place: &Place) -> usize {
    let [with, alone] = both(place);
    assert_eq!(with, alone);
    with.iter().map(|row| row.points.len()).sum()
}

fn kept(place: &Place) -> Vec<u8> {
    fs::read(place.path("assay.duckdb.series")).unwrap()
}

#[test]
fn store_reads_of_all_series_what_is_new_and_nobody_can_tell() {
    let place = Place::new();
    let some: Vec<_> = (10..14).map(|n| night("bench-1", n)).collect();
    ingest(&place, &some);
    assert_eq!(agree(&place), 4 * 5);
    let first = kept(&place);
    // Later ones, one between those that were there, one before them all, another machine.
    let more = [
        night("bench-1", 14),
        night("bench-1", 3),
        night("ci-runner", 12),
    ];
    for (at, recipe) in more.iter().enumerate() {
        ingest(&place, std::slice::from_ref(recipe));
        assert_eq!(agree(&place), (5 + at) * 5);
    }
    // A few are read again rather than written, and many are not.
    assert_eq!(kept(&place), first);
    let many: Vec<_> = (20..40).map(|n| night("bench-1", n)).collect();
    ingest(&place, &many);
    assert_eq!(agree(&place), (7 + 20) * 5);
    assert_ne!(kept(&place), first);
}

#[test]
fn store_believes_what_it_kept_of_the_same_records_alone() {
    let place = Place::new();
    // One of them is still going on.
    let growing = night("bench-1", 1);
    let records = place.records();
    growing.write(&records, Some(6)).unwrap();
    night("bench-1", 0).write(&records, None).unwrap();
    let take = || {
        let mut store = place.writer();
        assert!(
            store
                .ingest_folders(std::slice::from_ref(&records))
                .unwrap()
                .failures
                .is_empty()
        );
    };
    take();
    let values = || -> usize {
        agree(&place);
        let series = place.reader().series().unwrap();
        let points = series.iter().flat_map(|row| row.points.iter());
        points.map(|(_, values)| values.len()).sum()
    };
    let before = values();
    growing.write(&records, None).unwrap();
    take();
    assert!(values() > before);
    // Built anew: it may have other values of the same records.
    let old = kept(&place);
    let mut patience = Patience::silent(Duration::from_secs(20));
    Store::rebuild(&place.database(), &[records], &mut patience).unwrap();
    agree(&place);
    assert_ne!(kept(&place), old);
}

#[test]
fn store_asks_the_last_run_what_a_series_is() {
    let place = Place::new();
    ingest(&place, &[night("bench-1", 0)]);
    agree(&place);
    let case = night("bench-1", 0).case_ids()[0].clone();
    let without = |n: u32| {
        let mut record = night("bench-1", n).record();
        for block in record.blocks.iter_mut().filter(|block| block.case == case) {
            let prepared = block.prepared.as_mut().unwrap();
            prepared.metrics.retain(|metric| metric.name != "loss");
            block.samples.values.retain(|name, _| name != "loss");
            prepared.work.bytes = Some(u64::from(n) + 7);
        }
        record
    };
    let put = |record: assay_record::Record| {
        let path = place.path(&format!("{}.jsonl", record.header.run));
        place.writer().ingest_record(&record, &path).unwrap();
    };
    // A metric that is no longer declared has no series, whatever was kept of it.
    put(without(1));
    let names = |series: &[SeriesRow]| -> Vec<String> {
        let of_case = series.iter().filter(|row| row.key.case == case);
        of_case.map(|row| row.metric.name.clone()).collect()
    };
    let [with, alone] = both(&place);
    assert_eq!(with, alone);
    assert_eq!(names(&with), ["peak_memory", "time"]);
    let bytes = with
        .iter()
        .find(|row| row.key.case == case)
        .unwrap()
        .work
        .bytes;
    assert_eq!(bytes, Some(8));
    // And has all of its points again as soon as one declares it.
    put(night("bench-1", 2).record());
    let [with, alone] = both(&place);
    assert_eq!(with, alone);
    assert_eq!(names(&with), ["loss", "peak_memory", "time"]);
    // What never went well declares nothing new, and has no point.
    let mut failed = night("bench-1", 3).record();
    for block in &mut failed.blocks {
        block.status = BlockStatus::Failed("why not".into());
    }
    put(failed);
    agree(&place);
}

#[test]
fn store_takes_no_damaged_file_for_what_it_kept() {
    let place = Place::new();
    ingest(&place, &[night("bench-1", 0), night("bench-1", 1)]);
    agree(&place);
    let whole = kept(&place);
    let path = place.path("assay.duckdb.series");
    for at in [0, 9, whole.len() / 2, whole.len() - 40, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(agree(&place), 10);
        // It is written anew.
        assert_eq!(kept(&place).len(), whole.len());
        assert_ne!(kept(&place), damaged);
    }
    for end in [0, 1, 40, whole.len() - 1] {
        fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(agree(&place), 10);
    }
    // Another database's: what is beside a copy is of the original.
    let copy = Place::new();
    fs::copy(place.database(), copy.database()).unwrap();
    fs::write(copy.path("assay.duckdb.series"), &whole).unwrap();
    ingest(&copy, &[night("bench-1", 2)]);
    assert_eq!(agree(&copy), 15);
    assert_ne!(kept(&copy), whole);
}
