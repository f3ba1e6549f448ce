//! Hashes the code that puts rows into the database and reads them, so that no other takes what it kept (`query/series/kept.rs`).

#[path = "../code_digest.rs"]
mod code_digest;

/// What can change what is read from a database: from the folder of this crate.
const CODE: [&str; 4] = [
    "src",
    "../protocol/src",
    "../record/src",
    "../../Cargo.lock",
];

fn main() {
    code_digest::give("ASSAY_STORE_CODE", &CODE);
}
