//! So many at once in all, and so many for each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Places to be taken.
#[derive(Debug)]
pub struct Shares<K> {
    all: usize,
    each: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// Whose places are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Everybody's.
    All,
    /// One's own.
    Own,
}

/// A place, until this is dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    shares: Arc<Shares<K>>,
    key: Option<K>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// `all` places, of which one may have `each`.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::new(Taken { all: 0, by: HashMap::new() }) })
    }

    /// Takes a place; `None` = for somebody who is counted with all only.
    pub fn take(self: &Arc<Self>, key: Option<K>) -> Result<Share<K>, Spent> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.all {
            return Err(Spent::All);
        }
        if let Some(key) = &key {
            let own = taken.by.get(key).copied().unwrap_or_default();
            if own >= self.each {
                return Err(Spent::Own);
            }
            taken.by.insert(key.clone(), own + 1);
        }
        taken.all += 1;
        Ok(Share { shares: Arc::clone(self), key })
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(key) = &self.key else { return };
        if let Some(own) = taken.by.get_mut(key) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_does_not_take_every_place() {
        let shares = Shares::new(4, 2);
        let held = [shares.take(Some("ann")).unwrap(), shares.take(Some("ann")).unwrap()];
        assert_eq!(shares.take(Some("ann")).unwrap_err(), Spent::Own);
        let others = [shares.take(Some("bob")).unwrap(), shares.take(None).unwrap()];
        assert_eq!(shares.take(Some("eve")).unwrap_err(), Spent::All);
        drop(held);
        assert!(shares.take(Some("ann")).is_ok());
        drop(others);
        let taken = shares.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by.len()), (0, 0), "nothing is kept for who has left");
    }
}
