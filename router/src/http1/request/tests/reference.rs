//! The same rules once more, written differently: line by line on text, from RFC 9112 and our rules H1 and H2, without a look at the
//! other. Both must say the same of any head; and what we accept, the library (a third reader) accepts with the same parts.

use proptest::prelude::*;

use super::super::super::head::{HeadLimits, HeadScan};
use super::*;

/// What a head says, as far as another program could take it differently.
#[derive(Debug, PartialEq)]
struct Meaning {
    method: String,
    path: String,
    host: String,
    framing: Framing,
}

fn reference(head: &str) -> Option<Meaning> {
    let text = head.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let request_line = lines.next()?;
    if head.chars().any(|c| c == '\0') || text.replace("\r\n", "").contains(['\r', '\n']) {
        return None;
    }
    let [method, target, version] = request_line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let token = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
    if !token(method)
        || method == "CONNECT"
        || !matches!(version, "HTTP/1.0" | "HTTP/1.1")
        || target.chars().any(|c| c < '!' || c == '\x7f')
    {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim_matches([' ', '\t']);
        if !token(name) || value.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f') {
            return None;
        }
        fields.push((name.to_lowercase(), value));
    }
    let all = |name: &str| fields.iter().filter(|field| field.0 == name).map(|field| field.1).collect::<Vec<_>>();
    let [host] = all("host").try_into().ok()?;
    let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Framing::None,
        ([length], []) if !length.is_empty() && length.len() < 20 && length.chars().all(|c| c.is_ascii_digit()) => {
            Framing::Length(length.parse().ok()?)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && version == "HTTP/1.1" => Framing::Chunked,
        _ => return None,
    };
    let lower = target.to_lowercase();
    let (authority, path) = if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        (host, target.to_owned())
    } else if lower.starts_with("http://") || lower.starts_with("https://") {
        let rest = target.split_once("://")?.1;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let path = match &rest[end..] {
            "" if method == "OPTIONS" => "*".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        (&rest[..end], path)
    } else {
        return None;
    };
    name_of(host)?;
    Some(Meaning { method: method.to_owned(), path, host: name_of(authority)?.to_owned(), framing })
}

fn name_of(authority: &str) -> Option<&str> {
    let (name, port) = match authority.rfind(']') {
        Some(end) if authority.starts_with('[') => authority.split_at(end + 1),
        _ => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_ok = port.is_empty() || (port.len() <= 6 && port[1..].chars().all(|c| c.is_ascii_digit()) && port.starts_with(':'));
    let name_ok = if let Some(address) = name.strip_prefix('[') {
        let address = address.strip_suffix(']')?;
        !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.')
    } else {
        let name = name.strip_suffix('.').unwrap_or(name);
        let label =
            |label: &str| (1..64).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        name.len() <= 253 && name.split('.').all(label)
    };
    (port_ok && name_ok).then_some(name)
}

/// As a connection does it: the end is found first, then the head is read.
fn ours(head: &str) -> Option<Meaning> {
    let limits = HeadLimits { first_line: 8192, line: 8192, total: 65536, lines: 1000 };
    let length = HeadScan::default().find(head.as_bytes(), &limits).ok()??;
    if length != head.len() {
        return None;
    }
    let request = read(head.as_bytes()).ok()?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Some(Meaning { method: text(request.method()), path: text(request.target()), host: text(request.host()), framing: request.framing() })
}

/// Mostly good heads with one or two strange places.
fn heads() -> impl Strategy<Value = String> {
    let strange = prop_oneof![
        8 => Just(String::new()),
        1 => "[ \t\r\n\0\x0b\x7f:;,/é]{1,2}",
    ];
    let method = prop_oneof![6 => Just("GET"), 3 => Just("POST"), 1 => Just("OPTIONS"), 1 => Just("CONNECT"), 1 => Just("G T")];
    let target = prop_oneof![
        6 => "/[!-~]{0,8}",
        1 => Just("*".to_owned()),
        2 => "(http|HTTPS|ftp)://[a-b.:@]{0,4}[/?#]?[!-~]{0,3}",
        1 => "[ -~é]{0,6}",
    ];
    let version = prop_oneof![8 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0"), 1 => Just("HTTP/2.0"), 1 => Just("http/1.1")];
    let name = prop_oneof![
        2 => "(?i)content-length",
        2 => "(?i)transfer-encoding",
        1 => "(?i)host",
        1 => "(?i)connection|upgrade|te|expect|content_length",
        2 => "[a-zA-Z-]{1,4}",
        1 => "[ -~]{0,4}",
    ];
    let value = prop_oneof![
        3 => "[0-9]{1,3}",
        1 => "[+-]?[0-9x ,]{1,22}",
        3 => "(?i)chunked",
        1 => "(?i)(gzip, ?|x|\t)chunked,?",
        1 => "a\\.b|\\[::1\\](:80)?|a\\.b:[0-9]{0,6}",
        1 => "[ -~\t]{0,6}",
    ];
    let field =
        (name, strange.clone(), prop_oneof![5 => Just(":"), 1 => Just(" :"), 4 => Just(": "), 1 => Just("")], value, strange.clone());
    let end = prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n ")];
    let fields = proptest::collection::vec((field, end), 0..4);
    let host = prop_oneof![8 => Just("Host: a.b\r\n"), 1 => Just(""), 1 => Just("host:\ta.b:80 \r\n")];
    (method, target, version, strange, host, fields).prop_map(|(method, target, version, strange, host, fields)| {
        let mut head = format!("{method} {target} {version}{strange}\r\n{host}");
        for ((name, before, colon, value, after), end) in fields {
            head.extend([&*name, &before, colon, &value, &after, end]);
        }
        head + "\r\n"
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn two_readers_agree_on_every_head(head in heads()) {
        prop_assert_eq!(ours(&head), reference(&head), "{:?}", head);
    }

    #[test]
    fn what_is_accepted_is_what_the_library_reads(head in heads()) {
        if let Some(meaning) = ours(&head) {
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut parsed = httparse::Request::new(&mut fields);
            prop_assert_eq!(parsed.parse(head.as_bytes()), Ok(httparse::Status::Complete(head.len())));
            prop_assert_eq!(parsed.method, Some(&*meaning.method));
            prop_assert!(parsed.path.unwrap().ends_with(meaning.path.trim_start_matches(['/', '*'])));
            // And what leaves is read the same way once more.
            let mut request = read(head.as_bytes()).unwrap();
            let length = request.len();
            let sent = String::from_utf8(request.finish(0, length).to_vec()).unwrap();
            prop_assert_eq!(reference(&sent), Some(meaning), "{:?}", sent);
        }
    }
}

/// The properties say something only if good heads are among the bad ones.
#[test]
fn heads_are_of_both_kinds() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let good = (0..1000).filter(|_| ours(&heads().new_tree(&mut runner).unwrap().current()).is_some()).count();
    assert!((100..900).contains(&good), "{good} of 1000 are accepted");
}
