//! What was read and stays true: of a database that nobody can write to meanwhile each of it is read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use assay_protocol::Digest;
use assay_record::{Fingerprint, RunId, Shared};

use super::spans::Spans;
use crate::rows::{CaseRow, RunRow};

/// All of it, for every connection that shares a database.
#[derive(Default)]
pub struct Known {
    /// Every run.
    pub runs: OnceLock<Vec<RunRow>>,
    cases: Mutex<HashMap<RunId, Vec<Shared<CaseRow>>>>,
    spans: Mutex<HashMap<&'static str, Arc<Spans>>>,
    fingerprints: Mutex<HashMap<Digest, Fingerprint>>,
}

impl Known {
    /// The cases of runs that were asked for.
    pub fn cases(&self) -> MutexGuard<'_, HashMap<RunId, Vec<Shared<CaseRow>>>> {
        held(&self.cases)
    }

    /// The fingerprints that were asked for.
    pub fn fingerprints(&self) -> MutexGuard<'_, HashMap<Digest, Fingerprint>> {
        held(&self.fingerprints)
    }

    /// Where the rows of runs lie, by table.
    pub fn spans(&self) -> MutexGuard<'_, HashMap<&'static str, Arc<Spans>>> {
        held(&self.spans)
    }
}

/// What is in a map is whole, whoever panicked beside it.
fn held<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
