//! Path patterns, as `.slugignore` and the slices of a build write them: `*`, `?` and `[a-z]` within a name, `**` for any number of names.
//!
//! Patterns come from repositories and buildpacks, paths from their files, so nothing here recurses or takes more steps than pattern times
//! path. No I/O, no dependencies: the builder and the agent both match with it.

mod name;

pub use name::matches_name;

/// A pattern over whole paths. A leading `./` or `/` and a trailing `/` mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// One glob a path component; `**` is any number of them, also none.
    parts: Vec<Vec<u8>>,
}

impl Pattern {
    /// Reads a pattern. Every text is one; an empty one matches the empty path only.
    pub fn new(text: &str) -> Self {
        let text = text.trim_start_matches("./");
        Self { parts: text.split('/').filter(|part| !part.is_empty()).map(|part| part.as_bytes().to_vec()).collect() }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it names this path, given name by name from the top.
    pub fn matches<Name: AsRef<[u8]>>(&self, path: &[Name]) -> bool {
        let (mut part, mut name) = (0, 0);
        // Where the last `**` stands, and how far it reaches so far. An earlier one never needs another reach than the first that worked.
        let mut stars: Option<(usize, usize)> = None;
        while name < path.len() {
            match self.parts.get(part) {
                Some(stars_here) if stars_here == b"**" => {
                    stars = Some((part, name));
                    part += 1;
                }
                Some(glob) if matches_name(glob, path[name].as_ref()) => {
                    part += 1;
                    name += 1;
                }
                _ => {
                    let Some((at, reach)) = stars else { return false };
                    stars = Some((at, reach + 1));
                    part = at + 1;
                    name = reach + 1;
                }
            }
        }
        self.parts[part..].iter().all(|part| part == b"**")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).matches(&path.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>())
    }

    #[test]
    fn patterns_name_paths() {
        for (pattern, path) in [
            ("*.js", "a.js"),
            ("./x", "x"),
            ("/x/", "x"),
            ("node_modules", "node_modules"),
            ("node_modules/**", "node_modules/x/y"),
            ("**/*.js", "a.js"),
            ("**/*.js", "d/e/a.js"),
            ("a/**/z", "a/z"),
            ("a/**/b/**/z", "a/x/b/b/y/z"),
            ("**", ""),
        ] {
            assert!(matches(pattern, path), "{pattern} should name {path}");
        }
        for (pattern, path) in [("*.js", "d/a.js"), ("a/*/c", "a/b/b/c"), ("a/**/z", "b/z"), ("a", "a/b"), ("a/b", "a"), ("", "a")] {
            assert!(!matches(pattern, path), "{pattern} should not name {path}");
        }
    }

    /// What the loop must agree with: the meaning of `**`, written down plainly.
    fn plainly(parts: &[Vec<u8>], path: &[&str]) -> bool {
        match (parts.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((part, rest)), _) if part == b"**" => plainly(rest, path) || (!path.is_empty() && plainly(parts, &path[1..])),
            (Some((part, rest)), Some((name, names))) => matches_name(part, name.as_bytes()) && plainly(rest, names),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_loop_means_what_it_says(pattern in "([ab*]|[*][*]/|/){0,9}", path in "([ab]/?){0,6}") {
            let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
            let pattern = Pattern::new(&pattern);
            prop_assert_eq!(pattern.matches(&names), plainly(&pattern.parts, &names));
        }
    }
}
