//! What dynos use now: cgroup counters, turned into per cent.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use landfall_api::platform::{DynoStats, PlatformError};
use landfall_model::AppId;
use landfall_runtime_wire::ContainerId;

use super::{Live, of_agent};
use crate::reconcile::Labels;

/// The last reading of each container's CPU counter, in nanoseconds.
pub(super) type Readings = Mutex<HashMap<ContainerId, (Instant, u64)>>;

impl Live {
    pub(super) async fn read_stats(&self, app: AppId) -> Result<Vec<DynoStats>, PlatformError> {
        let all = self.shared().agent.stats().await.map_err(of_agent)?;
        let now = Instant::now();
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stats = Vec::new();
        for stat in &all {
            let Some(labels) = self.shared().cache.get(&stat.id).as_ref().and_then(Labels::read).filter(|labels| labels.app == app) else {
                continue;
            };
            let before = readings.insert(stat.id.clone(), (now, stat.cpu_ns));
            let cpu_percent = before.map_or(0.0, |(then, cpu)| {
                let elapsed = now.duration_since(then).as_nanos().max(1) as f64;
                stat.cpu_ns.saturating_sub(cpu) as f64 / elapsed * 100.0
            });
            stats.push(DynoStats {
                name: labels.dyno,
                cpu_percent,
                memory_bytes: stat.memory_bytes,
                memory_limit_bytes: labels.size.memory_bytes(),
            });
        }
        readings.retain(|id, _| all.iter().any(|stat| stat.id == *id));
        stats.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stats)
    }
}
