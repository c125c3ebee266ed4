//! The `pre-receive` hook as a program of its own, for installations that do not link it to `landfall`.

fn main() -> std::process::ExitCode {
    landfall_builder::hook::pre_receive_main()
}
