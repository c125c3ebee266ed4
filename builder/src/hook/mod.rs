//! The pre-receive hook.
