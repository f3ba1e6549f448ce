//! The schema's versions: numbered migrations, forward only, all that are due in one transaction.

mod frames;

use std::path::Path;

use duckdb::{Connection, params};

use crate::error::StoreError;
use crate::query::Fault;

/// Every migration there ever was, in order: the first makes version 1.
const MIGRATIONS: &[&[Step]] = &[
    &[Step::Sql(include_str!("migrations/0001.sql"))],
    &[Step::Sql(include_str!("migrations/0002.sql"))],
    &[Step::Sql(include_str!("migrations/0003.sql"))],
    &[
        Step::Sql(include_str!("migrations/0004.sql")),
        Step::Code(frames::split),
    ],
];

/// A part of a migration.
enum Step {
    Sql(&'static str),
    /// What SQL alone cannot do.
    Code(fn(&Connection) -> Result<(), Fault>),
}

/// Version of the schema that this Assay writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Tables whose rows belong to one run, with the column that orders them within its record.
pub(crate) const RUN_TABLES: &[(&str, &str)] = &[
    ("workers", "worker_no"),
    ("cases", "case_no"),
    ("results", "block"),
    ("samples", "block"),
    ("sample_values", "block"),
    ("round_values", "block"),
    ("telemetry", "block"),
    ("events", "event"),
];

/// Version of an open database; 0 where nothing was created yet.
pub(crate) fn version(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    let wrong = |error: duckdb::Error| StoreError::of_duckdb(path, &error);
    let newest = || -> Result<Option<i64>, duckdb::Error> {
        let sql = "SELECT max(version) FROM schema_version";
        connection.query_row(sql, [], |row| row.get(0))
    };
    // Mostly it is there; to list tables takes several times as long.
    if let Ok(Some(found)) = newest()
        && let Ok(found) = u32::try_from(found)
    {
        return Ok(found);
    }
    let (tables, versioned): (i64, i64) = connection
        .query_row(
            "SELECT count(*), count(*) FILTER (table_name = 'schema_version') FROM duckdb_tables() WHERE NOT internal",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(wrong)?;
    if tables == 0 {
        return Ok(0);
    }
    if versioned == 0 {
        return Err(StoreError::Foreign { path: path.into() });
    }
    let found = newest().map_err(wrong)?;
    u32::try_from(found.unwrap_or(0)).map_err(|_| StoreError::Corrupt {
        path: path.into(),
        what: "table `schema_version` holds a version below zero or past 2^32".into(),
    })
}

/// Brings a database that is open for writing up to date.
pub(crate) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    migrate_with(connection, path, MIGRATIONS)
}

/// As [`migrate`], with any list of migrations.
fn migrate_with(
    connection: &Connection,
    path: &Path,
    migrations: &[&[Step]],
) -> Result<(), StoreError> {
    let found = version(connection, path)?;
    let known = migrations.len() as u32;
    if found > known {
        return Err(StoreError::Newer {
            path: path.into(),
            found,
            known,
        });
    }
    if found == known {
        return Ok(());
    }
    apply(connection, found, &migrations[found as usize..]).map_err(|fault| {
        match fault.downcast::<duckdb::Error>() {
            Ok(error) => StoreError::of_duckdb(path, &error),
            Err(fault) => StoreError::Corrupt {
                path: path.into(),
                what: format!("a value that assay did not write: {fault}"),
            },
        }
    })
}

/// Applies the migrations after version `found`, or none.
fn apply(connection: &Connection, found: u32, due: &[&[Step]]) -> Result<(), Fault> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, tool VARCHAR NOT NULL)",
    )?;
    for (version, steps) in (found + 1..).zip(due) {
        for step in *steps {
            match step {
                Step::Sql(sql) => transaction.execute_batch(sql)?,
                Step::Code(run) => run(&transaction)?,
            }
        }
        transaction.execute(
            "INSERT INTO schema_version VALUES (?, ?)",
            params![version, env!("CARGO_PKG_VERSION")],
        )?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use duckdb::Connection;

    use assay_record::{Origin, Source, canonical};

    use super::{MIGRATIONS, SCHEMA_VERSION, Step, migrate_with, version};
    use crate::contents;
    use crate::error::StoreError;
    use crate::load::{load, run_key};
    use crate::synthetic::Recipe;

    const MADE_UP: [&[Step]; 3] = [
        &[Step::Sql(
            "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7);",
        )],
        &[Step::Sql("ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 1;")],
        &[
            Step::Sql("CREATE TABLE b (z INTEGER);"),
            Step::Code(|connection| {
                connection.execute("INSERT INTO b SELECT x + y FROM a", [])?;
                Ok(())
            }),
        ],
    ];

    fn database() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn store_migrates_from_every_version_to_the_current_one() {
        let path = Path::new("made-up");
        for from in 0..=MADE_UP.len() {
            let connection = database();
            migrate_with(&connection, path, &MADE_UP[..from]).unwrap();
            assert_eq!(version(&connection, path).unwrap() as usize, from);
            migrate_with(&connection, path, &MADE_UP).unwrap();
            migrate_with(&connection, path, &MADE_UP).unwrap();
            let z: i64 = connection
                .query_row("SELECT z FROM b", [], |row| row.get(0))
                .unwrap();
            assert_eq!(z, 8, "from version {from}");
        }
    }

    #[test]
    fn store_migration_that_fails_leaves_the_version_before() {
        let (connection, path) = (database(), Path::new("made-up"));
        migrate_with(&connection, path, &MADE_UP[..1]).unwrap();
        let broken: [&[Step]; 3] = [
            MADE_UP[0],
            MADE_UP[1],
            &[
                Step::Sql("CREATE TABLE b (z INTEGER);"),
                Step::Code(|_| Err("made up".into())),
            ],
        ];
        assert!(migrate_with(&connection, path, &broken).is_err());
        assert_eq!(version(&connection, path).unwrap(), 1);
        migrate_with(&connection, path, &MADE_UP).unwrap();
    }

    #[test]
    fn store_refuses_a_newer_schema_and_a_foreign_database() {
        let (connection, path) = (database(), Path::new("made-up"));
        migrate_with(&connection, path, &MADE_UP).unwrap();
        let newer = migrate_with(&connection, path, &MADE_UP[..2]);
        assert!(matches!(
            newer,
            Err(StoreError::Newer {
                found: 3,
                known: 2,
                ..
            })
        ));
        let foreign = database();
        foreign
            .execute_batch("CREATE TABLE theirs (x INTEGER)")
            .unwrap();
        assert!(matches!(
            migrate_with(&foreign, path, MIGRATIONS),
            Err(StoreError::Foreign { .. })
        ));
    }

    /// Names of all columns.
    fn columns(connection: &Connection) -> Vec<String> {
        let sql = "SELECT table_name || '.' || column_name FROM duckdb_columns() WHERE NOT internal ORDER BY 1";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn store_database_of_version_1_becomes_what_a_rebuilt_one_is() {
        let (connection, path) = (database(), Path::new("made-up"));
        migrate_with(&connection, path, MIGRATIONS).unwrap();
        let mut record = Recipe::default().record();
        record.header.manifest.suite.source = Source::Imported(Origin {
            format: "asv".into(),
            file: "a/b.json".into(),
        });
        record.header.manifest_digest = canonical::digest(&record.header.manifest).unwrap();
        record.header.timer_overhead_ns = None;
        record.blocks.iter_mut().for_each(|b| b.disturbed.clear());
        load(&connection, &record, path, 0).unwrap();
        let key = run_key(&record.header.run);
        let rebuilt = contents::whole(&connection, key).unwrap();
        let documents = documents(&connection);
        let manifest = canonical::to_canonical(&record.header.manifest).unwrap();
        connection
            .execute(
                "UPDATE manifests SET json = ?",
                [String::from_utf8(manifest).unwrap()],
            )
            .unwrap();
        connection
            .execute_batch(
                "ALTER TABLE manifests DROP COLUMN cases; DROP TABLE case_lists;
                 ALTER TABLE runs DROP COLUMN imported_format;
                 ALTER TABLE runs DROP COLUMN imported_file; ALTER TABLE runs DROP COLUMN imported_digest;
                 ALTER TABLE runs DROP COLUMN purpose; ALTER TABLE runs DROP COLUMN confirms;
                 ALTER TABLE runs DROP COLUMN timer_overhead_ns; ALTER TABLE results DROP COLUMN disturbed;
                 DROP VIEW rooflines; ALTER TABLE cases DROP COLUMN memory_level;
                 ALTER TABLE cases DROP COLUMN arithmetic_unit; ALTER TABLE cases DROP COLUMN facts;
                 ALTER TABLE cases DROP COLUMN clock_resolution_ns;
                 CREATE TABLE marks (case_id VARCHAR, run VARCHAR, kind VARCHAR, reason VARCHAR, until BIGINT);
                 DELETE FROM schema_version WHERE version > 1",
            )
            .unwrap();
        let first = database();
        migrate_with(&first, path, &MIGRATIONS[..1]).unwrap();
        assert_eq!(columns(&connection), columns(&first));
        migrate_with(&connection, path, MIGRATIONS).unwrap();
        assert_eq!(contents::whole(&connection, key).unwrap(), rebuilt);
        assert_eq!(self::documents(&connection), documents);
    }

    /// Manifests and lists of cases.
    fn documents(connection: &Connection) -> Vec<[String; 3]> {
        let sql = "SELECT * FROM manifests UNION ALL SELECT digest, json, '' FROM case_lists ORDER BY ALL";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]));
        rows.unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn store_schema_of_today_is_made_from_nothing() {
        let (connection, path) = (database(), Path::new("made-up"));
        migrate_with(&connection, path, MIGRATIONS).unwrap();
        assert_eq!(version(&connection, path).unwrap(), SCHEMA_VERSION);
    }
}
