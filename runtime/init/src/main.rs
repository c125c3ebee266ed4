//! pid 1 of a container: reaps, forwards signals.
fn main() {}
