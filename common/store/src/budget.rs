//! What a request to a store agent may cost: CPU time and memory in proportion to what the files that it reads hold and declare.
//!
//! The kernel keeps it: a process beyond its CPU time is ended by SIGXCPU, one beyond its address space gets no more. Declared
//! sizes are told with [`spend`] before anything of that size is read. Outside an agent nothing is limited.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Seconds of CPU that any request has.
const SECONDS: u64 = 3;

/// Bytes of values for which there is another second of CPU: those of the files, and those that they declare.
const BYTES_A_SECOND: u64 = 20_000_000;

/// Bytes of memory that any request has, and as many as the files that it reads have where that is more.
const MEMORY: u64 = 192 << 20;

/// Bytes that a thing costs at least, an object or a chunk: it is looked up, opened, and described.
pub(crate) const OF_A_THING: u64 = 20_000;

/// The largest piece that is read at once, in bytes: a chunk, or as many as lie side by side along all axes but one.
pub(crate) const LARGEST_PIECE: u64 = 512 << 20;

/// The most memory that reading a piece takes, as a multiple of it: the values, and what unpacks them.
const COPIES: u64 = 5;

static BUDGET: Mutex<Option<Budget>> = Mutex::new(None);

struct Budget {
    /// Where the process can read how large its address space is.
    statm: File,
    memory: Option<MemoryBudget>,
    /// Milliseconds of CPU that the process had used when the request began.
    used: u64,
    /// Bytes that it may read.
    bytes: u64,
    /// Seconds of CPU that the kernel knows.
    limit: u64,
}

/// Bytes of address space.
#[derive(Clone, Copy)]
struct MemoryBudget {
    now: u64,
    most: u64,
}

/// Makes this process one whose requests have budgets. Before its paths are closed: it keeps a file of `/proc` open.
pub(crate) fn keep() -> std::io::Result<()> {
    let statm = File::open("/proc/self/statm")?;
    *lock() = Some(Budget { statm, memory: None, used: 0, bytes: 0, limit: 0 });
    Ok(())
}

/// Begins the budget of a request that reads files of somebody else's of so many bytes together; `None` for one that reads our
/// own, whose only bounds are those of the process.
pub(crate) fn begin(files: Option<u64>) {
    let mut budget = lock();
    let Some(budget) = budget.as_mut() else { return };
    let most = getrlimit(Resource::As).maximum.unwrap_or(u64::MAX);
    budget.memory = match (files, budget.address_space()) {
        (Some(files), Some(now)) => Some(MemoryBudget { now: now.saturating_add(MEMORY.max(files)).min(most), most }),
        (Some(_), None) | (None, _) => None,
    };
    limit_memory(budget.memory.map_or(most, |memory| memory.now), most);
    (budget.used, budget.bytes, budget.limit) = (cpu_millis(), files.unwrap_or_default(), 0);
    match files {
        Some(_) => budget.limit_cpu(),
        None => set(Resource::Cpu, None),
    }
}

/// Grants the time for so many bytes that a file declares.
pub(crate) fn spend(bytes: u64) {
    let mut budget = lock();
    if let Some(budget) = budget.as_mut().filter(|budget| budget.limit > 0) {
        budget.bytes = budget.bytes.saturating_add(bytes);
        budget.limit_cpu();
    }
}

/// Room for a piece of so many bytes, as long as this lives.
pub(crate) struct Room;

/// Makes room for a piece.
pub(crate) fn room(bytes: u64) -> Room {
    if let Some(MemoryBudget { now, most }) = memory() {
        limit_memory(now.saturating_add(bytes.saturating_mul(COPIES)).min(most), most);
    }
    Room
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(MemoryBudget { now, most }) = memory() {
            limit_memory(now, most);
        }
    }
}

impl Budget {
    /// Bytes of the address space; `None` where `/proc` does not say.
    fn address_space(&self) -> Option<u64> {
        let mut text = [0; 64];
        let read = self.statm.read_at(&mut text, 0).ok()?;
        let pages: u64 = std::str::from_utf8(&text[..read]).ok()?.split(' ').next()?.parse().ok()?;
        // SAFETY: a plain call.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Some(pages * u64::try_from(size).ok()?)
    }

    /// Tells the kernel, which counts in whole seconds.
    fn limit_cpu(&mut self) {
        let seconds = self.used.div_ceil(1000) + SECONDS + self.bytes / BYTES_A_SECOND;
        if seconds > self.limit {
            self.limit = seconds;
            set(Resource::Cpu, Some(seconds));
        }
    }
}

fn memory() -> Option<MemoryBudget> {
    lock().as_ref().and_then(|budget| budget.memory)
}

fn limit_memory(now: u64, most: u64) {
    _ = setrlimit(Resource::As, Rlimit { current: Some(now), maximum: Some(most) });
}

/// Sets the limit that is in force, and leaves the one up to which it can be set.
fn set(resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    _ = setrlimit(resource, Rlimit { current, maximum });
}

fn cpu_millis() -> u64 {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut used) };
    let millis = used.tv_sec * 1000 + used.tv_nsec / 1_000_000;
    u64::try_from(millis).unwrap_or_default()
}

fn lock() -> MutexGuard<'static, Option<Budget>> {
    BUDGET.lock().unwrap_or_else(PoisonError::into_inner)
}
