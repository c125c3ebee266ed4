//! What a site asks of the server: static.json as Heroku's static buildpack reads it, or Cloud Foundry's Staticfile.

use std::marker::PhantomData;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::glob::Glob;
use crate::contract::Problem;

/// A site.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    /// Directory of the files, relative to the app.
    pub root: PathBuf,
    /// `/about` serves `about.html`.
    pub clean_urls: bool,
    /// Requests that reached the router by plain HTTP are sent to HTTPS.
    pub https_only: bool,
    /// Shown with 404.
    pub error_page: Option<String>,
    /// Paths without a file, and the file served for them; the first match counts.
    pub routes: Vec<(Glob, String)>,
    /// Paths, and where they moved; the first match counts.
    pub redirects: Vec<(Glob, Redirect)>,
    /// Headers of the paths that match; a later one replaces an earlier one.
    pub headers: Vec<(Glob, Vec<(String, String)>)>,
    /// What was ignored, in words for the build log.
    pub warnings: Vec<String>,
}

/// Where a path moved.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Redirect {
    /// The `Location`.
    pub url: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "moved")]
    pub status: u16,
}

fn moved() -> u16 {
    301
}

/// A JSON object in the order it was written: the order decides which pattern counts.
#[derive(Debug)]
struct Ordered<T>(Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Ordered(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StaticJson {
    root: Option<String>,
    clean_urls: bool,
    https_only: bool,
    error_page: Option<String>,
    routes: Ordered<String>,
    redirects: Ordered<Redirect>,
    headers: Ordered<Ordered<String>>,
}

const KNOWN: &[&str] = &["root", "clean_urls", "https_only", "error_page", "routes", "redirects", "headers", "$schema"];
/// Ignoring these would show what was to be protected, or break the site in a way that is hard to see.
const REFUSED: &[(&str, &str)] = &[
    ("basic_auth", "the file server has no passwords, and without one the site would be open to everybody"),
    ("proxies", "the file server forwards no requests; let the browser call the other service by its own address"),
];
/// The server decides these.
const OWN_HEADERS: &[&str] = &["content-length", "transfer-encoding", "connection", "content-range", "date", "etag", "last-modified"];

impl Site {
    /// Reads what is in the app's top directory.
    pub(crate) fn read(app: &Path) -> Result<Self, Problem> {
        let mut site = Self::default();
        let mut root = None;
        if let Some(text) = text(app, "static.json")? {
            root = site.static_json(&text)?;
            if root.is_none() && app.join("public_html").is_dir() {
                root = Some("public_html".to_owned());
            }
        } else if let Some(text) = text(app, "Staticfile")? {
            if app.join("Staticfile.auth").exists() {
                return Err(refused("Staticfile.auth", REFUSED[0].1));
            }
            root = site.staticfile(&text);
        }
        let public = !app.join("index.html").is_file() && app.join("public/index.html").is_file();
        site.root = match root {
            Some(root) => inside(&root)?,
            None => PathBuf::from(if public { "public" } else { "." }),
        };
        Ok(site)
    }

    fn static_json(&mut self, text: &str) -> Result<Option<String>, Problem> {
        let bad = |e: serde_json::Error| Problem::new(format!("static.json cannot be read: {e}\nCorrect it, commit and push again."));
        let text = text.trim_start_matches('\u{feff}');
        let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(bad)?;
        if let Some((key, why)) = REFUSED.iter().find(|(key, _)| keys.contains_key(*key)) {
            return Err(refused(&format!("`{key}` of static.json"), why));
        }
        let unknown = keys.keys().filter(|k| !KNOWN.contains(&k.as_str()));
        self.warnings.extend(unknown.map(|k| format!("`{k}` of static.json is not known and has no effect")));
        let read: StaticJson = serde_json::from_str(text).map_err(bad)?;
        self.clean_urls = read.clean_urls;
        self.https_only = read.https_only;
        self.error_page = read.error_page;
        self.routes = read.routes.0.into_iter().map(|(glob, file)| (Glob::new(&glob), file)).collect();
        for (glob, redirect) in read.redirects.0 {
            if ![301, 302, 303, 307, 308].contains(&redirect.status) {
                return Err(Problem::new(format!(
                    "static.json redirects {glob} with status {}.\nA redirect has 301, 302, 303, 307 or 308.",
                    redirect.status
                )));
            }
            if redirect.url.is_empty() || !redirect.url.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Problem::new(format!(
                    "static.json redirects {glob} to {:?}, which is not a URL.\nWrite blanks and letters outside ASCII as %20 and the like.",
                    redirect.url
                )));
            }
            self.redirects.push((Glob::new(&glob), redirect));
        }
        for (glob, headers) in read.headers.0 {
            headers.0.iter().try_for_each(|(name, value)| check_header(name, value))?;
            self.headers.push((Glob::new(&glob), headers.0));
        }
        Ok(read.root)
    }

    fn staticfile(&mut self, text: &str) -> Option<String> {
        let mut root = None;
        for (key, value) in text.lines().filter(|l| !l.trim_start().starts_with('#')).filter_map(|l| l.split_once(':')) {
            let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
            let on = ["enabled", "true"].contains(&value);
            match key {
                "root" if !value.is_empty() => root = Some(value.to_owned()),
                "pushstate" if on => self.routes.push((Glob::new("/**"), "index.html".into())),
                "force_https" => self.https_only = on,
                _ => self.warnings.push(format!("`{key}` of Staticfile has no effect")),
            }
        }
        root
    }
}

