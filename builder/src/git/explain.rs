//! Words for pushers that both transports use.

/// Told when a pack is over the limit; git itself only says "pack exceeds maximum allowed size".
pub(super) fn too_big(limit: u64) -> [String; 5] {
    [
        format!(" !     Push rejected, it sends more than {} MB.", limit / (1024 * 1024)),
        " !     A repository is for code. Keep data in object storage or a database.".to_owned(),
        " !     If a big file was just committed: git rm --cached FILE && git commit --amend".to_owned(),
        " !     The biggest objects: git rev-list --objects --all | git cat-file --batch-check='%(objectsize) %(rest)' | sort -n | tail"
            .to_owned(),
        " !     If it must be: the operator can allow more with build.push_mib in landfall.toml.".to_owned(),
    ]
}

/// A message of ours as ` !     ` lines.
pub(super) fn problem(message: &str) -> String {
    let mut text = String::new();
    for line in message.lines() {
        text.push_str(" !     ");
        text.push_str(line);
        text.push('\n');
    }
    text
}
