//! Parent of one container.
fn main() {}
