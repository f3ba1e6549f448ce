//! Opening what is locked, damaged, foreign, newer, read-only or missing.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use assay_store::{Access, Patience, Store, StoreError};

use crate::{Place, child, child_folder, night, open};

#[test]
fn store_missing_database_says_what_to_run() {
    let place = Place::new();
    let error = open(&place.database(), Access::Read).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }));
    let text = error.to_string();
    assert!(
        text.contains("assay.duckdb: no database yet: run `assay ingest` or `assay run`"),
        "{text}"
    );
    assert!(!place.database().exists());
}

#[test]
fn store_makes_missing_folders_when_writing() {
    let place = Place::new();
    let path = place.path("a/b/assay.duckdb");
    drop(open(&path, Access::Write).unwrap());
    assert!(
        open(&path, Access::Read)
            .unwrap()
            .runs()
            .unwrap()
            .is_empty()
    );
}

/// Not a test: the other process of the next one.
#[test]
#[ignore = "started by store_waits_for_another_process"]
fn child_holds_the_lock() {
    let Some(folder) = child_folder() else { return };
    let store = open(&folder.join("assay.duckdb"), Access::Write).unwrap();
    println!("held");
    std::io::stdout().flush().unwrap();
    // Until the parent closes the pipe.
    let _ = std::io::stdin().read(&mut [0]);
    drop(store);
}

#[test]
fn store_waits_for_another_process() {
    let place = Place::new();
    drop(place.writer());
    let mut other = child("access::child_holds_the_lock", place.folder.path());
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("held")));

    for access in [Access::Read, Access::Write] {
        let mut told = Vec::new();
        let mut patience = Patience::new(Duration::from_millis(200), |text: &str| {
            told.push(text.to_owned());
        });
        let error = Store::open(&place.database(), access, &mut patience).unwrap_err();
        drop(patience);
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        let pid = format!("process {}", other.id());
        assert!(error.to_string().contains(&pid), "{error}");
        assert_eq!(told.len(), 1);
        assert!(told[0].contains(&pid), "{told:?}");
    }

    let path = place.database();
    let waiting = std::thread::spawn(move || open(&path, Access::Write).map(drop));
    std::thread::sleep(Duration::from_millis(300));
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    waiting.join().unwrap().unwrap();
}

#[test]
fn store_keeps_its_own_process_in_order_too() {
    let place = Place::new();
    let writer = place.writer();
    let hasty = || Patience::silent(Duration::ZERO);
    for access in [Access::Read, Access::Write] {
        let error = Store::open(&place.database(), access, &mut hasty()).unwrap_err();
        assert!(error.to_string().contains("this very process"), "{error}");
    }
    drop(writer);
    let (one, two) = (place.reader(), place.reader());
    drop(one);
    assert!(Store::open(&place.database(), Access::Write, &mut hasty()).is_err());
    drop(two);
    Store::open(&place.database(), Access::Write, &mut hasty()).unwrap();
}

#[test]
fn store_refuses_what_is_no_database_and_leaves_it_alone() {
    let place = Place::new();
    for bytes in [
        &b"# a text file, long enough to hold a header\n"[..],
        &vec![0xff; 20_000],
        b"x",
    ] {
        std::fs::write(place.database(), bytes).unwrap();
        for access in [Access::Read, Access::Write] {
            let error = open(&place.database(), access).unwrap_err();
            assert!(
                matches!(
                    error,
                    StoreError::NotADatabase { .. } | StoreError::Corrupt { .. }
                ),
                "{} bytes: {error:?}",
                bytes.len()
            );
            assert!(error.to_string().contains("assay.duckdb"), "{error}");
        }
        assert_eq!(std::fs::read(place.database()).unwrap(), bytes);
    }
    let folder = open(place.folder.path(), Access::Write).unwrap_err();
    assert!(
        matches!(folder, StoreError::NotADatabase { .. }),
        "{folder}"
    );
}

