//! Hashes the code that pages are made by, so that a newer Assay takes over no page that an older one made.

#[path = "../harness/code_digest.rs"]
mod code_digest;

/// What can change the bytes of a page: from the folder of this crate.
const CODE: [&str; 8] = [
    "src",
    "../templates",
    "../harness/protocol/src",
    "../harness/record/src",
    "../harness/stats/src",
    "../harness/store/src",
    "../harness/verdicts/src",
    "../Cargo.lock",
];

fn main() {
    code_digest::give("ASSAY_SITE_CODE", &CODE);
}
