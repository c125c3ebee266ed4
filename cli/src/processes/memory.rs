//! How the allocator of our long-lived processes behaves.

/// Freed memory goes back to the system instead of waiting for a need that never comes.
///
/// Hashing one password takes 19 MB for a moment. Left alone, glibc raises its threshold for separate mappings to the largest block
/// that was ever freed, so that the next such block would stay in the heap of whichever thread asked first (mallopt(3),
/// `M_MMAP_THRESHOLD`: "dynamic mmap threshold"). Fixed thresholds and two arenas halve the server's idle memory.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub(super) fn give_back_what_is_freed() {
    use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};

    const BLOCK: i32 = 128 * 1024;
    for (option, value) in [(M_MMAP_THRESHOLD, BLOCK), (M_TRIM_THRESHOLD, BLOCK), (M_ARENA_MAX, 2)] {
        // SAFETY: mallopt takes two integers and changes only the allocator's settings; it is called before any thread is started.
        // A refusal (0) leaves the setting as it was, which costs memory and nothing else.
        unsafe { mallopt(option, value) };
    }
}

/// Other C libraries keep nothing back.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back_what_is_freed() {}
