use std::process::Command;

use super::*;

/// What bash offers for a line, as readline splits it: at blanks and at colons, which are words of their own.
fn offered(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let mut rest = word;
        while let Some(at) = rest.find(':') {
            words.extend((at > 0).then(|| &rest[..at]));
            words.push(":");
            rest = &rest[at + 1..];
        }
        words.extend((!rest.is_empty()).then_some(rest));
    }
    if line.ends_with(' ') {
        words.push("");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("landfall");
    std::fs::write(&file, script(Shell::Bash)).unwrap();
    let asks = "source \"$1\"; shift; COMP_LINE=$1; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                COMP_POINT=${#COMP_LINE}; _landfall_with_colons landfall; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["--norc", "-c", asks, "bash"]).arg(&file).arg(line).args(&words).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut offers: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    offers.retain(|offer| !offer.is_empty());
    offers.sort();
    offers
}

#[test]
fn zsh_is_told_where_a_name_ends() {
    let script = String::from_utf8(script(Shell::Zsh)).unwrap();
    assert!(script.contains(r"'ps\:scale:Show or change"), "{script}");
    assert!(script.contains("'ps:List dynos'") && !script.contains("'ps:scale:"));
}

#[test]
fn bash_completes_commands_with_colons() {
    assert_eq!(offered("landfall cre"), ["create"]);
    assert_eq!(offered("landfall ps:sc"), ["scale"], "what stands before the colon is typed already");
    assert_eq!(offered("landfall ps:"), ["exec", "restart", "scale", "stop", "type"].map(str::to_owned));
    assert!(offered("landfall ps").contains(&"ps:scale".to_owned()));
    assert!(offered("landfall ps:scale --j").contains(&"--json".to_owned()));
    assert!(offered("landfall ps:scale -").contains(&"--app".to_owned()));
    assert!(offered("landfall run --").contains(&"--no-tty".to_owned()));
    assert_eq!(offered("landfall no-such-command:x"), [""; 0]);
}
