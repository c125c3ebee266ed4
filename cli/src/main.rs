//! The landfall command: what a person types, and the entry points of every process.
fn main() {}
