//! The one line a client may ask us to run.

use crate::git::GitService;

/// `git-receive-pack 'blog.git'` → service and repository. `git receive-pack …` is tolerated, as OpenSSH servers do. It is parsed, never run.
pub(super) fn parse(line: &[u8]) -> Option<(GitService, String)> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.len() <= 512)?.trim();
    let (program, argument) = match line.strip_prefix("git ") {
        Some(rest) => rest.trim_start().split_once(' ').map(|(verb, argument)| (format!("git-{verb}"), argument))?,
        None => line.split_once(' ').map(|(program, argument)| (program.to_owned(), argument))?,
    };
    let argument = argument.trim();
    let bare = match argument.strip_prefix('\'') {
        Some(rest) => rest.strip_suffix('\'')?,
        None => argument,
    };
    // A name of ours needs no escapes, so whatever has them is not one.
    (!bare.is_empty() && !bare.contains(['\'', '"', '\\', ' ', '\n', '\0'])).then_some(())?;
    Some((GitService::parse(&program)?, bare.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_programs_and_nothing_else() {
        let push = |repo: &str| Some((GitService::ReceivePack, repo.to_owned()));
        assert_eq!(parse(b"git-receive-pack 'blog.git'"), push("blog.git"));
        assert_eq!(parse(b"git-receive-pack '/blog.git'"), push("/blog.git"));
        assert_eq!(parse(b"git receive-pack blog.git"), push("blog.git"));
        assert_eq!(parse(b"git-upload-pack 'blog.git'"), Some((GitService::UploadPack, "blog.git".into())));
        for bad in [
            "",
            "ls",
            "git-receive-pack",
            "git-receive-pack ''",
            "git-receive-pack 'a' 'b'",
            "git-receive-pack 'a';ls",
            "scp -t /",
            "git-shell 'a'",
            "git-upload-archive 'blog.git'",
            "git-receive-pack 'a'\\''b'",
            "git config 'x'",
            "git-receive-pack 'a",
            "bash -c 'git-receive-pack'",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }
    }
}
