//! `landfall-buildpacks`: acts by the path it was started as, or by its first argument.

fn main() -> std::process::ExitCode {
    landfall_buildpacks::run()
}
