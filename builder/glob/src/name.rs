//! One pattern against one name.

/// `*`, `?`, `[a-z]`, `[!a]` and `\x` within one name. In time linear in both but for the last `*`, so no pattern is slow.
pub fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], name[n]),
            Some(b'\\') if p + 1 < pattern.len() => (pattern[p + 1] == name[n]).then_some(2),
            Some(byte) => (*byte == name[n]).then_some(1),
            None => None,
        };
        if let Some(step) = step {
            p += step;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Matches one byte against the class that `pattern` begins with; how many pattern bytes that took.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let Some(end) = pattern.iter().skip(2).position(|b| *b == b']').map(|at| at + 2) else {
        return (byte == b'[').then_some(1);
    };
    let (negated, body) = match pattern[1] {
        b'!' | b'^' if end > 2 => (true, &pattern[2..end]),
        _ => (false, &pattern[1..end]),
    };
    let mut found = false;
    let mut at = 0;
    while at < body.len() {
        if at + 2 < body.len() && body[at + 1] == b'-' {
            found |= (body[at]..=body[at + 2]).contains(&byte);
            at += 3;
        } else {
            found |= body[at] == byte;
            at += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_name_names() {
        let table = [
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("[a-c]?.txt", "b1.txt", true),
            ("[a-c].txt", "d.txt", false),
            ("[!a].txt", "b.txt", true),
            ("[", "[", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("*", "", true),
            ("?", "", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches_name(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in r"[*?a\[\]!\\-]{0,60}", name in "[a]{0,200}") {
            matches_name(pattern.as_bytes(), name.as_bytes());
        }
    }
}
