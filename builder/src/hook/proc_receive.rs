//! The `proc-receive` hook: moves a deploy branch for git, because the push it belongs to may have waited while another one moved the branch.
//!
//! A client says at the start from where to where a branch shall move, and git refuses if it is elsewhere by then. A push that waited for its
//! turn and was built would end as refused although it runs. Whether it may run was decided when it had its turn ([`super::moved`]); nobody
//! else has had one since, so the same question has the same answer here.
//! <https://git-scm.com/docs/githooks#proc-receive>

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use git2::{Oid, Repository};

use super::moved::{Moved, moved};
use super::wire::Update;

/// What `main` does when the program was started under that name. git reads its words from standard output, as packet lines.
pub(super) fn main() -> ExitCode {
    // git runs its hooks in the repository.
    match serve(Path::new("."), &mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                " !     The branch was not moved ({error}).\n !     Push again; the operator finds more with: landfall doctor"
            );
            ExitCode::FAILURE
        }
    }
}

fn serve(repo: &Path, input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let offered = section(input)?;
    if !offered.first().is_some_and(|line| line.starts_with("version=1")) {
        return Err(io::Error::other("git speaks another version of this"));
    }
    put(output, "version=1\n")?;
    output.write_all(b"0000")?;
    output.flush()?;
    for command in section(input)? {
        let update = Update::parse(&command).ok_or_else(|| io::Error::other("git sent a line that is no ref update"))?;
        match advance(repo, &update) {
            Ok(Done::Moved) => put(output, &format!("ok {}\n", update.name))?,
            Ok(Done::ForGit) => {
                put(output, &format!("ok {}\n", update.name))?;
                put(output, "option fall-through\n")?;
            }
            Ok(Done::Not) => put(output, &format!("ng {} it has moved meanwhile; fetch and push again\n", update.name))?,
            Err(error) => put(output, &format!("ng {} {}\n", update.name, error.message().replace('\n', " ")))?,
        }
    }
    output.write_all(b"0000")?;
    output.flush()
}

/// What became of an update.
enum Done {
    Moved,
    /// Nothing is special about it.
    ForGit,
    Not,
}

fn advance(repo: &Path, update: &Update) -> Result<Done, git2::Error> {
    let repo = Repository::open_bare(repo)?;
    let new = Oid::from_str(&update.new)?;
    Ok(match moved(&repo, update)? {
        Moved::No => Done::ForGit,
        Moved::There => Done::Moved,
        Moved::Apart(_) => Done::Not,
        Moved::Below(current) => {
            repo.reference_matching(&update.name, new, true, current, "push")?;
            Done::Moved
        }
    })
}

/// Packet lines up to a flush, without their line feeds.
fn section(input: &mut impl Read) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = std::str::from_utf8(&length).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        match length {
            Some(0) => return Ok(lines),
            Some(length @ 4..) if lines.len() < 10_000 => {
                let mut line = vec![0; length - 4];
                input.read_exact(&mut line)?;
                lines.push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            }
            _ => return Err(io::Error::other("git sent something that is no packet line")),
        }
    }
}

fn put(output: &mut impl Write, line: &str) -> io::Result<()> {
    write!(output, "{:04x}{line}", line.len() + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(repo: &Repository, parents: &[Oid], words: &str) -> Oid {
        let who = git2::Signature::new("A", "a@example.com", &git2::Time::new(0, 0)).unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parents: Vec<git2::Commit<'_>> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        repo.commit(None, &who, &who, words, &tree, &parents.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_branch_that_another_push_moved_forward_is_moved_on() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        let one = commit(&repo, &[], "one");
        let two = commit(&repo, &[one], "two");
        let other = commit(&repo, &[], "other");
        let (zero, name) = ("0".repeat(40), "refs/heads/main");
        let ask = |at: Option<Oid>, old: &str, new: Oid| {
            let _ = repo.find_reference(name).map(|mut found| found.delete());
            if let Some(at) = at {
                repo.reference(name, at, true, "test").unwrap();
            }
            let mut said = Vec::new();
            let mut input = Vec::new();
            put(&mut input, "version=1\0push-options\n").unwrap();
            input.extend(b"0000");
            put(&mut input, &format!("{old} {new} {name}")).unwrap();
            input.extend(b"0000");
            serve(dir.path(), &mut input.as_slice(), &mut said).unwrap();
            let answers = section(&mut &said[said.windows(4).position(|four| four == b"0000").unwrap() + 4..]).unwrap();
            (answers.join(", "), repo.refname_to_id(name).ok())
        };
        let fall_through = "ok refs/heads/main, option fall-through".to_owned();
        assert_eq!(ask(None, &zero, one), (fall_through.clone(), None));
        assert_eq!(ask(Some(one), &one.to_string(), other), (fall_through, Some(one)), "a forced push of what it saw is git's to judge");
        assert_eq!(ask(Some(one), &zero, two), ("ok refs/heads/main".into(), Some(two)));
        assert_eq!(ask(Some(two), &zero, two), ("ok refs/heads/main".into(), Some(two)));
        let refused = ask(Some(two), &zero, other);
        assert!(refused.0.starts_with("ng refs/heads/main it has moved") && refused.1 == Some(two), "{refused:?}");
        assert!(serve(dir.path(), &mut b"0010version=9\n0000".as_slice(), &mut Vec::new()).is_err());
        assert!(serve(dir.path(), &mut b"zzzz".as_slice(), &mut Vec::new()).is_err());
    }
}
