//! The order of commits in the repository of the measured project.
//!
//! asv plots commits by their dates, which lie where clocks were wrong or history was rewritten. A repository knows
//! better: here no commit is older than its parents.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use assay_record::Timestamp;
use git2::{Oid, Repository, Sort};

/// Dates of commits that agree with their order.
pub struct Order(HashMap<Oid, i64>);

impl Order {
    /// Of all commits that a repository's references lead to.
    pub fn of(path: &Path) -> Result<Self> {
        Self::read(path).with_context(|| format!("--repo {}", path.display()))
    }

    fn read(path: &Path) -> Result<Self> {
        let repository = Repository::open(path)?;
        let mut walk = repository.revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
        walk.push_glob("*")?;
        // Where no branch is checked out it is a commit of its own.
        let _ = walk.push_head();
        let mut dates = HashMap::new();
        for id in walk {
            let id = id?;
            let commit = repository.find_commit(id)?;
            let parents = commit.parent_ids().filter_map(|parent| dates.get(&parent));
            let after = parents.max().map_or(i64::MIN, |last: &i64| last + 1);
            dates.insert(id, commit.time().seconds().max(after));
        }
        Ok(Self(dates))
    }

    /// When a commit was made; `None` where the repository does not have it.
    pub fn date(&self, commit: &str) -> Option<Timestamp> {
        let seconds = self.0.get(&Oid::from_str(commit).ok()?)?;
        Timestamp::from_unix_ns(seconds.checked_mul(1_000_000_000)?)
    }
}
