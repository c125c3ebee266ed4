//! One HTTP health check: a GET over a fresh connection, by hand, because a status line and perhaps some text is all that is read.

use std::net::SocketAddr;

use landfall_deploy::{Probe, Probed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest status line read, if nothing is looked for in the body.
const LINE: usize = 512;
/// How much of an answer is looked through for the text it must hold.
const ANSWER: usize = 1024 * 1024;

/// Asks once. A status from 200 to 399 passes, if the answer holds the text it must; anything else is an error in words.
pub(super) async fn check(address: SocketAddr, host: &str, probe: &Probe) -> Result<(), String> {
    match tokio::time::timeout(probe.timeout, ask(address, host, probe)).await {
        Err(_) => Err(format!("no answer within {} s", probe.timeout.as_secs())),
        Ok(Err(error)) => Err(format!("the connection failed ({error})")),
        Ok(Ok(verdict)) => verdict,
    }
}

/// What the log says when a readiness check begins or ceases to fail.
pub(super) fn readiness_line(probe: &Probe, before: &Probed, after: &Probed) -> Option<String> {
    let path = &probe.path;
    let failed = |probed: &Probed| probed.failures >= probe.attempts.max(1);
    match (failed(before), failed(after)) {
        (false, true) => {
            let why = after.last_failure.as_deref().unwrap_or("no answer");
            Some(format!("Readiness health check failed: {path}: {why}. It takes no requests until that passes"))
        }
        (true, false) => Some(format!("Readiness health check passed: {path}")),
        _ => None,
    }
}

async fn ask(address: SocketAddr, host: &str, probe: &Probe) -> std::io::Result<Result<(), String>> {
    let mut stream = TcpStream::connect(address).await?;
    let path: String = probe.path.chars().filter(char::is_ascii_graphic).collect();
    // HTTP/1.0: the body comes as it is, and ends with the connection.
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: Landfall-Health-Check\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let found = |answer: &[u8]| probe.content.as_ref().is_none_or(|text| memchr::memmem::find(answer, text.as_bytes()).is_some());
    let most = if probe.content.is_some() { ANSWER } else { LINE };
    let mut answer = Vec::new();
    while !(answer.contains(&b'\n') && found(&answer)) && answer.len() < most {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    let status = parse(&answer).ok_or_else(|| std::io::Error::other("what came back is not HTTP"))?;
    Ok(match &probe.content {
        _ if !(200..400).contains(&status) => Err(format!("answered {status}")),
        Some(text) if !found(&answer) => Err(format!("answered {status}, but without \"{}\"", text.escape_default())),
        _ => Ok(()),
    })
}

fn parse(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok().filter(|status| (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tokio::net::TcpListener;

    fn probe(content: Option<&str>, timeout: Duration) -> Probe {
        Probe { path: "/health".into(), content: content.map(str::to_owned), timeout, ..Probe::default() }
    }

    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(std::str::from_utf8(&request[..read]).unwrap().contains("\r\nHost: blog.localhost\r\n"));
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        address
    }

    #[tokio::test]
    async fn says_what_came_back() {
        let ask = async |answer, content| check(server(answer).await, "blog.localhost", &probe(content, Duration::from_secs(5))).await;
        assert_eq!(ask("HTTP/1.1 204 No Content\r\n\r\n", None).await, Ok(()));
        assert_eq!(ask("HTTP/1.0 302 Found\r\n\r\n", None).await, Ok(()));
        assert_eq!(ask("HTTP/1.1 500 Oops\r\n\r\n", None).await, Err("answered 500".to_owned()));
        assert!(ask("SSH-2.0-x\r\n", None).await.unwrap_err().contains("not HTTP"));
        assert_eq!(ask("HTTP/1.1 200 OK\r\n\r\nall is well", Some("is well")).await, Ok(()));
        assert_eq!(ask("HTTP/1.1 200 OK\r\n\r\nhm", Some("is well")).await, Err("answered 200, but without \"is well\"".to_owned()));
        assert_eq!(ask("HTTP/1.1 503 Busy\r\n\r\nis well", Some("is well")).await, Err("answered 503".to_owned()));
    }

    #[tokio::test]
    async fn nobody_and_silence_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ask = async |timeout| check(address, "blog.localhost", &probe(None, timeout)).await;
        assert_eq!(ask(Duration::from_millis(50)).await, Err("no answer within 0 s".to_owned()));
        drop(listener);
        assert!(ask(Duration::from_secs(5)).await.unwrap_err().contains("connection failed"));
    }

    #[test]
    fn a_readiness_check_is_told_when_it_turns() {
        let (probe, mut probed) = (probe(None, Duration::from_secs(1)), Probed::default());
        let mut told = Vec::new();
        for answer in [Err("answered 503"), Err("answered 503"), Err("answered 503"), Err("answered 503"), Ok(()), Ok(())] {
            let before = probed.clone();
            probed.answered(answer.map_err(str::to_owned));
            told.extend(readiness_line(&probe, &before, &probed));
        }
        assert_eq!(
            told,
            [
                "Readiness health check failed: /health: answered 503. It takes no requests until that passes",
                "Readiness health check passed: /health",
            ]
        );
    }
}
