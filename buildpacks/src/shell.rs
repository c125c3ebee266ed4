//! Which lines of a Procfile are one simple command, so that `exec` may stand before them and signals reach the app.
//!
//! The line is never run here; it runs in the dyno, under the app's own user.

/// Words that mean something to the shell at the start of a command, or change the shell itself: `exec` before them would break the line.
const NOT_PROGRAMS: &[&str] = &[
    "!", ".", ":", "[[", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd", "command", "compgen", "continue", "coproc",
    "declare", "dirs", "disown", "do", "done", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export", "fg", "fi", "for",
    "function", "getopts", "hash", "help", "if", "jobs", "let", "local", "logout", "mapfile", "popd", "pushd", "read", "readonly",
    "return", "select", "set", "shift", "shopt", "source", "then", "time", "times", "trap", "type", "typeset", "ulimit", "umask",
    "unalias", "unset", "until", "wait", "while", "{", "}",
];

/// Whether `line` is one program with arguments: no list, pipe, group, substitution, redirection, leading assignment or shell word.
pub fn is_simple(line: &str) -> bool {
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    let assignment =
        first.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    !first.is_empty()
        && !assignment
        && !first.starts_with('#')
        && !NOT_PROGRAMS.contains(&first)
        && !line.contains([';', '&', '|', '(', ')', '<', '>', '`', '\n'])
}

/// `line`, with `exec` before it if it is a simple command.
pub fn with_exec(line: &str) -> String {
    if is_simple(line) { format!("exec {}", line.trim_start()) } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_simple_commands_are_replaced() {
        assert_eq!(with_exec("gunicorn app:app --bind 0.0.0.0:$PORT"), "exec gunicorn app:app --bind 0.0.0.0:$PORT");
        for line in [
            "cd web && node .",
            "A=1 node .",
            "while true; do x; done",
            "exec node .",
            "a | b",
            "echo $(date)",
            "node . > log",
            "",
            "# only",
        ] {
            assert_eq!(with_exec(line), line);
        }
    }
}
