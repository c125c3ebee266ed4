//! Version ranges as npm writes them: `^22.1`, `~20`, `18.x || 20.x`, `>=18 <23`, `20.1 - 22`.

use semver::{Prerelease, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

type Comparator = (Op, Version);

/// Alternatives (`||`), each a list of comparators that all hold.
#[derive(Debug, Clone)]
pub(super) struct Range(Vec<Vec<Comparator>>);

/// A version with parts left out or written `x`.
struct Partial {
    major: Option<u64>,
    minor: Option<u64>,
    patch: Option<u64>,
    pre: Prerelease,
}

impl Range {
    /// Reads `text`; `None` if it is not a range.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.split("||").map(alternative).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether `version` is inside. A prerelease counts only if the range names a prerelease of the same version, as npm has it.
    pub(super) fn matches(&self, version: &Version) -> bool {
        let core = |v: &Version| (v.major, v.minor, v.patch);
        self.0.iter().any(|all| {
            let named = version.pre.is_empty() || all.iter().any(|(_, v)| !v.pre.is_empty() && core(v) == core(version));
            named
                && all.iter().all(|(op, v)| {
                    let order = version.cmp_precedence(v);
                    match op {
                        Op::Less => order.is_lt(),
                        Op::AtMost => order.is_le(),
                        Op::More => order.is_gt(),
                        Op::AtLeast => order.is_ge(),
                        Op::Equal => order.is_eq(),
                    }
                })
        })
    }

    /// The one version an exact pin names.
    pub(super) fn exact(&self) -> Option<&Version> {
        match &self.0[..] {
            [all] => match &all[..] {
                [(Op::Equal, version)] => Some(version),
                _ => None,
            },
            _ => None,
        }
    }

    /// A version the range is about: where the nearest others are looked for.
    pub(super) fn about(&self) -> Version {
        self.0.iter().flatten().map(|(_, v)| v.clone()).next().unwrap_or(Version::new(0, 0, 0))
    }
}

fn alternative(text: &str) -> Option<Vec<Comparator>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [low, "-", high] = words[..] {
        let (low, high) = (partial(low)?, partial(high)?);
        return Some([vec![(Op::AtLeast, floor(&low))], at_most(&high)].concat());
    }
    let mut all = Vec::new();
    let mut pending = String::new();
    for word in words {
        pending.push_str(word);
        // An operator may stand alone before its version.
        if !pending.ends_with(['<', '>', '=', '~', '^']) {
            all.extend(comparators(&pending)?);
            pending.clear();
        }
    }
    if !pending.is_empty() {
        return None;
    }
    if all.is_empty() {
        all.push((Op::AtLeast, Version::new(0, 0, 0)));
    }
    Some(all)
}

fn comparators(word: &str) -> Option<Vec<Comparator>> {
    let at = word.find(|c: char| !"<>=~^".contains(c))?;
    let (op, p) = (&word[..at], partial(&word[at..])?);
    let at_least = (Op::AtLeast, floor(&p));
    Some(match op {
        "" | "=" if p.patch.is_some() => vec![(Op::Equal, floor(&p))],
        "" | "=" => [vec![at_least], at_most(&p)].concat(),
        ">=" => vec![at_least],
        ">" if p.patch.is_some() => vec![(Op::More, floor(&p))],
        ">" => vec![next(&p).map_or((Op::Less, before(0, 0, 0)), |v| (Op::AtLeast, v))],
        "<=" => at_most(&p),
        "<" => vec![(Op::Less, if p.patch.is_some() { floor(&p) } else { before(p.major.unwrap_or(0), p.minor.unwrap_or(0), 0) })],
        "~" | "~>" => match (p.major, p.minor) {
            (Some(major), Some(minor)) => vec![at_least, (Op::Less, before(major, minor + 1, 0))],
            _ => [vec![at_least], at_most(&p)].concat(),
        },
        "^" => match (p.major, p.minor, p.patch) {
            (Some(0), Some(0), Some(patch)) => vec![at_least, (Op::Less, before(0, 0, patch + 1))],
            (Some(0), Some(minor), _) => vec![at_least, (Op::Less, before(0, minor + 1, 0))],
            (Some(major), ..) => vec![at_least, (Op::Less, before(major + 1, 0, 0))],
            _ => vec![at_least],
        },
        _ => return None,
    })
}

fn at_most(p: &Partial) -> Vec<Comparator> {
    match next(p) {
        Some(version) => vec![(Op::Less, version)],
        None if p.patch.is_some() => vec![(Op::AtMost, floor(p))],
        None => Vec::new(),
    }
}

