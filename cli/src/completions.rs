//! Shell completions: clap's, mended where a shell trips over the colons in our commands.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;

/// The script a shell reads.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "landfall", &mut script);
    match shell {
        Shell::Bash => script.extend_from_slice(include_bytes!("completions.bash")),
        Shell::Zsh => script = with_colons_escaped(script),
        _ => {}
    }
    script
}

/// In zsh's lists of `'name:description'` a colon in the name would be where the description begins.
fn with_colons_escaped(script: Vec<u8>) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(script) else { return Vec::new() };
    for name in Cli::command().get_subcommands().map(clap::Command::get_name).filter(|name| name.contains(':')) {
        text = text.replace(&format!("\n'{name}:"), &format!("\n'{}:", name.replace(':', r"\:")));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests;
