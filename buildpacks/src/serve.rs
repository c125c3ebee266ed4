//! `landfall-buildpacks serve [ROOT]`: the file server that `landfall/static` puts into an image.
//!
//! One thread for each connection, within a limit; connections above it wait in the kernel's queue. A signal ends it at once, as the router
//! has stopped sending by then: there is nothing to save.

mod answer;
mod connection;
mod content_type;
mod glob;
mod path;
mod range;
mod request;
pub(crate) mod site;
mod status;
#[cfg(test)]
mod tests;
mod validator;

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::contract::Problem;
use answer::Answers;
pub(crate) use path::Root;
use site::Site;

/// Stack of a connection's thread; its buffers are a few KiB.
const STACK_BYTES: usize = 256 * 1024;

/// Bounds of the server.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections at once: half of what the smallest dyno may have in threads.
    pub connections: usize,
    /// Longest head of a request.
    pub head_bytes: usize,
    /// From a head's first byte to its last.
    pub head_time: Duration,
    /// A connection at rest; a thirtieth of it when most threads are taken.
    pub idle_time: Duration,
    /// Without progress of an answer.
    pub write_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            head_bytes: 16 * 1024,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
        }
    }
}

/// Serves the app of the working directory on `$PORT` until a signal comes.
pub(crate) fn run(args: &[OsString]) -> Result<(), Problem> {
    let app = std::env::current_dir().map_err(|e| Problem::io("enter", Path::new("the app directory"), e))?;
    let mut site = Site::read(&app)?;
    if let Some(root) = args.first() {
        site.root = site::inside(&root.to_string_lossy())?;
    }
    let name = site.root.display().to_string();
    let root = Root::new(&app, &site.root).ok_or_else(|| no_root(&name))?;
    let port = std::env::var("PORT").ok().and_then(|p| p.parse::<u16>().ok());
    let port = port.ok_or_else(|| Problem::new("PORT does not name a port.\nStart it like this: PORT=5000 landfall-buildpacks serve"))?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .map_err(|e| Problem::new(format!("cannot listen on port {port}: {e}\nIs another program using it? PORT names a free one.")))?;
    println!("Serving {name} on port {port}");
    listen(&listener, Arc::new(Answers::new(site, root)), &Limits::default());
    Ok(())
}

/// The site's directory is not there.
pub(crate) fn no_root(name: &str) -> Problem {
    Problem::new(format!(
        "The site's root `{name}` is not a directory of this app.\n\n`root` in static.json (or Staticfile) names the directory with index.html.\n\
         If a build makes it, commit what it made, or add the language's own files so that its buildpack runs the build."
    ))
}

/// Accepts connections for ever.
fn listen(listener: &TcpListener, answers: Arc<Answers>, limits: &Limits) {
    let slots = Arc::new(Slots::default());
    loop {
        let slot = Slots::take(&slots, limits.connections);
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) => {
                eprintln!("cannot accept a connection: {e}");
                std::thread::sleep(Duration::from_millis(50)); // Out of descriptors or memory: let others end.
                continue;
            }
        };
        let (answers, limits) = (Arc::clone(&answers), limits.clone());
        let started = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let crowded = || slot.slots.used() * 4 > limits.connections * 3;
            connection::serve(stream, &answers, &limits, crowded);
        });
        if let Err(e) = started {
            eprintln!("cannot start a thread for a connection: {e}");
        }
    }
}

/// How many connections there are.
#[derive(Debug, Default)]
struct Slots {
    used: Mutex<usize>,
    freed: Condvar,
}

/// One of them, until dropped.
struct Slot {
    slots: Arc<Slots>,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> usize {
        *self.lock()
    }

    fn take(slots: &Arc<Self>, most: usize) -> Slot {
        let used = slots.freed.wait_while(slots.lock(), |used| *used >= most);
        *used.unwrap_or_else(PoisonError::into_inner) += 1;
        Slot { slots: Arc::clone(slots) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.slots.lock() -= 1;
        self.slots.freed.notify_one();
    }
}
