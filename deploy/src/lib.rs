//! plan(desired, observed, now) -> steps.
