//! Owns giving memory back: a pull, a prune or thirty pods at once fill the heap with small blocks, and glibc keeps
//! the pages after they are freed.
//!
//! The one call here is `unsafe` only by its being foreign: `malloc_trim` has no precondition.
#![expect(unsafe_code, reason = "glibc's malloc_trim is reached through the foreign function interface only")]

/// Returns freed heap pages to the kernel.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
