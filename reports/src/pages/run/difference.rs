//! What differs on the machine from the run before on it.

use assay_store::RunRow;
use serde::Serialize;

use crate::model::Library;
use crate::pages::part::{self, FieldView, Link, cell};

/// Most fields that are listed.
const FIELDS: usize = 100;

/// The run before, and what differs.
#[derive(Serialize)]
pub struct DifferenceView {
    before: Link,
    at: String,
    /// Whether both fingerprints are at hand.
    is_known: bool,
    fields: Vec<DifferentField>,
    more: usize,
}

#[derive(Serialize)]
struct DifferentField {
    name: String,
    before: FieldView,
    after: FieldView,
}

/// `None` for the first run on a machine.
pub fn view(library: &Library<'_>, run: &RunRow) -> Option<DifferenceView> {
    let before = library.before(run)?;
    let prints = library
        .fingerprint(&before.before)
        .zip(library.fingerprint(&run.before));
    let all = prints.map_or(Vec::new(), |(before, after)| before.differences(after));
    let field = |found: &assay_record::fingerprint::Difference<'_>| DifferentField {
        name: cell(&format!("{}.{}", found.part, found.name)),
        before: part::field_view(found.name, found.before),
        after: part::field_view(found.name, found.after),
    };
    Some(DifferenceView {
        before: part::run_link(&before.run),
        at: before.started.minute(),
        is_known: prints.is_some(),
        fields: all.iter().take(FIELDS).map(field).collect(),
        more: all.len().saturating_sub(FIELDS),
    })
}