#[test]
fn store_refuses_a_database_of_sqlite_in_its_own_words() {
    let place = Place::new();
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.resize(8192, 0);
    std::fs::write(place.database(), &bytes).unwrap();
    for access in [Access::Read, Access::Write] {
        let error = open(&place.database(), access).unwrap_err();
        assert!(
            matches!(error, StoreError::NotADatabase { .. }),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(text.contains("name another file"), "{text}");
    }
    assert_eq!(std::fs::read(place.database()).unwrap(), bytes);
}

#[test]
fn store_takes_an_empty_file_for_a_missing_one() {
    let place = Place::new();
    std::fs::write(place.database(), "").unwrap();
    let error = open(&place.database(), Access::Read).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(place.writer().runs().unwrap().is_empty());
    assert!(place.reader().runs().unwrap().is_empty());

    let (link, target) = (place.path("link.duckdb"), place.path("target.duckdb"));
    std::fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    drop(open(&link, Access::Write).unwrap());
    assert!(link.is_symlink());
    assert!(open(&target, Access::Read).is_ok());
}

#[test]
fn store_refuses_a_damaged_database() {
    let place = Place::new();
    let mut store = place.writer();
    for n in 0..3 {
        let recipe = crate::night("bench-1", n);
        let path = recipe.write(&place.records(), None).unwrap();
        store.ingest_record(&recipe.record(), &path).unwrap();
    }
    drop(store);
    let good = std::fs::read(place.database()).unwrap();

    let mut refused = 0;
    let truncated = [4096, 8192, 12_288, good.len() / 2, good.len() - 4096];
    for length in truncated {
        std::fs::write(place.database(), &good[..length]).unwrap();
        refused += usize::from(is_refused(&place));
    }
    assert_eq!(refused, truncated.len(), "cut off");
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        let end = (at + 512).min(bad.len());
        bad[at..end].fill(0xa5);
        std::fs::write(place.database(), &bad).unwrap();
        // A part that is not in use may be anything.
        is_refused(&place);
    }
    std::fs::write(place.database(), &good).unwrap();
    assert!(!is_refused(&place));
}

/// Whether opening or reading everything gives an error, in words, without a panic.
fn is_refused(place: &Place) -> bool {
    let error = open(&place.database(), Access::Read).and_then(|store| store.dump());
    let Err(error) = error else { return false };
    let text = error.to_string();
    assert!(text.contains("assay.duckdb"), "{text}");
    assert!(
        matches!(
            error,
            StoreError::Corrupt { .. }
                | StoreError::NotADatabase { .. }
                | StoreError::NewerFormat { .. }
        ),
        "{error:?}"
    );
    true
}

#[test]
fn store_refuses_a_newer_schema() {
    let place = Place::new();
    drop(place.writer());
    tamper(&place, "INSERT INTO schema_version VALUES (999, 'future')");
    for access in [Access::Read, Access::Write] {
        let error = open(&place.database(), access).unwrap_err();
        assert!(
            matches!(error, StoreError::Newer { found: 999, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("use a newer assay"), "{error}");
    }
}

#[test]
fn store_refuses_a_database_of_somebody_else() {
    let place = Place::new();
    tamper(&place, "CREATE TABLE theirs (x INTEGER)");
    for access in [Access::Read, Access::Write] {
        let error = open(&place.database(), access).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    }
}

#[test]
fn store_read_only_file_can_be_read_and_not_written() {
    let place = Place::new();
    drop(place.writer());
    let chmod = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(&place.database(), 0o444);
    drop(place.reader());
    let error = open(&place.database(), Access::Write).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("the file is read-only; make it writable"),
        "{error}"
    );
    chmod(&place.database(), 0o644);

    chmod(place.folder.path(), 0o555);
    drop(place.reader());
    let error = open(&place.database(), Access::Write).unwrap_err();
    chmod(place.folder.path(), 0o755);
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("its folder"), "{error}");
}

#[test]
fn store_never_reaches_outside() {
    let place = Place::new();
    let mut store = place.writer();
    let recipe = night("bench-1", 0);
    let path = recipe.write(&place.records(), None).unwrap();
    store.ingest_record(&recipe.record(), &path).unwrap();
    drop(store);
    let begun = Instant::now();
    let store = place.reader();
    let names = [
        "x'; COPY runs TO '/tmp/assay-leak'; --",
        "tag:' OR 1=1",
        "../../etc/passwd",
    ];
    for name in names {
        assert!(store.resolve(name).is_err());
        assert!(store.samples(&recipe.run(), name, name).unwrap().is_empty());
    }
    assert!(!std::path::Path::new("/tmp/assay-leak").exists());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Changes a database behind the store's back.
pub fn tamper(place: &Place, sql: &str) {
    let connection = duckdb::Connection::open(place.database()).unwrap();
    connection.execute_batch(sql).unwrap();
}
