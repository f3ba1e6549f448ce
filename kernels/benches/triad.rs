//! Triad bandwidth at sizes of each level of the memory hierarchy.
fn main() {}
