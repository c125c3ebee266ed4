//! `landfall-buildpacks serve` as a dyno runs it: the program, `$PORT` and a signal.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serves_on_port_and_ends_by_sigterm() {
    let app = tempfile::tempdir().unwrap();
    std::fs::create_dir(app.path().join("public")).unwrap();
    std::fs::write(app.path().join("public/index.html"), "hello").unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall-buildpacks"));
    command.args(["serve", "public"]).current_dir(app.path()).env("PORT", port.to_string()).stdout(Stdio::piped());
    let mut child = Kill(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("Serving public on port {port}\n"));

    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nhello"), "{got}");

    // A connection at rest does not hold it up.
    let _idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert!(Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(5);
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "still running 5 seconds after SIGTERM");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.signal(), Some(15));
}
