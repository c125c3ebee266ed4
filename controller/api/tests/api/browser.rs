//! The dashboard in a real, headless Chromium, driven through ChromeDriver (W3C WebDriver over HTTP).
//!
//! With `LANDFALL_SCREENSHOTS=<dir>` every look is kept as a PNG there.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use landfall_logs::{LogIdentity, SegmentWriter};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{PASSWORD, World};

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const PATIENCE: Duration = Duration::from_secs(30);

struct Browser {
    port: u16,
    session: String,
    driver: Child,
    chromium: Option<u64>,
    profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // ChromeDriver ends its Chromium when it is told to shut down; killing it would leave one behind.
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            use std::io::{Read as _, Write as _};
            write!(stream, "DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session)?;
            // The answer comes once Chromium has ended; ChromeDriver keeps the connection open after it.
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.read(&mut [0; 512])
        });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // Should it have stayed all the same: it is ours if it uses our profile.
        let Some(pid) = self.chromium else { return };
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&words).contains(&*self.profile.path().to_string_lossy()) {
            let _ = Command::new("kill").arg("-KILL").arg(pid.to_string()).status();
        }
    }
}

async fn webdriver(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = if method == "POST" { body.to_string() } else { String::new() };
    let request = http::Request::builder().method(method).uri(path).header("host", "localhost").header("content-type", "application/json");
    let response = sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(answer["value"]["error"].is_null(), "{method} {path}: {answer}");
    answer["value"].clone()
}

impl Browser {
    async fn start(width: u32, height: u32, dark: bool) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver").arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let driver = driver.expect("the browser test needs ChromeDriver: apt-get install chromium chromium-driver");
        let mut browser = Self { port, session: String::new(), driver, chromium: None, profile };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "ChromeDriver does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut args = vec![
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let profile = format!("--user-data-dir={}", browser.profile.path().display());
        args.push(&profile);
        if dark {
            args.push("--blink-settings=preferredColorScheme=0");
        }
        let phone = json!({ "deviceMetrics": { "width": width, "height": height, "pixelRatio": 1.0, "touch": true } });
        let mut options = json!({ "args": args });
        if width < 600 {
            options["mobileEmulation"] = phone;
        } else {
            options["args"].as_array_mut().unwrap().push(json!(format!("--window-size={width},{height}")));
        }
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let session = webdriver(port, "POST", "/session", &wanted).await;
        browser.chromium = session["capabilities"]["goog:processID"].as_u64();
        browser.session = session["sessionId"].as_str().unwrap().into();
        browser
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        webdriver(self.port, method, &format!("/session/{}{path}", self.session), &body).await
    }

    async fn open(&self, url: &str) {
        self.call("POST", "/url", json!({ "url": url })).await;
    }

    async fn find(&self, css: &str) -> String {
        let element = self.call("POST", "/element", json!({ "using": "css selector", "value": css })).await;
        element[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn fill(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.call("POST", &format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.call("POST", &format!("/element/{element}/click"), json!({})).await;
    }

    async fn script(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until a condition of the page is true.
    async fn until(&self, condition: &str) {
        let start = Instant::now();
        while self.script(&format!("return Boolean({condition})")).await != json!(true) {
            assert!(
                start.elapsed() < PATIENCE,
                "{condition} did not come true on:\n{}",
                self.script("return document.body.innerText").await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing sticks out sideways, nothing was blocked or thrown; and a picture for people.
    async fn look(&self, name: &str) {
        let overflow = self.script("return document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(overflow.as_i64().unwrap() <= 0, "{name} is {overflow} pixels too wide");
        let console = self.call("POST", "/se/log", json!({ "type": "browser" })).await;
        let problems: Vec<_> = console.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE").collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
        if let Ok(dir) = std::env::var("LANDFALL_SCREENSHOTS") {
            let height = self.script("return document.documentElement.scrollHeight").await;
            let width = self.script("return window.innerWidth").await;
            let clip = json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true, "clip": { "x": 0, "y": 0, "width": width, "height": height, "scale": 1 } } });
            let shot = self.call("POST", "/goog/cdp/execute", clip).await;
            let png = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(std::path::Path::new(&dir).join(format!("{name}.png")), png).unwrap();
        }
    }
}

async fn visit(name: &str, width: u32, height: u32, dark: bool) {
    let world = World::new().await;
    let scope = world.deployed("blog").await;
    world.deploy(&scope).await;
    world.post("/apps", json!({ "name": "calm-river-1234" })).await.expect(201);
    world
        .patch("/apps/blog/config-vars", json!({ "GREETING": "hi", "DATABASE_URL": "postgres://u:p@db/blog", "SECRET_KEY_BASE": "x" }))
        .await
        .expect(200);
    world
        .patch("/apps/blog/formation", json!({ "updates": [{ "type": "web", "quantity": 2 }, { "type": "worker", "quantity": 1 }] }))
        .await
        .expect(200);
    world.post("/apps/blog/domains", json!({ "hostname": "www.example.com" })).await.expect(201);
    let mut log = SegmentWriter::open(&world.logs_dir(scope.app_id()), "web.1", LogIdentity::new("app", "web.1").unwrap()).unwrap();
    log.append(Timestamp::now(), b"Listening at: http://0.0.0.0:8000\n<script>alert(1)</script> is only text").unwrap();
    log.flush().unwrap();

    let browser = Browser::start(width, height, dark).await;
    browser.open(&format!("http://{}/", world.address)).await;
    browser.until("document.querySelector('input[name=password]')").await;
    browser.look(&format!("{name}-login")).await;
    browser.fill("input[name=email]", "ann@example.com").await;
    browser.fill("input[name=password]", PASSWORD).await;
    browser.click("button.main").await;
    browser.until("location.pathname === '/dashboard'").await;
    browser.look(&format!("{name}-apps")).await;
    browser.click("a[href='/dashboard/apps/blog']").await;
    browser.until("document.querySelector('#log') && document.querySelector('#log').innerText.includes('is only text')").await;
    browser.until("document.querySelectorAll('#cpu polyline').length === 3").await;
    log.append(Timestamp::now(), b"GET /about 200 in 3 ms").unwrap();
    log.flush().unwrap();
    browser.until("document.querySelector('#log').innerText.includes('GET /about 200')").await;
    browser.until("document.querySelectorAll('#cpu polyline')[0].getAttribute('points').split(' ').length >= 3").await;
    browser.look(&format!("{name}-app")).await;

    browser.click("form[action$='/rollback'] button").await;
    browser.call("POST", "/alert/accept", json!({})).await;
    browser.until("document.body.innerText.includes('Rollback to v2')").await;
    browser.open(&format!("http://{}/dashboard/apps/nothing", world.address)).await;
    browser.until("document.body.innerText.includes('find that app')").await;
}

#[tokio::test]
async fn on_a_phone() {
    visit("phone", 390, 844, false).await;
}

#[tokio::test]
async fn on_a_desk_in_the_dark() {
    visit("desk", 1280, 900, true).await;
}
