//! JSON with `//` and `/* */` comments and trailing commas, made plain JSON of the same length, so that error places stay true.

/// Plain JSON, and whether anything had to be changed.
pub(super) fn plain(text: &str) -> (String, bool) {
    let mut out = text.as_bytes().to_vec();
    let mut changed = false;
    let mut at = 0;
    let mut comma: Option<usize> = None;
    while at < out.len() {
        match out[at] {
            b'"' => {
                comma = None;
                at += 1;
                while at < out.len() && out[at] != b'"' {
                    at += if out[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'/' if out.get(at + 1) == Some(&b'/') => {
                let end = find(&out, at, b"\n").unwrap_or(out.len());
                blank(&mut out[at..end]);
                changed = true;
                at = end;
            }
            b'/' if out.get(at + 1) == Some(&b'*') => {
                let end = find(&out, at + 2, b"*/").map_or(out.len(), |at| at + 2);
                blank(&mut out[at..end]);
                changed = true;
                at = end;
            }
            b',' => {
                comma = Some(at);
                at += 1;
            }
            b'}' | b']' => {
                if let Some(comma) = comma.take() {
                    out[comma] = b' ';
                    changed = true;
                }
                at += 1;
            }
            byte => {
                if !byte.is_ascii_whitespace() {
                    comma = None;
                }
                at += 1;
            }
        }
    }
    (String::from_utf8(out).expect("only whole characters are blanked"), changed)
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| at + from)
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain;
    use proptest::prelude::*;

    #[test]
    fn comments_and_commas_go_and_places_stay() {
        let (text, changed) = plain("{ // héllo\n \"u\": \"http://x/*y*/\", /* a\nb */ \"l\": [1,2,],\n}");
        assert!(changed);
        assert_eq!(text.matches('\n').count(), 3);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), serde_json::json!({"u": "http://x/*y*/", "l": [1, 2]}));
    }

    proptest! {
        #[test]
        fn plain_json_is_left_alone(value in "[ -~é\n]{0,40}") {
            let json = serde_json::json!({ "k": [value, 1] }).to_string();
            prop_assert_eq!(plain(&json), (json.clone(), false));
        }

        #[test]
        fn nothing_panics(text in "[\"/*,\\\\é\n\\]}a]{0,60}") {
            prop_assert_eq!(plain(&text).0.len(), text.len());
        }
    }
}
