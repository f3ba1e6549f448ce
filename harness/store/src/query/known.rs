//! What was read and stays true: of a database that nobody can write to meanwhile each of it is read once. So a site of a hundred
//! suites asks for all that it will need of their runs in a few statements, and then has it wherever it looks at one of them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use assay_protocol::Digest;
use assay_record::{Fingerprint, Manifest, RunId, Shared};

use super::spans::Spans;
use crate::rows::{CaseRow, EventRow, RunRow};

/// All of it, for every connection that shares a database.
#[derive(Default)]
pub struct Known {
    /// Every run, oldest first.
    pub runs: OnceLock<Shared<Vec<RunRow>>>,
    /// Cases of runs.
    pub cases: Memo<RunId, Vec<Shared<CaseRow>>>,
    /// What happened during runs.
    pub events: Memo<RunId, Vec<EventRow>>,
    /// Manifests by their digests.
    pub manifests: Memo<Digest, Manifest>,
    /// Likewise fingerprints.
    pub fingerprints: Memo<Digest, Fingerprint>,
    /// Where the rows of runs lie, by table.
    pub spans: Memo<&'static str, Arc<Spans>>,
    /// How many statements it took so far.
    pub statements: AtomicUsize,
}

/// Things that were asked for, by their names.
pub struct Memo<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Ord + Clone, V> Memo<K, V> {
    /// What is known, once all that is asked for is: of that, `read` is given what was not, unless that is nothing.
    pub fn with<Q, I, E>(
        &self,
        asked: impl IntoIterator<Item = Q>,
        read: impl FnOnce(&BTreeSet<K>) -> Result<I, E>,
    ) -> Result<MutexGuard<'_, HashMap<K, V>>, E>
    where
        Q: Borrow<K>,
        I: IntoIterator<Item = (K, V)>,
    {
        let mut known = self.known();
        let asked = asked.into_iter();
        let new = asked.filter(|key| !known.contains_key(key.borrow()));
        let new: BTreeSet<K> = new.map(|key| key.borrow().clone()).collect();
        if !new.is_empty() {
            // Others may have what they ask for meanwhile.
            drop(known);
            let found = read(&new)?;
            known = self.known();
            known.extend(found);
        }
        Ok(known)
    }

    /// What is known so far.
    pub fn known(&self) -> MutexGuard<'_, HashMap<K, V>> {
        // What is in a map is whole, whoever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Ord + Clone, V: Clone> Memo<K, V> {
    /// One thing. Who asks for it while it is read waits, rather than read it too.
    pub fn one<E>(&self, key: K, read: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let mut known = self.known();
        if let Some(found) = known.get(&key) {
            return Ok(found.clone());
        }
        let found = read()?;
        known.insert(key, found.clone());
        Ok(found)
    }

    /// All that is asked for; `read` as above.
    pub fn all<E>(
        &self,
        asked: &BTreeSet<K>,
        read: impl FnOnce(&BTreeSet<K>) -> Result<BTreeMap<K, V>, E>,
    ) -> Result<BTreeMap<K, V>, E> {
        let known = self.with(asked, read)?;
        let own = |key: &K| Some((key.clone(), known.get(key)?.clone()));
        Ok(asked.iter().filter_map(own).collect())
    }

    /// Of several, in their order; `read` as above, its answers in the order of what it is given.
    pub fn each<E>(
        &self,
        asked: &[K],
        read: impl FnOnce(&[K]) -> Result<Vec<V>, E>,
    ) -> Result<Vec<V>, E> {
        let known = self.with(asked, |new| {
            let new: Vec<K> = new.iter().cloned().collect();
            let found = read(&new)?;
            Ok(new.into_iter().zip(found))
        })?;
        Ok(asked
            .iter()
            .filter_map(|key| known.get(key).cloned())
            .collect())
    }
}