/// The lowest version a partial one can mean.
fn floor(p: &Partial) -> Version {
    let mut version = Version::new(p.major.unwrap_or(0), p.minor.unwrap_or(0), p.patch.unwrap_or(0));
    version.pre = p.pre.clone();
    version
}

/// The first version after all that a partial one can mean.
fn next(p: &Partial) -> Option<Version> {
    match (p.major, p.minor, p.patch) {
        (Some(major), None, _) => Some(before(major + 1, 0, 0)),
        (Some(major), Some(minor), None) => Some(before(major, minor + 1, 0)),
        _ => None,
    }
}

/// Lower than every prerelease of this version.
fn before(major: u64, minor: u64, patch: u64) -> Version {
    let mut version = Version::new(major, minor, patch);
    version.pre = Prerelease::new("0").unwrap_or(Prerelease::EMPTY);
    version
}

fn partial(text: &str) -> Option<Partial> {
    let text = text.trim_start_matches(['v', 'V', '=']);
    let text = text.split('+').next()?;
    let (core, pre) = match text.split_once('-') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let mut parts = [None; 3];
    let mut wild = false;
    for (at, part) in core.split('.').enumerate() {
        let slot = parts.get_mut(at)?;
        if matches!(part, "x" | "X" | "*") {
            wild = true;
        } else {
            let number = part.parse().ok().filter(|n| *n <= 1 << 53)?;
            *slot = (!wild).then_some(number);
        }
    }
    let pre = Prerelease::new(pre).ok()?;
    if parts[2].is_none() && !pre.is_empty() {
        return None;
    }
    Some(Partial { major: parts[0], minor: parts[1], patch: parts[2], pre })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_as_npm_does() {
        for (range, inside, outside) in [
            ("22.x", "22.23.3 22.0.0", "21.9.9 23.0.0 22.1.0-rc.1"),
            ("22", "22.23.3", "23.0.0"),
            ("v22.1.0", "22.1.0", "22.1.1"),
            ("=22.1", "22.1.9", "22.2.0"),
            ("^18.12.1", "18.12.1 18.20.0", "18.12.0 19.0.0"),
            ("^0.10.2", "0.10.2 0.10.48", "0.11.0 0.10.1"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("^0", "0.12.7", "1.0.0"),
            ("~20.1", "20.1.9", "20.2.0"),
            ("~20", "20.9.0", "21.0.0"),
            ("~> 20.1.2", "20.1.9", "20.1.1 20.2.0"),
            (">=18 <23", "18.0.0 22.99.0", "17.9.1 23.0.0"),
            (">= 18 < 23", "18.0.0", "23.0.0"),
            (">18", "19.0.0", "18.99.0"),
            ("<=20", "20.99.0", "21.0.0"),
            ("<20", "19.9.9", "20.0.0 20.0.0-rc.1"),
            ("18.1 - 20", "18.1.0 20.9.9", "18.0.9 21.0.0"),
            ("18.1.0 - 20.2.0", "20.2.0", "20.2.1"),
            ("18.x || ^22.1", "18.3.0 22.1.0", "20.0.0 22.0.9"),
            ("18||20", "18.0.0 20.0.0", "19.0.0"),
            ("*", "0.8.6 26.10.0", "26.0.0-rc.1"),
            ("", "22.0.0", "22.0.0-rc.1"),
            ("22.0.0-rc.1", "22.0.0-rc.1", "22.0.0"),
            (">=22.0.0-rc.1", "22.0.0-rc.2 23.0.0", "22.0.1-rc.1"),
            (">*", "", "22.0.0 0.0.0"),
        ] {
            let read = Range::parse(range).unwrap_or_else(|| panic!("{range} is a range"));
            for (versions, want) in [(inside, true), (outside, false)] {
                for version in versions.split_whitespace() {
                    assert_eq!(read.matches(&Version::parse(version).unwrap()), want, "{version} in {range}");
                }
            }
        }
        for wrong in ["latest", "22.1.2.3", ">=", "a.b", "22-", "^^1", "18 | 20", "1.2-beta"] {
            assert!(Range::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(Range::parse("v22.1.0").unwrap().exact(), Some(&Version::new(22, 1, 0)));
        assert!(Range::parse("22.1").unwrap().exact().is_none());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9xX*.^~<>=| v-]{0,24}") {
            if let Some(range) = Range::parse(&text) {
                range.matches(&range.about());
            }
        }

        #[test]
        fn a_version_is_in_its_own_ranges(a in 0u64..40, b in 0u64..40, c in 0u64..40) {
            let version = Version::new(a, b, c);
            for range in [format!("{a}"), format!("{a}.{b}"), format!("^{version}"), format!("~{version}"), format!("{version} - {version}")] {
                prop_assert!(Range::parse(&range).unwrap().matches(&version), "{range}");
            }
        }
    }
}
