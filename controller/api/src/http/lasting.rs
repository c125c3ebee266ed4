//! What lasts longer than the request that opened it ends with the right it was opened with.

use std::time::Instant;

use futures_util::{Stream, StreamExt as _};
use landfall_store::Grant;
use tokio::time::MissedTickBehavior;

use crate::ApiState;

/// Returns once the right is gone. A store that does not answer takes nothing away.
pub(crate) async fn until_taken_away(api: ApiState, grant: Grant) {
    let every = api.config().recheck;
    let mut pace = tokio::time::interval_at((Instant::now() + every).into(), every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        match api.store().grant_holds(&grant).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(error = %error, "a stream's right could not be asked for; trying again"),
        }
    }
}

/// The stream, until its end or the right's.
pub(crate) fn while_granted<S: Stream>(api: &ApiState, grant: Grant, stream: S) -> impl Stream<Item = S::Item> + use<S> {
    stream.take_until(Box::pin(until_taken_away(api.clone(), grant)))
}
