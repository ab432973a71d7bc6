//! Chance that comes again: on a thread that asks for it, everything random that this process draws from the system (nonces,
//! keys of hash maps, the turns of `select!`) follows from a seed.
//!
//! The C library's function for that is replaced by one of our own in this program alone.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};
use std::fs::File;
use std::io::Read as _;

thread_local! {
    /// Where this thread's chance is; none where the system's is wanted.
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on this thread's chance follows from `seed`. To be called before the thread draws anything.
pub(crate) fn seed(seed: u64) {
    CHANCE.set(Some(seed));
    // What backs off draws from there, which begins with the time of day.
    fastrand::seed(seed);
}

/// The C library's `getrandom`.
///
/// # Safety
///
/// `buffer` has room for `length` bytes, as the C library wants it.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    // SAFETY: the caller says so.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    match CHANCE.get() {
        Some(chance) => CHANCE.set(Some(fill(bytes, chance))),
        None => {
            if File::open("/dev/urandom").and_then(|mut system| system.read_exact(bytes)).is_err() {
                return -1;
            }
        }
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// Fills bytes with what follows from `chance` (SplitMix64); returns where it is then.
fn fill(bytes: &mut [u8], mut chance: u64) -> u64 {
    for part in bytes.chunks_mut(8) {
        chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        part.copy_from_slice(&mixed.to_le_bytes()[..part.len()]);
    }
    chance
}
