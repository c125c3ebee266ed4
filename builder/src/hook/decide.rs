//! What a push asks for, judged from its ref updates alone (trust rule G4).

use super::wire::Update;
use crate::push::DEPLOY_BRANCHES;

/// How many branches or tags of one push are named.
const NAMED: usize = 3;

/// What to do with a push.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Lines for the pusher.
    pub(super) notes: Vec<String>,
    /// What follows.
    pub(super) then: Then,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// No.
    Refuse,
    /// Take it; nothing is built.
    Store,
    /// Build this commit, then take it.
    Deploy(Update),
}

pub(super) fn decide(app: &str, updates: &[Update]) -> Decision {
    let is_deploy = |update: &&Update| update.branch().is_some_and(|branch| DEPLOY_BRANCHES.contains(&branch));
    if let Some(gone) = updates.iter().filter(is_deploy).find(|update| update.is_delete()) {
        let branch = gone.branch().unwrap_or_default();
        return refuse([
            format!("Push rejected, {branch} is the branch that deploys and cannot be deleted."),
            format!("To stop the app: landfall ps:scale web=0 --app {app}"),
            format!("To remove it and all it has: landfall apps:destroy --app {app}"),
        ]);
    }
    let mut deploys = updates.iter().filter(is_deploy);
    let first = deploys.next();
    if deploys.next().is_some() {
        return refuse([
            "Push rejected, main and master were pushed together, and each would be a deploy.".to_owned(),
            "Push one of them: git push landfall main".to_owned(),
        ]);
    }
    let mut notes = Vec::new();
    let kept = || updates.iter().filter(|update| !update.is_delete());
    let branches: Vec<&str> = kept().filter_map(Update::branch).filter(|branch| !DEPLOY_BRANCHES.contains(branch)).collect();
    let tags: Vec<&str> = kept().filter_map(|update| update.name.strip_prefix("refs/tags/")).collect();
    stored(&mut notes, ["Branch", "branches"], &branches, |branch| format!("git push landfall {branch}:main"));
    stored(&mut notes, ["Tag", "tags"], &tags, |tag| format!("git push landfall '{tag}^{{}}:main'"));
    Decision { notes, then: first.map_or(Then::Store, |update| Then::Deploy(update.clone())) }
}

/// What was taken without a deploy: by name, or, if it is many (`git push --mirror`), by number.
fn stored(notes: &mut Vec<String>, [one, many]: [&str; 2], names: &[&str], deploy: impl Fn(&str) -> String) {
    if names.len() > NAMED {
        return notes.push(format!("-----> {} {many} stored. They are not deployed: only main and master are.", names.len()));
    }
    for name in names {
        let name = crate::source::printable(name.as_bytes());
        notes.push(format!("-----> {one} {name} stored. It is not deployed: only main and master are."));
        notes.push(format!("       To deploy it: {}", deploy(&name)));
    }
}

fn refuse<const N: usize>(lines: [String; N]) -> Decision {
    Decision { notes: lines.into_iter().map(|line| format!(" !     {line}")).collect(), then: Then::Refuse }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(refs: &[(&str, bool)]) -> Decision {
        let hash = |keep: bool| if keep { "a" } else { "0" }.repeat(40);
        let updates: Vec<Update> =
            refs.iter().map(|(name, keep)| Update { old: hash(true), new: hash(*keep), name: (*name).to_owned() }).collect();
        decide("blog", &updates)
    }

    #[test]
    fn branches() {
        let deploy = |branch: &str| {
            let (old, new) = ("a".repeat(40), "a".repeat(40));
            Then::Deploy(Update { old, new, name: format!("refs/heads/{branch}") })
        };
        assert_eq!(push(&[("refs/heads/main", true)]), Decision { notes: vec![], then: deploy("main") });
        assert_eq!(push(&[("refs/heads/master", true), ("refs/tags/v1", true)]).then, deploy("master"));
        assert_eq!(push(&[("refs/tags/main", false)]), Decision { notes: vec![], then: Then::Store });
        assert_eq!(push(&[("refs/tags/main", true)]).then, Then::Store);
        assert_eq!(push(&[("refs/heads/topic", false)]).then, Then::Store);
        assert_eq!(push(&[("refs/heads/x/main", true)]).then, Then::Store);
        insta::assert_snapshot!(
            [
                push(&[("refs/heads/topic", true)]).notes,
                push(&[("refs/tags/v1", true)]).notes,
                push(&[("refs/tags/1", true), ("refs/tags/2", true), ("refs/tags/3", true), ("refs/tags/4", true), ("refs/heads/5", true)])
                    .notes,
                push(&[("refs/heads/main", false)]).notes,
                push(&[("refs/heads/main", true), ("refs/heads/master", true)]).notes,
            ]
            .concat()
            .join("\n")
        );
    }
}
