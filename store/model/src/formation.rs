//! Formation: how many dynos of each process type, how big, and which of them were asked to start anew.

use std::collections::BTreeMap;

use crate::{DynoName, DynoSize, ProcessType};

/// The most dynos one process type may ask for (Heroku's limit for one process type is 100; one machine holds no more).
pub const MAX_QUANTITY: u32 = 100;

/// One process type of an app.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FormationEntry {
    /// `web`, `worker`, …
    pub process_type: ProcessType,
    /// How many dynos should run; 0 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// Their size.
    pub size: DynoSize,
    /// The Procfile line.
    pub command: String,
}

/// The newest restart asked for, by what it names. Numbers grow with every request to the app, whatever it names; a dyno of another
/// generation than the wanted one is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// Of the whole app; 0 = never asked.
    pub app: u64,
    /// Of one process type.
    pub types: BTreeMap<ProcessType, u64>,
    /// Of one dyno.
    pub dynos: BTreeMap<DynoName, u64>,
}

impl Restarts {
    /// The generation a dyno of this name must have.
    pub fn generation(&self, dyno: &DynoName) -> u64 {
        let by_type = self.types.get(&dyno.process_type).copied().unwrap_or(0);
        let by_name = self.dynos.get(dyno).copied().unwrap_or(0);
        self.app.max(by_type).max(by_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_restart_that_names_a_dyno_counts() {
        let mut restarts = Restarts { app: 2, ..Restarts::default() };
        restarts.types.insert("web".parse().unwrap(), 5);
        restarts.dynos.insert("web.2".parse().unwrap(), 3);
        restarts.dynos.insert("worker.1".parse().unwrap(), 4);
        let generation = |name: &str| restarts.generation(&name.parse().unwrap());
        assert_eq!(["web.1", "web.2", "worker.1", "worker.2"].map(generation), [5, 5, 4, 2]);
    }
}
