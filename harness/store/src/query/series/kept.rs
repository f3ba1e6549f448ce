//! Values by their series in a file beside the database, so that after a night those of that night alone are read from it: the
//! database has them by their runs, and to turn a million round takes longer than to draw what changed.
//!
//! Whoever reads all series writes it, and nobody needs it: it is left out of account unless it is whole, was written by the same
//! code, for this very file, and of each run in it the database still has the record. Like the database it can be deleted.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use assay_protocol::Digest;
use assay_record::RunId;
use serde::{Deserialize, Serialize};

use super::gathered::{Column, Gathered, Group, Origin, Value};

/// What the name of the file ends with, after that of the database.
const ENDING: &str = ".series";
/// Digest of the code that puts rows into the database and reads them.
const CODE: &str = env!("ASSAY_STORE_CODE");
/// Bytes of a value: number of its run, round, number; little endian.
const VALUE: usize = 16;
/// Bytes of the digest that ends the file.
const DIGEST: usize = 32;

/// What the file begins with, behind its length in eight bytes; the values of all columns follow, one after another.
#[derive(Serialize, Deserialize)]
struct Head {
    code: String,
    database: Identity,
    runs: Vec<Origin>,
    groups: Vec<(i64, Group)>,
    /// Series, metric, how many values.
    columns: Vec<(i64, String, usize)>,
}

/// Which file a database is: one that is built anew may have other values of the same records.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    inode: u64,
    /// Nanoseconds since 1970, where the file system knows.
    created: Option<u128>,
}

impl Identity {
    /// Of a database; `None` where there is no such file.
    pub fn of(database: &Path) -> Option<Self> {
        let meta = fs::metadata(database).ok()?;
        let created = meta.created().ok();
        let created = created.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Some(Self {
            inode: meta.ino(),
            created: created.map(|since| since.as_nanos()),
        })
    }
}

/// Where values are kept by their series, beside a database.
pub fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

/// What was kept of a database that has these runs now, by their numbers among these; `None` where that cannot be relied on.
pub fn read(database: &Path, runs: &[Origin]) -> Option<Gathered> {
    let bytes = fs::read(path(database)).ok()?;
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if Digest::of(content).as_bytes()[..] != *digest {
        return None;
    }
    let (length, rest) = content.split_at_checked(size_of::<u64>())?;
    let length = u64::from_le_bytes(length.try_into().ok()?);
    let (head, values) = rest.split_at_checked(length.try_into().ok()?)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    if head.code != CODE || head.database != Identity::of(database)? {
        return None;
    }
    let numbers = numbers(&head.runs, runs)?;
    Some(Gathered {
        runs: head.runs,
        groups: head.groups.into_iter().collect(),
        columns: columns(&head.columns, values, &numbers)?,
    })
}

/// The present number of each run; `None` if one is no longer there, or is no longer what it was.
fn numbers(old: &[Origin], runs: &[Origin]) -> Option<Vec<u32>> {
    let present: HashMap<&RunId, (u32, &str)> = (0..)
        .zip(runs)
        .map(|(number, origin)| (&origin.run, (number, origin.head.as_str())))
        .collect();
    let number = |origin: &Origin| {
        let (number, head) = present.get(&origin.run)?;
        (*head == origin.head).then_some(*number)
    };
    old.iter().map(number).collect()
}

fn columns(
    listed: &[(i64, String, usize)],
    mut values: &[u8],
    numbers: &[u32],
) -> Option<foldhash::HashMap<i64, Vec<Column>>> {
    let mut columns: foldhash::HashMap<i64, Vec<Column>> = foldhash::HashMap::default();
    for (series, metric, count) in listed {
        let (own, rest) = values.split_at_checked(count.checked_mul(VALUE)?)?;
        values = rest;
        let own = own.chunks_exact(VALUE).map(|bytes| value(bytes, numbers));
        let column = Column {
            metric: metric.clone(),
            values: own.collect::<Option<_>>()?,
        };
        columns.entry(*series).or_default().push(column);
    }
    values.is_empty().then_some(columns)
}

fn value(bytes: &[u8], numbers: &[u32]) -> Option<Value> {
    let (place, number) = bytes.split_first_chunk::<8>()?;
    let place = u64::from_le_bytes(*place);
    let run = numbers.get(usize::try_from(place >> u32::BITS).ok()?)?;
    Some(Value {
        run: *run,
        round: place as u32,
        number: f64::from_le_bytes(number.try_into().ok()?),
    })
}

/// Keeps what was gathered of a database. Where that cannot be done, it is gathered again next time.
pub fn write(database: &Path, gathered: &mut Gathered) {
    gathered.sort();
    if let Some(content) = encoded(database, gathered) {
        let _ = put(&path(database), &content);
    }
}

fn encoded(database: &Path, gathered: &Gathered) -> Option<Vec<u8>> {
    let all = gathered.columns.iter();
    let all = all.flat_map(|(series, columns)| columns.iter().map(move |column| (series, column)));
    let listed =
        |(series, column): (&i64, &Column)| (*series, column.metric.clone(), column.values.len());
    let groups = gathered.groups.iter();
    let head = Head {
        code: CODE.into(),
        database: Identity::of(database)?,
        runs: gathered.runs.clone(),
        groups: groups.map(|(key, group)| (*key, group.clone())).collect(),
        columns: all.clone().map(listed).collect(),
    };
    let head = serde_json::to_vec(&head).ok()?;
    let values: usize = all.clone().map(|(_, column)| column.values.len()).sum();
    let mut content = Vec::with_capacity(size_of::<u64>() + head.len() + values * VALUE + DIGEST);
    content.extend((head.len() as u64).to_le_bytes());
    content.extend(head);
    for value in all.flat_map(|(_, column)| &column.values) {
        let place = u64::from(value.run) << u32::BITS | u64::from(value.round);
        content.extend(place.to_le_bytes());
        content.extend(value.number.to_le_bytes());
    }
    let digest = Digest::of(&content);
    content.extend(digest.as_bytes());
    Some(content)
}

/// Puts a file into its place as a whole: several processes may be reading and writing it.
fn put(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(name);
    let written = fs::File::create(&part).and_then(|mut file| file.write_all(content));
    let put = written.and_then(|()| fs::rename(&part, path));
    put.inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}
