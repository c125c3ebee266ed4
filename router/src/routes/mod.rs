//! Who answers for which host. Readers take no lock: a change is a swap of one pointer.

pub(crate) mod app;
pub(crate) mod backend;
pub(crate) mod idle;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::control::{AppRoutes, Table};
use crate::http1::host::{MAX_HOST, fold, is_table_host};
use app::App;
use backend::Backend;

/// The table in force.
#[derive(Debug)]
pub(crate) struct Routes {
    hosts: ArcSwap<Hosts>,
    /// Only those who change or count take this; requests never do.
    book: Mutex<Book>,
    platform_domains: Vec<String>,
}

/// Both maps are asked at most once for each label of a host, however many hosts there are.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<Box<str>, Arc<App>>,
    /// `example.com` for `*.example.com`.
    wildcard: HashMap<Box<str>, Arc<App>>,
}

#[derive(Debug, Default)]
struct Book {
    generation: u64,
    apps: BTreeMap<Arc<str>, Known>,
    /// Also those that left the table and still have requests.
    backends: HashMap<Arc<str>, Arc<Backend>>,
    /// Those that left the table and may still have requests.
    leaving: Vec<Arc<Backend>>,
}

#[derive(Debug)]
struct Known {
    generation: u64,
    name: Box<str>,
    hosts: Box<[Box<str>]>,
    /// All of it as it was sent, for the table file: one piece of text is a fifth of the same in strings.
    text: Box<str>,
    live: Arc<App>,
}

impl Known {
    fn new(generation: u64, routes: &AppRoutes, live: Arc<App>) -> Self {
        let text = serde_json::to_string(routes).expect("strings and numbers only").into();
        let hosts = routes.hosts.iter().map(|host| host.as_str().into()).collect();
        Self { generation, name: routes.name.as_str().into(), hosts, text, live }
    }

    fn answers_as(&self, routes: &AppRoutes) -> bool {
        *self.name == *routes.name && self.hosts.iter().map(|host| &**host).eq(routes.hosts.iter().map(String::as_str))
    }
}

/// A later generation is in force.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("generation {given} of app {app} is older than {in_force}, which is in force; send the whole table")]
pub(crate) struct Stale {
    app: String,
    given: u64,
    in_force: u64,
}

impl Routes {
    pub(crate) fn new(platform_domains: Vec<String>) -> Self {
        let platform_domains = platform_domains.into_iter().map(|domain| domain.to_ascii_lowercase()).collect();
        Self { hosts: ArcSwap::default(), book: Mutex::default(), platform_domains }
    }

