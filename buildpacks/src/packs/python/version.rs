//! Which Python the app asks for, against the one the stack has.

use std::process::Command;

use super::PYTHON;
use crate::contract::{Build, Problem};

/// Full version of the stack's Python and what decided for it; a refusal in words if the app wants another minor version.
pub(super) fn check(build: &Build) -> Result<(String, String), Problem> {
    let asked = Command::new(PYTHON).args(["-c", "import platform; print(platform.python_version())"]).output();
    let full = match asked {
        Ok(said) if said.status.success() => String::from_utf8_lossy(&said.stdout).trim().to_owned(),
        _ => {
            return Err(Problem::new(format!(
                "This stack has no Python: {PYTHON} does not run.\nChoose another stack: `landfall stacks` lists them."
            )));
        }
    };
    match wanted(build)? {
        None => Ok((full, "no version asked for".into())),
        Some((file, spec)) if fits(&spec, &full) => Ok((full, format!("{file} asks for {spec}"))),
        Some((file, spec)) => Err(Problem::new(format!(
            "The app wants Python {spec}, this stack has Python {full}.\n\n{file} asks for {spec}.\n\
             Use a stack with that version (`landfall stacks` lists them; Debian 13 has Python 3.13, Debian 12 has 3.11),\n\
             or change {file} to {}, commit and push again.",
            minor(&full)
        ))),
    }
}

fn wanted(build: &Build) -> Result<Option<(&'static str, String)>, Problem> {
    for file in ["runtime.txt", ".python-version"] {
        if let Some(text) = build.app_text(file)? {
            let mut lines = text.lines().map(|l| l.split('#').next().unwrap_or_default().trim()).filter(|l| !l.is_empty());
            let line = lines.next().unwrap_or_default();
            let spec = line.strip_prefix("python-").unwrap_or(line);
            if spec.is_empty() || !spec.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit())) {
                return Err(Problem::new(format!(
                    "{file} does not hold a Python version: {line:?}\nWrite a version such as 3.13 (in runtime.txt: python-3.13)."
                )));
            }
            return Ok(Some((file, spec.to_owned())));
        }
    }
    let Some(text) = build.app_text("pyproject.toml")? else { return Ok(None) };
    let table: toml::Table =
        toml::from_str(&text).map_err(|e| Problem::new(format!("pyproject.toml is not valid TOML: {}", e.message())))?;
    let spec = table.get("project").and_then(|p| p.get("requires-python")).and_then(toml::Value::as_str);
    Ok(spec.map(|s| ("pyproject.toml", s.to_owned())))
}

fn minor(full: &str) -> String {
    full.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Whether `full` meets a plain version (same minor) or a requires-python specifier.
fn fits(spec: &str, full: &str) -> bool {
    spec.split(',').map(str::trim).filter(|c| !c.is_empty()).all(|clause| clause_fits(clause, full))
}

fn clause_fits(clause: &str, full: &str) -> bool {
    let split = clause.find(|c: char| c.is_ascii_digit()).unwrap_or(clause.len());
    let (op, text) = (clause[..split].trim(), clause[split..].trim());
    let numbers = |t: &str| t.split('.').map_while(|p| p.parse::<u32>().ok()).collect::<Vec<_>>();
    let (want, have) = (numbers(text), numbers(full));
    let padded = |v: &[u32]| (0..3).map(|i| v.get(i).copied().unwrap_or(0)).collect::<Vec<_>>();
    match op {
        "" => want.iter().take(2).eq(have.iter().take(want.len().min(2))),
        "==" if text.ends_with(".*") => have.starts_with(&want),
        "==" | "===" => padded(&want) == padded(&have),
        "!=" if text.ends_with(".*") => !have.starts_with(&want),
        "!=" => padded(&want) != padded(&have),
        ">=" => padded(&have) >= padded(&want),
        ">" => padded(&have) > padded(&want),
        "<=" => padded(&have) <= padded(&want),
        "<" => padded(&have) < padded(&want),
        "~=" => padded(&have) >= padded(&want) && have.starts_with(&want[..want.len().saturating_sub(1)]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_minor_of_a_plain_version_counts() {
        for (spec, ok) in [
            ("3.11", true),
            ("3.11.9", true),
            ("3.12", false),
            (">=3.9", true),
            (">=3.9,<3.11", false),
            ("==3.11.*", true),
            ("~=3.10", true),
            ("~=3.10.0", false),
        ] {
            assert_eq!(fits(spec, "3.11.2"), ok, "{spec}");
        }
    }
}
