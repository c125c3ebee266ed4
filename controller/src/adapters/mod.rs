//! Rooms joined: each adapter makes one room's port out of another room's functions, and decides nothing.

pub mod git_access;
pub mod sandbox;
