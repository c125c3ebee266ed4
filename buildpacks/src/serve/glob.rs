//! Patterns of static.json: `*` is any part of one path segment, `**` is anything, `**/` is any number of directories.

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `*`
    Segment,
    /// `**`
    Anything,
    /// `**/`
    Directories,
}

impl Glob {
    /// Reads a pattern; a missing first `/` is added.
    pub(crate) fn new(text: &str) -> Self {
        let mut tokens = vec![Token::Byte(b'/')];
        let mut rest = text.strip_prefix('/').unwrap_or(text).as_bytes();
        while let [first, after @ ..] = rest {
            let (token, next) = match rest {
                [b'*', b'*', b'/', next @ ..] => (Token::Directories, next),
                [b'*', b'*', next @ ..] => (Token::Anything, next),
                [b'*', next @ ..] => (Token::Segment, next),
                _ => (Token::Byte(*first), after),
            };
            tokens.push(token);
            rest = next;
        }
        Self(tokens)
    }

    /// Whether the whole of `path` is matched. Time is pattern length times path length, whatever the pattern.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let path = path.as_bytes();
        // `reached[n]`: the tokens so far can match the first `n` bytes.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for token in &self.0 {
            let mut next = vec![false; path.len() + 1];
            let mut open = false;
            for at in 0..=path.len() {
                let before = at.checked_sub(1).map(|b| path[b]);
                match token {
                    Token::Byte(byte) => next[at] = before == Some(*byte) && reached[at - 1],
                    Token::Segment => {
                        open = reached[at] || (open && before != Some(b'/'));
                        next[at] = open;
                    }
                    Token::Anything => {
                        open |= reached[at];
                        next[at] = open;
                    }
                    Token::Directories => {
                        next[at] = reached[at] || (open && before == Some(b'/'));
                        open |= reached[at];
                    }
                }
            }
            reached = next;
        }
        reached[path.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stay_in_a_segment_and_double_stars_do_not() {
        let cases = [
            ("/**", "/", true),
            ("/**", "/a/b.html", true),
            ("/*", "/a", true),
            ("/*", "/a/b", false),
            ("/*.html", "/a.html", true),
            ("/*.html", "/a/b.html", false),
            ("/**/*.html", "/a.html", true),
            ("/**/*.html", "/a/b/c.html", true),
            ("/**/c.html", "/a/bc.html", false),
            ("/assets/**", "/assets/a/b.css", true),
            ("/assets/**", "/assetsx", false),
            ("about", "/about", true),
            ("/a.c", "/abc", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(Glob::new(pattern).matches(path), expected, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_matches_itself_and_everything(path in "/[a-z./]{0,20}") {
            prop_assert!(Glob::new(&path).matches(&path));
            prop_assert!(Glob::new("/**").matches(&path));
            let star = Glob::new("/*").matches(&path);
            prop_assert_eq!(star, !path[1..].contains('/'));
        }
    }
}