    /// The app that answers for `host` (as it came, without port).
    pub(crate) fn find(&self, host: &[u8]) -> Option<Arc<App>> {
        let mut buffer = [0; MAX_HOST];
        let host = fold(host, &mut buffer)?;
        let hosts = self.hosts.load();
        if let Some(app) = hosts.exact.get(host) {
            return Some(Arc::clone(app));
        }
        if hosts.wildcard.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(app) = hosts.wildcard.get(parent) {
                return Some(Arc::clone(app));
            }
            rest = parent;
        }
        None
    }

    /// Makes `table` all there is.
    pub(crate) fn replace_table(&self, table: &Table) {
        let mut book = self.lock();
        book.generation = table.generation;
        let mut old = std::mem::take(&mut book.apps);
        for routes in &table.apps {
            let live = old.remove(routes.id.as_str()).map_or_else(|| App::new(routes), |known| known.live);
            book.apply(&live, routes);
            book.apps.insert(Arc::clone(&live.id), Known::new(table.generation, routes, live));
        }
        for known in old.into_values() {
            book.leaving.extend(known.live.remove());
        }
        self.publish(&mut book);
    }

    /// Adds or replaces one app.
    pub(crate) fn replace_app(&self, generation: u64, routes: &AppRoutes) -> Result<(), Stale> {
        let mut book = self.lock();
        book.advance(generation, &routes.id)?;
        let known = book.apps.remove(routes.id.as_str());
        let same_hosts = known.as_ref().is_some_and(|known| known.answers_as(routes));
        let live = known.map_or_else(|| App::new(routes), |known| known.live);
        book.apply(&live, routes);
        book.apps.insert(Arc::clone(&live.id), Known::new(generation, routes, live));
        if same_hosts {
            book.sweep();
        } else {
            self.publish(&mut book);
        }
        Ok(())
    }

    /// Forgets one app.
    pub(crate) fn remove_app(&self, generation: u64, id: &str) -> Result<(), Stale> {
        let mut book = self.lock();
        book.advance(generation, id)?;
        if let Some(known) = book.apps.remove(id) {
            book.leaving.extend(known.live.remove());
            self.publish(&mut book);
        }
        Ok(())
    }

    /// The table as it would be sent: its generation, and the JSON of each app.
    pub(crate) fn snapshot(&self) -> (u64, Vec<Box<str>>) {
        let book = self.lock();
        (book.generation, book.apps.values().map(|known| known.text.clone()).collect())
    }

    /// A backend in the table, or one that left it with requests still under way.
    pub(crate) fn backend(&self, id: &str) -> Option<Arc<Backend>> {
        self.lock().backends.get(id).cloned()
    }

    /// Of the table in force.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Generation and apps, for statistics.
    pub(crate) fn apps(&self) -> (u64, Vec<Arc<App>>) {
        let book = self.lock();
        (book.generation, book.apps.values().map(|known| Arc::clone(&known.live)).collect())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, book: &mut Book) {
        let mut hosts = Hosts::default();
        // The platform's own names first: no app's domain can take another app's default host.
        for domain in &self.platform_domains {
            for known in book.apps.values() {
                let host = format!("{}.{domain}", known.name);
                if is_table_host(&host) {
                    hosts.exact.entry(host.into()).or_insert_with(|| Arc::clone(&known.live));
                }
            }
        }
        for known in book.apps.values() {
            for host in &known.hosts {
                self.add_host(&mut hosts, host, known);
            }
        }
        self.hosts.store(Arc::new(hosts));
        book.sweep();
    }

    fn add_host(&self, hosts: &mut Hosts, host: &str, known: &Known) {
        let (map, name) = match host.strip_prefix("*.") {
            Some(parent) => (&mut hosts.wildcard, parent),
            None => (&mut hosts.exact, host),
        };
        let covers_platform =
            host.starts_with("*.") && self.platform_domains.iter().any(|domain| within(domain, name) || within(name, domain));
        if !is_table_host(host) || covers_platform {
            tracing::warn!(app.id = %known.live.id, host, "host is not valid or covers the platform's domain; it is not routed");
            return;
        }
        let owner = map.entry(name.into()).or_insert_with(|| Arc::clone(&known.live));
        if !Arc::ptr_eq(owner, &known.live) {
            tracing::warn!(app.id = %known.live.id, other.id = %owner.id, host, "host belongs to another app; it stays there");
        }
    }
}

/// Whether `name` is `parent` or below it.
fn within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Book {
    fn advance(&mut self, given: u64, app: &str) -> Result<(), Stale> {
        if let Some(known) = self.apps.get(app)
            && known.generation > given
        {
            return Err(Stale { app: app.to_owned(), given, in_force: known.generation });
        }
        self.generation = self.generation.max(given);
        Ok(())
    }

    /// Brings a live app to what the table says, keeping the backends it has: their counts and connections go on.
    fn apply(&mut self, live: &Arc<App>, routes: &AppRoutes) {
        let mut backends = Vec::with_capacity(routes.backends.len());
        for wanted in &routes.backends {
            let backend = match self.backends.get(wanted.id.as_str()) {
                Some(known) if known.addr == wanted.addr => Arc::clone(known),
                _ => {
                    let new = Arc::new(Backend::new(wanted));
                    self.backends.insert(Arc::clone(&new.id), Arc::clone(&new));
                    new
                }
            };
            backend.restore();
            backends.push(backend);
        }
        self.leaving.extend(live.replace(routes, backends));
    }

    /// Forgets backends that are out of the table and idle.
    fn sweep(&mut self) {
        let backends = &mut self.backends;
        self.leaving.retain(|backend| {
            if !backend.is_removed() {
                return false;
            }
            let idle = backend.is_idle();
            if idle && backends.get(&backend.id).is_some_and(|known| Arc::ptr_eq(known, backend)) {
                backends.remove(&backend.id);
            }
            !idle
        });
    }
}
