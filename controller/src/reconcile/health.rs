//! One HTTP health check: a GET over a fresh connection, by hand, because one status line is all that is read.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest status line read.
const LINE: usize = 512;

/// Asks `path`. A status from 200 to 399 passes; anything else is an error in words.
pub(super) async fn check(address: SocketAddr, path: &str, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, status(address, path)).await {
        Err(_) => Err(format!("no answer within {} s", timeout.as_secs())),
        Ok(Err(error)) => Err(format!("the connection failed ({error})")),
        Ok(Ok(status)) if (200..400).contains(&status) => Ok(()),
        Ok(Ok(status)) => Err(format!("answered {status}")),
    }
}

async fn status(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let path: String = path.chars().filter(char::is_ascii_graphic).collect();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Landfall-Health-Check\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut piece = [0; LINE];
    while !head.contains(&b'\n') && head.len() < LINE {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        head.extend_from_slice(&piece[..read]);
    }
    parse(&head).ok_or_else(|| std::io::Error::other("what came back is not HTTP"))
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
    use super::*;
    use tokio::net::TcpListener;

    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        address
    }

    #[tokio::test]
    async fn says_what_came_back() {
        let ask = async |answer| check(server(answer).await, "/health", Duration::from_secs(5)).await;
        assert_eq!(ask("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(()));
        assert_eq!(ask("HTTP/1.0 302 Found\r\n\r\n").await, Ok(()));
        assert_eq!(ask("HTTP/1.1 500 Oops\r\n\r\n").await, Err("answered 500".to_owned()));
        assert!(ask("SSH-2.0-x\r\n").await.unwrap_err().contains("not HTTP"));
    }

    #[tokio::test]
    async fn nobody_and_silence_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(check(address, "/", Duration::from_millis(50)).await, Err("no answer within 0 s".to_owned()));
        drop(listener);
        assert!(check(address, "/", Duration::from_secs(5)).await.unwrap_err().contains("connection failed"));
    }
}
