//! Decides what a request gets. Nothing here writes to the network.

use std::fs::{File, Metadata};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::path::{Clean, Place, Root, encoded};
use super::range::{self, Asked};
use super::request::Request;
use super::site::Site;
use super::validator::{self, Validators};
use super::{content_type, status};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// What follows the head.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing, by the status: 304.
    None,
    /// A page of ours.
    Text(String),
    /// So many bytes of a file, from where it stands.
    File(File, u64),
}

/// Answers requests for one site.
#[derive(Debug)]
pub(crate) struct Answers {
    site: Site,
    root: Root,
    validators: Validators,
}

impl Answer {
    /// A short page that says the status.
    pub(crate) fn page(code: u16) -> Self {
        let text = format!("<!doctype html>\n<title>{code} {0}</title>\n<h1>{0}</h1>\n", status::reason(code));
        let headers = vec![("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned())];
        Self { status: code, headers, body: Body::Text(text) }
    }

    fn moved(code: u16, to: String) -> Self {
        let mut answer = Self::page(code);
        answer.set("Location", to);
        answer
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
    }
}

impl Answers {
    pub(crate) fn new(site: Site, root: Root) -> Self {
        Self { site, root, validators: Validators::new() }
    }

    /// The answer to `request`.
    pub(crate) fn to(&self, request: &Request) -> Answer {
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            let mut answer = Answer::page(405);
            answer.set("Allow", "GET, HEAD");
            return answer;
        }
        let Some(clean) = Clean::new(&request.path) else { return Answer::page(400) };
        let plain = request.header("x-forwarded-proto").is_some_and(|p| p.eq_ignore_ascii_case("http"));
        if let (true, true, Some(host)) = (self.site.https_only, plain, request.header("host")) {
            return Answer::moved(301, format!("https://{host}{}{}", encoded(&clean.path), request.query));
        }
        if let Some((_, redirect)) = self.site.redirects.iter().find(|(glob, _)| glob.matches(&clean.path)) {
            return Answer::moved(redirect.status, redirect.url.clone());
        }
        if clean.hidden {
            return self.missing(&clean);
        }
        match self.place(&clean.path) {
            Found::File(path, meta) => self.file(request, &clean.path, &path, &meta, 200),
            Found::AddSlash => Answer::moved(301, format!("{}/{}", encoded(&clean.path), request.query)),
            Found::Nothing => match self.site.routes.iter().find(|(glob, _)| glob.matches(&clean.path)).map(|(_, f)| self.root.at(f)) {
                Some(Place::File(path, meta)) => self.file(request, &clean.path, &path, &meta, 200),
                _ => self.missing(&clean),
            },
        }
    }

    fn place(&self, path: &str) -> Found {
        let slash = path.ends_with('/');
        let here = self.root.at(path);
        if let (Place::File(path, meta), false) = (&here, slash) {
            return Found::File(path.clone(), meta.clone());
        }
        if self.site.clean_urls
            && !slash
            && let Place::File(path, meta) = self.root.at(&format!("{path}.html"))
        {
            return Found::File(path, meta);
        }
        match (here, self.root.at(&format!("{path}/index.html"))) {
            (Place::Directory, Place::File(path, meta)) if slash => Found::File(path, meta),
            (Place::Directory, Place::File(..)) => Found::AddSlash,
            _ => Found::Nothing,
        }
    }

    fn missing(&self, clean: &Clean) -> Answer {
        let mut answer = Answer::page(404);
        if let Some(page) = &self.site.error_page
            && let Place::File(path, meta) = self.root.at(page)
            && let Ok(file) = File::open(&path)
        {
            answer.body = Body::File(file, meta.len());
            answer.set("Content-Type", content_type::of(&path.to_string_lossy()));
            self.own_headers(&mut answer, &clean.path);
        }
        answer
    }

    fn file(&self, request: &Request, asked: &str, path: &Path, meta: &Metadata, code: u16) -> Answer {
        let opened = File::open(path).and_then(|file| Ok((file, self.validators.etag(path, meta)?)));
        let (mut file, etag) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                eprintln!("cannot read {}: {e}", path.display());
                return Answer::page(500);
            }
        };
        let modified = self.validators.modified(meta);
        let mut answer = Answer { status: code, headers: Vec::new(), body: Body::None };
        answer.set("ETag", etag.clone());
        if let Some(date) = validator::http_date(modified) {
            answer.set("Last-Modified", date);
        }
        answer.set("Content-Type", content_type::of(&path.to_string_lossy()));
        answer.set("Accept-Ranges", "bytes");
        self.own_headers(&mut answer, asked);
        let unchanged = match (request.header("if-none-match"), request.header("if-modified-since")) {
            (Some(list), _) => validator::lists(list, &etag),
            (None, Some(date)) => validator::read_date(date).is_some_and(|d| modified <= d),
            (None, None) => false,
        };
        if unchanged {
            answer.status = 304;
            return answer;
        }
        let current = |condition: &str| condition == etag || validator::read_date(condition) == Some(modified);
        let range = match request.header("range") {
            Some(range) if request.method == "GET" && request.header("if-range").is_none_or(current) => range::asked(range, meta.len()),
            _ => Asked::Whole,
        };
        let len = match range {
            Asked::Whole => meta.len(),
            Asked::Impossible => {
                let mut answer = Answer::page(416);
                answer.set("Content-Range", format!("bytes */{}", meta.len()));
                return answer;
            }
            Asked::Part { first, last } => {
                if file.seek(SeekFrom::Start(first)).is_err() {
                    return Answer::page(500);
                }
                answer.status = 206;
                answer.set("Content-Range", format!("bytes {first}-{last}/{}", meta.len()));
                last - first + 1
            }
        };
        answer.body = Body::File(file, len);
        answer
    }

    fn own_headers(&self, answer: &mut Answer, path: &str) {
        for (_, headers) in self.site.headers.iter().filter(|(glob, _)| glob.matches(path)) {
            for (name, value) in headers {
                answer.set(name, value.as_str());
            }
        }
    }
}

/// What a path gets before routes are asked.
enum Found {
    File(PathBuf, Metadata),
    /// A directory with an index, asked for without its last `/`.
    AddSlash,
    Nothing,
}
