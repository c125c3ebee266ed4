//! How many dynos of what, and which should start anew.

use std::collections::BTreeMap;

use jiff::Timestamp;
use landfall_model::{DynoName, DynoSize, FormationEntry, FormationId, ProcessType};

/// One process type of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formation {
    /// Its id.
    pub id: FormationId,
    /// Type, quantity, size, command.
    pub entry: FormationEntry,
    /// When the type first appeared.
    pub created_at: Timestamp,
    /// When it was last scaled.
    pub updated_at: Timestamp,
}

/// A new quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantityChange {
    /// `web=3`.
    To(u32),
    /// `web+1`, `web-1`.
    By(i32),
}

/// A change to one process type.
#[derive(Clone, Debug)]
pub struct FormationChange {
    /// Which.
    pub process_type: ProcessType,
    /// `None` = leave.
    pub quantity: Option<QuantityChange>,
    /// `None` = leave.
    pub size: Option<DynoSize>,
}

/// What `ps:restart` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartTarget {
    /// Every dyno.
    App,
    /// Every dyno of a type.
    Type(ProcessType),
    /// One dyno.
    Dyno(DynoName),
}

/// The newest restart asked for, by what it names. Numbers grow with every request to the app, whatever it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// For every dyno; 0 = never asked.
    pub app: u64,
    /// For every dyno of a type.
    pub types: BTreeMap<ProcessType, u64>,
    /// For one dyno.
    pub dynos: BTreeMap<DynoName, u64>,
}

impl Restarts {
    /// The generation a dyno of this name must have; a running one with a lower number is replaced.
    pub fn generation(&self, dyno: &DynoName) -> u64 {
        let by_type = self.types.get(&dyno.process_type).copied().unwrap_or(0);
        let by_name = self.dynos.get(dyno).copied().unwrap_or(0);
        self.app.max(by_type).max(by_name)
    }
}
