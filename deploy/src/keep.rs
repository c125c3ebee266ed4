//! How much of its past an app keeps: which releases can still be gone back to, and which expire.
//!
//! Every release stays visible for ever; an expired one has let go of its image and its config vars.

use std::collections::{BTreeSet, HashSet};

use landfall_model::{ReleaseVersion, SlugId};

/// How far back an app can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Releases that can be gone back to, the current one included; at least 1. Each holds a copy of the config vars.
    pub releases: usize,
    /// Different images among them; at least 1. An image is what fills a disk; a config change needs no new one.
    pub images: usize,
}

impl Default for Keep {
    /// 100 releases: a busy week. 10 images: code older than ten deploys is a `git push` away.
    fn default() -> Self {
        Self { releases: 100, images: 10 }
    }
}

/// A release that succeeded and has not expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub version: ReleaseVersion,
    /// What it runs; `None` = it came before the first build.
    pub slug: Option<SlugId>,
}

/// Which of an app's standing releases expire now.
///
/// Never the current one (the highest), never one that something still runs (`in_use`): while a successor does not come up, the release
/// before it serves on, however many came since.
pub fn expiring(keep: Keep, standing: &[Standing], in_use: &BTreeSet<ReleaseVersion>) -> Vec<ReleaseVersion> {
    let mut newest_first = standing.to_vec();
    newest_first.sort_by_key(|release| std::cmp::Reverse(release.version));
    let mut images: HashSet<SlugId> = HashSet::new();
    let mut expiring = Vec::new();
    for (place, release) in newest_first.iter().enumerate() {
        let image_kept = release.slug.is_none_or(|slug| images.contains(&slug) || images.len() < keep.images.max(1));
        if place < keep.releases.max(1) && image_kept || in_use.contains(&release.version) {
            images.extend(release.slug);
        } else {
            expiring.push(release.version);
        }
    }
    expiring.reverse();
    expiring
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"a a b - c"`: one release a word, from v1 on; `-` = no image.
    fn standing(words: &str) -> Vec<Standing> {
        let id = |word: &str| (word != "-").then(|| SlugId(uuid::Uuid::from_u128(word.bytes().next().map_or(0, u128::from))));
        words.split(' ').zip(1..).map(|(word, version)| Standing { version: ReleaseVersion(version), slug: id(word) }).collect()
    }

    fn expired(releases: usize, images: usize, words: &str, in_use: &[u32]) -> Vec<u32> {
        let in_use = in_use.iter().map(|version| ReleaseVersion(*version)).collect();
        expiring(Keep { releases, images }, &standing(words), &in_use).into_iter().map(|version| version.0).collect()
    }

    #[test]
    fn the_newest_stay() {
        assert_eq!(expired(3, 9, "- a b c d", &[]), [1, 2]);
        assert_eq!(expired(9, 2, "- a b c d", &[]), [2, 3], "what has no image takes no room");
        assert_eq!(expired(9, 2, "a b b b a a", &[]), [0; 0], "config changes need no image");
        assert_eq!(expired(9, 2, "a b c b c", &[]), [1]);
        assert_eq!(expired(9, 1, "a b a", &[]), [2], "a rollback keeps the image it went back to");
    }

    #[test]
    fn what_runs_stays() {
        assert_eq!(expired(1, 1, "a b c d", &[2]), [1, 3]);
        assert_eq!(expired(0, 0, "a b", &[]), [1], "the current one always stays");
        assert_eq!(expired(5, 5, "", &[]), [0; 0]);
    }
}