fn text(app: &Path, name: &str) -> Result<Option<String>, Problem> {
    match std::fs::read_to_string(app.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Problem::io("read", Path::new(name), e)),
    }
}

fn refused(what: &str, why: &str) -> Problem {
    Problem::new(format!("{what} is not supported: {why}.\n\nRemove it and push again, or serve the site with a program of your own."))
}

/// `root` as a path that stays in the app.
pub(crate) fn inside(root: &str) -> Result<PathBuf, Problem> {
    let path: PathBuf = Path::new(root.trim_start_matches('/')).components().filter(|c| !matches!(c, Component::CurDir)).collect();
    if path.components().any(|c| !matches!(c, Component::Normal(_))) {
        return Err(Problem::new(format!("the site's root {root:?} is outside the app.\nName a directory of the app, such as `dist`.")));
    }
    Ok(if path.as_os_str().is_empty() { PathBuf::from(".") } else { path })
}

fn check_header(name: &str, value: &str) -> Result<(), Problem> {
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !token || value.contains(|c: char| c.is_control() && c != '\t') {
        return Err(Problem::new(format!(
            "static.json has the header {name:?}: {value:?}, which HTTP cannot carry.\nCorrect it and push again."
        )));
    }
    if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(Problem::new(format!("static.json sets the header {name}, which the server sets itself.\nRemove it and push again.")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Site, Problem> {
        let app = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = app.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Site::read(app.path())
    }

    #[test]
    fn finds_the_root() {
        let root = |files: &[(&str, &str)]| read(files).unwrap().root.display().to_string();
        assert_eq!(root(&[("index.html", ""), ("public/index.html", "")]), ".");
        assert_eq!(root(&[("public/index.html", "")]), "public");
        assert_eq!(root(&[("static.json", r#"{"root": "./dist/"}"#), ("index.html", "")]), "dist");
        assert_eq!(root(&[("static.json", r#"{"root": "/"}"#)]), ".");
        assert_eq!(root(&[("static.json", "{}"), ("public_html/a", "")]), "public_html");
        assert_eq!(root(&[("Staticfile", "# c\nroot: \"www\"\npushstate: enabled\n")]), "www");
        assert_eq!(root(&[("Staticfile", "")]), ".");
    }

    #[test]
    fn keeps_the_order_of_the_file() {
        let site =
            read(&[("static.json", r#"{"routes": {"/z/**": "z.html", "/**": "index.html", "/a": "a.html"}, "surprise": 1}"#)]).unwrap();
        assert_eq!(site.routes.iter().map(|(_, f)| f.as_str()).collect::<Vec<_>>(), ["z.html", "index.html", "a.html"]);
        assert_eq!(site.warnings, ["`surprise` of static.json is not known and has no effect"]);
    }

    #[test]
    fn says_what_is_wrong() {
        let texts = [
            "{\n  \"root\": dist\n}",
            r#"{"root": "../other"}"#,
            r#"{"basic_auth": true}"#,
            r#"{"proxies": {}}"#,
            r#"{"redirects": {"/a": {"url": "/b", "status": 200}}}"#,
            r#"{"redirects": {"/a": {"url": "/b\r\nX: y"}}}"#,
            r#"{"headers": {"/**": {"X-A": "b\r\nX: y"}}}"#,
            r#"{"headers": {"/**": {"Content-Length": "3"}}}"#,
        ];
        let said: Vec<String> = texts.iter().map(|t| read(&[("static.json", t)]).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(said.join("\n---\n"));
    }
}
