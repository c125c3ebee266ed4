//! People who look at the apps all the time and should notice nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_tests::http;

/// Asks each of the hosts again and again until dropped.
pub(crate) struct Visitors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    gone: AtomicBool,
    router_dies: AtomicBool,
    asked: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Visitors {
    pub(crate) fn of(router: SocketAddr, hosts: &[String]) -> Self {
        let shared = Arc::<Shared>::default();
        let visit = |host: &String| {
            let (shared, host) = (Arc::clone(&shared), host.clone());
            std::thread::spawn(move || shared.visit(router, &host))
        };
        let threads = hosts.iter().map(visit).collect();
        Self { shared, threads }
    }

    /// Only while the router itself is away may a connection break, and only one that was made: none is refused.
    pub(crate) fn router_dies(&self, dies: bool) {
        self.shared.router_dies.store(dies, Ordering::SeqCst);
    }

    /// How many requests were made so far.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// Every request since the last look was answered with 200.
    pub(crate) fn saw_nothing(&self) -> Result<()> {
        let failures = std::mem::take(&mut *self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner));
        ensure!(failures.is_empty(), "{} requests failed: {}", failures.len(), failures[0]);
        Ok(())
    }
}

impl Shared {
    fn visit(&self, router: SocketAddr, host: &str) {
        while !self.gone.load(Ordering::Relaxed) {
            let excused = self.router_dies.load(Ordering::SeqCst);
            let answer = http::get(router, host, "/");
            self.asked.fetch_add(1, Ordering::Relaxed);
            let broke = answer
                .as_ref()
                .is_err_and(|error| error.downcast_ref::<io::Error>().is_none_or(|error| error.kind() != io::ErrorKind::ConnectionRefused));
            let excused = (excused || self.router_dies.load(Ordering::SeqCst)) && broke;
            if !excused && !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{host}: {answer:?}"));
            }
            // A pace, not a wait: two cores are for the deploys too.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
