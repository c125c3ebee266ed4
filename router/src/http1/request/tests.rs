mod reference;

use super::*;

fn origin() -> Origin<'static> {
    Origin { peer: "1.2.3.4", proto: "http", port: 8080, start_ms: 1_700_000_000_000, random: [7; 16] }
}

fn read(head: &[u8]) -> Result<Request, Reject> {
    let mut request = Request::new(&Budget::new(0));
    request.read(head, &origin(), 1000).map(|()| request)
}

fn sent(head: &[u8]) -> String {
    let mut request = read(head).unwrap();
    let length = request.len();
    String::from_utf8(request.finish(3, length).to_vec()).unwrap()
}

#[test]
fn the_app_gets_the_clients_head_and_ours() {
    insta::assert_snapshot!(sent(
        b"POST /a%2Fb//../c?x=%zz&y=\xc3\xa9 HTTP/1.1\r\nhost: Blog.localhost:8080\r\nUser-Agent: t\r\nX-Forwarded-For: 9.9.9.9\r\n\
          X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX_Forwarded_Proto: https\r\nX-Request-Id: short\r\nContent-Length: 5\r\n\
          Via: 1.0 fred\r\nConnection: keep-alive, X-Forwarded-For, X-Request-Id, X-Private, close\r\nX-Private: 1\r\nTE: trailers\r\n\
          Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nCookie: a=b; c\r\n\r\n"
    ));
}

/// Apps build links from these, or take a request for an encrypted one.
#[test]
fn what_a_client_says_of_its_way_is_not_believed() {
    let forged = [
        "X-Forwarded-Host: evil.example",
        "x-forwarded-ssl: on",
        "X_FORWARDED_SCHEME: https",
        "X-Forwarded-Server: evil.example",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-By: 6.6.6.6",
        "X-Forwarded-A-Name-Nobody-Thought-Of: 6.6.6.6",
        "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
        "X-Forwarded-Proto: https",
    ];
    let own = "X-Forwarded: a\r\nX-Forwarder-Host: b\r\nForwarder: c\r\nX: d\r\n";
    let head = sent(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n{own}\r\n", forged.join("\r\n")).as_bytes());
    for line in forged {
        assert!(!head.contains(line), "{head}");
    }
    assert!(head.contains(own) && head.contains("\r\nX-Forwarded-Proto: http\r\n"), "{head}");
}

/// What is written is never longer than what room was made for: the shortest lines gain most.
#[test]
fn there_is_room_for_every_head() {
    for lines in [0, 1, 100, 990] {
        for line in ["a:\r\n", "x-forwarded-for:a\r\n", "abc:d\r\n"] {
            let head = format!("GET http://example.com HTTP/1.1\r\nHost:a\r\n{}\r\n", line.repeat(lines));
            let origin = Origin { peer: "2001:db8:1234:5678:9abc:def0:1234:5678", port: 65535, start_ms: u64::MAX, ..origin() };
            let mut request = Request::new(&Budget::new(64 * 1024));
            request.read(head.as_bytes(), &origin, 1000).unwrap();
            let length = request.len();
            let written = request.finish(u64::MAX, length).len();
            assert!(written <= rewritten(head.len()), "{written} of {}", head.len());
        }
    }
}

#[test]
fn a_head_without_memory_is_503() {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", format!("A: {}\r\n", "a".repeat(8000)).repeat(3));
    let budget = Budget::new(20 * 1024);
    let (mut one, mut two) = (Request::new(&budget), Request::new(&budget));
    assert_eq!(one.read(head.as_bytes(), &origin(), 1000), Ok(()));
    assert_eq!(two.read(head.as_bytes(), &origin(), 1000), Err(Reject(503)));
    one.shrink();
    assert_eq!(two.read(head.as_bytes(), &origin(), 1000), Ok(()));
}

#[test]
fn a_good_request_id_is_kept() {
    let head = sent(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 0123456789+/=-abcdefXYZ\r\n\r\n");
    assert!(head.contains("\r\nX-Request-Id: 0123456789+/=-abcdefXYZ\r\n"), "{head}");
    for bad in ["0123456789012345678", "01234567890123456789;", &"a".repeat(201), "0123456789012345678\"0"] {
        let head = sent(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {bad}\r\n\r\n").as_bytes());
        assert!(head.contains("\r\nX-Request-Id: 07070707-0707-4707-8707-070707070707\r\n"), "{head}");
    }
}

#[test]
fn absolute_form_wins_over_host() {
    let request = read(b"GET http://one.example:81/p?q HTTP/1.1\r\nHost: two.example\r\n\r\n").unwrap();
    assert_eq!((request.host(), request.target()), (&b"one.example"[..], &b"/p?q"[..]));
    assert_eq!(read(b"GET http://one.example?q HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().target(), b"/?q");
    assert_eq!(read(b"OPTIONS http://one.example HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().target(), b"*");
}

#[test]
fn upgrades_pass_only_when_asked_for_properly() {
    let websocket = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(sent(websocket).contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"));
    for without in [
        &b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let head = sent(without);
        assert!(!head.contains("pgrade") && !head.contains("HTTP2"), "{head}");
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    let keep = |head: &[u8]| read(head).unwrap().keep_alive;
    assert!(keep(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!keep(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    assert!(!keep(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"));
    assert!(keep(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n"));
}

#[test]
fn a_connection_field_names_few_others() {
    let naming =
        |members: usize| read(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close{}\r\n\r\n", ", x-a".repeat(members)).as_bytes());
    assert!(naming(31).is_ok());
    assert!(naming(32).is_err(), "each is looked for among all headers");
    assert!(naming(4000).is_err());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(head: Vec<u8>) {
        let _ = read(&head);
    }

    /// Whatever is accepted leaves as one head: its only empty line is the last, and it has one host and at most one framing.
    #[test]
    fn what_leaves_is_one_head(
        target in "/[ -~]{0,12}",
        fields in proptest::collection::vec(
            ("(?i)(host|content-length|transfer-encoding|connection|x-[a-z]{0,4}|upgrade|[ -~]{1,6})", "[ -~\t\r\n]{0,8}|chunked|[0-9]{1,3}|a\\.b"),
            0..8,
        ),
    ) {
        let mut head = format!("POST {target} HTTP/1.1\r\nHost: a.b\r\n");
        for (name, value) in fields {
            head.extend([&name, ": ", &value, "\r\n"]);
        }
        head.push_str("\r\n");
        if let Ok(mut request) = read(head.as_bytes()) {
            let length = request.len();
            let out = String::from_utf8_lossy(request.finish(0, length)).to_lowercase();
            proptest::prop_assert_eq!(out.find("\r\n\r\n"), Some(out.len() - 4));
            proptest::prop_assert_eq!(out.matches("\r\nhost:").count(), 1);
            proptest::prop_assert!(out.matches("\r\ncontent-length:").count() + out.matches("\r\ntransfer-encoding:").count() <= 1);
            proptest::prop_assert_eq!(out.replace("\r\n", "").find(['\r', '\n']), None);
        }
    }

    #[test]
    fn path_and_query_pass_byte_for_byte(target in "/[!-~]{0,40}") {
        let head = sent(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let start = format!("GET {target} HTTP/1.1\r\n");
        proptest::prop_assert!(head.starts_with(&start));
    }
}
