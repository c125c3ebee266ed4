//! How many git processes may run: in all, and for one account, so that nobody can take the machine or everybody's turn (trust rule R9).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use landfall_model::AccountId;

/// Everybody's places.
#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    each: usize,
    taken: Arc<Mutex<HashMap<AccountId, usize>>>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    account: AccountId,
    taken: Arc<Mutex<HashMap<AccountId, usize>>>,
}

impl Places {
    /// `all` at once, `each` of them for one account.
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { all, each, taken: Arc::default() }
    }

    /// A place for the account; `None` when there is none now.
    pub(super) fn take(&self, account: AccountId) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.all || taken.get(&account).is_some_and(|own| *own >= self.each) {
            return None;
        }
        *taken.entry(account).or_default() += 1;
        Some(Place { account, taken: self.taken.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_and_all_are_not_too_many() {
        let places = Places::new(3, 2);
        let [ann, bob] = [AccountId::new(), AccountId::new()];
        let mut held: Vec<_> = [ann, ann].map(|account| places.take(account).unwrap()).into();
        assert!(places.take(ann).is_none(), "two are hers");
        held.push(places.take(bob).unwrap());
        assert!(places.take(bob).is_none(), "three are there");
        held.remove(0);
        assert!(places.take(bob).is_some());
        held.clear();
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is kept for those at rest");
    }
}
