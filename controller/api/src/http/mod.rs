//! HTTP habits of the Platform API that do not depend on a resource: bodies, ranges, conditional requests, limits, signed URLs.

pub(crate) mod body;
pub(crate) mod conventions;
pub(crate) mod lasting;
pub(crate) mod limiter;
pub(crate) mod range;
pub(crate) mod reply;
pub(crate) mod shares;
pub(crate) mod sign;
