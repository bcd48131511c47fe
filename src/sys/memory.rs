//! Memory that the allocator keeps.

/// Returns free memory to the operating system, where the allocator can be told to. Elsewhere it does
/// nothing.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim accepts any number and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
