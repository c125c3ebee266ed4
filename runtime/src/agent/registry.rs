//! The containers the agent knows, their addresses, and who watches them. Every change and its event happen under one lock, so a watcher's
//! snapshot and events fit together.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::{ContainerEvent, ContainerId, ContainerInfo, ContainerState};
use tokio::sync::{OwnedMutexGuard, broadcast, watch};
use tracing::warn;

use super::launch::now_ms;
use super::record::Record;
use crate::config::Subnet;
use crate::fault::{Result, fault};
use crate::uptime_ms;

/// One container.
#[derive(Debug)]
struct Entry {
    record: Record,
    state: watch::Sender<ContainerState>,
    operation: Arc<tokio::sync::Mutex<()>>,
}

/// All containers.
#[derive(Debug)]
pub(super) struct Registry {
    subnet: Subnet,
    /// Where the turn of addresses is kept.
    turn_file: PathBuf,
    inner: Mutex<Inner>,
    events: broadcast::Sender<ContainerEvent>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<ContainerId, Entry>,
    addresses: HashSet<Ipv4Addr>,
    next: u32,
}

impl Registry {
    /// Goes on with the addresses where the last agent stopped, as `turn_file` says.
    pub(super) fn new(subnet: Subnet, turn_file: PathBuf, backlog: usize) -> Self {
        let next = std::fs::read_to_string(&turn_file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        let inner = Mutex::new(Inner { next, ..Inner::default() });
        Self { subnet, turn_file, inner, events: broadcast::channel(backlog.max(1)).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an id and an address. The guard is the container's operation, already held; `None` if the id is there already.
    pub(super) fn reserve(&self, record: &mut Record) -> Result<Option<OwnedMutexGuard<()>>> {
        let mut inner = self.lock();
        if inner.entries.contains_key(&record.info.id) {
            return Ok(None);
        }
        record.info.ip = Some(inner.take_address(self.subnet)?);
        // Not synced: a machine that lost it has rebooted, and then no router believes an old address.
        if let Err(error) = std::fs::write(&self.turn_file, inner.next.to_string()) {
            warn!(%error, file = %self.turn_file.display(), "the turn of addresses was not kept; after a restart it begins anew");
        }
        self.insert(&mut inner, record.clone());
        let held = inner.entries.get(&record.info.id).and_then(|entry| entry.operation.clone().try_lock_owned().ok());
        Ok(held)
    }

    /// Puts an adopted container back.
    pub(super) fn adopt(&self, record: Record) {
        let mut inner = self.lock();
        inner.addresses.extend(record.info.ip);
        self.insert(&mut inner, record);
    }

    fn insert(&self, inner: &mut Inner, record: Record) {
        let entry = Entry { state: watch::Sender::new(record.info.state), operation: Arc::default(), record };
        self.tell(&entry);
        inner.entries.insert(entry.record.info.id.clone(), entry);
    }

    fn tell(&self, entry: &Entry) {
        if !entry.record.build {
            let _nobody_watches = self.events.send(ContainerEvent::Changed { container: entry.record.info.clone() });
        }
    }

    /// Changes a container; watchers hear of it if something changed. An exited container stays exited.
    pub(super) fn update(&self, id: &ContainerId, change: impl FnOnce(&mut ContainerInfo)) {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(id) else { return };
        let before = entry.record.info.clone();
        change(&mut entry.record.info);
        if matches!(before.state, ContainerState::Exited(_)) {
            entry.record.info.state = before.state;
        }
        if entry.record.info != before {
            let state = entry.record.info.state;
            if state != before.state {
                (entry.record.info.changed_at_ms, entry.record.info.changed_uptime_ms) = (now_ms(), uptime_ms());
            }
            entry.state.send_if_modified(|seen| std::mem::replace(seen, state) != state);
            self.tell(entry);
        }
    }

    /// Forgets a container and frees its address.
    pub(super) fn remove(&self, id: &ContainerId) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.remove(id) {
            if let Some(ip) = entry.record.info.ip {
                inner.addresses.remove(&ip);
            }
            if !entry.record.build {
                let _nobody_watches = self.events.send(ContainerEvent::Removed { id: id.clone() });
            }
        }
    }

    /// One container's record.
    pub(super) fn get(&self, id: &ContainerId) -> Option<Record> {
        self.lock().entries.get(id).map(|entry| entry.record.clone())
    }

    /// A container's record, or the fault to answer.
    pub(super) fn known(&self, id: &ContainerId) -> Result<Record> {
        self.get(id).ok_or_else(|| fault(FaultCode::NotFound, format!("there is no container {id}")))
    }

    /// Held while a container is made or removed.
    pub(super) fn operation(&self, id: &ContainerId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.lock().entries.get(id).map(|entry| entry.operation.clone())
    }

    /// A container's state as it changes.
    pub(super) fn state(&self, id: &ContainerId) -> Option<watch::Receiver<ContainerState>> {
        self.lock().entries.get(id).map(|entry| entry.state.subscribe())
    }

    /// Every container but builds.
    pub(super) fn list(&self) -> Vec<ContainerInfo> {
        let inner = self.lock();
        inner.entries.values().filter(|entry| !entry.record.build).map(|entry| entry.record.info.clone()).collect()
    }

    /// Every record, builds too.
    pub(super) fn records(&self) -> Vec<Record> {
        self.lock().entries.values().map(|entry| entry.record.clone()).collect()
    }

    /// Every container now, and each change from now on.
    pub(super) fn watch(&self) -> (Vec<ContainerInfo>, broadcast::Receiver<ContainerEvent>) {
        let inner = self.lock();
        let containers = inner.entries.values().filter(|entry| !entry.record.build).map(|entry| entry.record.info.clone()).collect();
        (containers, self.events.subscribe())
    }
}

impl Inner {
    /// The next free address, in turn, also over restarts of the agent: one just freed is not given to somebody else while a router may
    /// still know it.
    fn take_address(&mut self, subnet: Subnet) -> Result<Ipv4Addr> {
        // 0 is the network, 1 the bridge, the last one broadcast.
        let usable = subnet.size().saturating_sub(3);
        self.next = self.next.checked_rem(usable).unwrap_or(0);
        for _ in 0..usable {
            let address = subnet.nth(2 + self.next % usable);
            self.next = (self.next + 1) % usable;
            if self.addresses.insert(address) {
                return Ok(address);
            }
        }
        Err(fault(FaultCode::Busy, format!("all {usable} addresses of {subnet} are in use")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        let info = ContainerInfo {
            id: id.to_owned().try_into().unwrap(),
            labels: BTreeMap::new(),
            state: ContainerState::Starting,
            ip: None,
            other_listeners: Vec::new(),
            started_at_ms: 0,
            changed_at_ms: 0,
            started_uptime_ms: 0,
            changed_uptime_ms: 0,
        };
        Record { info, image: String::new(), port: None, build: false, limits: None }
    }

    #[test]
    fn addresses_are_unique_until_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new("10.9.8.0/29".parse().unwrap(), dir.path().join("turn"), 8);
        let mut given = HashSet::new();
        for id in ["a", "b", "c", "d", "e"] {
            let mut record = record(id);
            assert!(registry.reserve(&mut record).unwrap().is_some());
            assert!(given.insert(record.info.ip));
        }
        assert_eq!(registry.reserve(&mut record("f")).unwrap_err().code, FaultCode::Busy);
        registry.remove(&record("c").info.id);
        assert!(registry.reserve(&mut record("f")).unwrap().is_some());
        assert!(registry.reserve(&mut record("f")).unwrap().is_none(), "the same id is taken once");
    }

    #[test]
    fn a_new_agent_goes_on_with_the_turn() {
        let dir = tempfile::tempdir().unwrap();
        let mut given = HashSet::new();
        for id in ["a", "b", "c", "d", "e"] {
            let registry = Registry::new("10.9.8.0/29".parse().unwrap(), dir.path().join("turn"), 8);
            let mut record = record(id);
            registry.reserve(&mut record).unwrap();
            assert!(given.insert(record.info.ip), "{:?} was given out before", record.info.ip);
        }
    }

    #[test]
    fn exited_is_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new("10.9.8.0/24".parse().unwrap(), dir.path().join("turn"), 8);
        let mut record = record("a");
        registry.reserve(&mut record).unwrap();
        let exited = ContainerState::Exited(landfall_runtime_wire::ExitStatus { code: 3, oom: false });
        registry.update(&record.info.id, |info| info.state = exited);
        registry.update(&record.info.id, |info| info.state = ContainerState::Ready);
        let info = registry.get(&record.info.id).unwrap().info;
        assert_eq!(info.state, exited);
        assert!(info.changed_at_ms > info.started_at_ms, "nobody knows when it ended");
    }
}
