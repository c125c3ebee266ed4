//! One byte range, as RFC 9110 section 14 has it. Several ranges at once are answered with the whole file, which the RFC allows.

/// What part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything.
    Whole,
    /// The bytes `first..=last`.
    Part { first: u64, last: u64 },
    /// A part that is not there.
    Impossible,
}

/// Reads a `Range` header for a file of `len` bytes. What is not understood counts as not said.
pub(crate) fn asked(header: &str, len: u64) -> Asked {
    let Some((unit, spec)) = header.split_once('=') else { return Asked::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Asked::Whole,
        (Some(first), _) if (last.is_empty() || number(last).is_some()) && first >= len => Asked::Impossible,
        (Some(first), Some(last)) => Asked::Part { first, last: last.min(len - 1) },
        (Some(first), None) if last.is_empty() => Asked::Part { first, last: len - 1 },
        (None, Some(suffix)) if first.is_empty() => match suffix.min(len) {
            0 => Asked::Impossible,
            suffix => Asked::Part { first: len - suffix, last: len - 1 },
        },
        _ => Asked::Whole,
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_three_forms() {
        let part = |first, last| Asked::Part { first, last };
        let cases = [
            ("bytes=0-3", part(0, 3)),
            ("bytes=4-", part(4, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=5-500", part(5, 9)),
            ("bytes=10-", Asked::Impossible),
            ("bytes=10-12", Asked::Impossible),
            ("bytes=-0", Asked::Impossible),
            ("bytes=5-4", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("lines=0-3", Asked::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(asked(header, 10), expected, "{header}");
        }
        assert_eq!(asked("bytes=0-0", 0), Asked::Impossible);
        assert_eq!(asked("bytes=-1", 0), Asked::Impossible);
    }

    proptest! {
        #[test]
        fn a_part_is_inside_the_file(header in "bytes=[0-9-]{0,22}", len: u64) {
            if let Asked::Part { first, last } = asked(&header, len) {
                prop_assert!(first <= last && last < len);
            }
        }
    }
}
