//! `landfall-lifecycle build` in the build container; the launcher under any other name.

fn main() -> std::process::ExitCode {
    landfall_lifecycle::run()
}
