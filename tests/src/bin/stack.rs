//! Makes the base images that instances under test share, unless they are there: for tests that this crate does not start itself.

fn main() -> anyhow::Result<()> {
    landfall_tests::stack::make()
}
