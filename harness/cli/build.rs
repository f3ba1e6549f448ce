//! Hashes the code that collects what a site shows, so that a newer Assay takes no site for its own that an older one made
//! (`site/unchanged.rs`). What pages are made by beyond that, `assay-reports` hashes.

#[path = "../code_digest.rs"]
mod code_digest;

fn main() {
    code_digest::give("ASSAY_CLI_CODE", &["src", "../machine/src"]);
}
