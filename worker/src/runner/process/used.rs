//! What a process used: looked at after it has ended, and before it is waited for, when the kernel forgets it.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ptr;

use domain::outcome::UsedResources;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until a child has ended, and tells what it used; it is still to be waited for. Where the kernel has no handles of
/// processes (before Linux 5.3) nothing is known, and nobody has waited.
pub(super) async fn used_at_end(child: Option<Pid>) -> UsedResources {
    let Some(child) = child else { return UsedResources::default() };
    let Ok(handle) = pidfd_open(child, PidfdFlags::empty()) else { return UsedResources::default() };
    // SAFETY: an owned handle, which stays what it is, and open, for as long as it is registered.
    let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) };
    let Ok(handle) = handle else { return UsedResources::default() };
    match handle.readable().await {
        Ok(_) => used_by(child),
        Err(_) => UsedResources::default(),
    }
}

/// What a child used that has ended and was not waited for.
fn used_by(child: Pid) -> UsedResources {
    let (read, written) = disk_of(child);
    let usage = usage_of(child);
    UsedResources {
        cpu_ms: usage.map(|usage| millis(usage.ru_utime) + millis(usage.ru_stime)),
        peak_memory: usage.and_then(|usage| peak(&usage)),
        read,
        written,
        at_least: false,
    }
}

/// What a child used that runs, without those that it started.
pub(super) fn used_so_far(child: Pid) -> UsedResources {
    let (read, written) = disk_of(child);
    UsedResources { cpu_ms: cpu_of(child), peak_memory: None, read, written, at_least: true }
}

/// Bytes that a process read from disks and wrote to them.
fn disk_of(process: Pid) -> (Option<u64>, Option<u64>) {
    let disk = read_at_once(format!("/proc/{}/io", process.as_raw_nonzero())).unwrap_or_default();
    let of_disk = |name: &str| disk.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    (of_disk("read_bytes:"), of_disk("write_bytes:"))
}

/// What the kernel tells in a file that says nothing of its length: read at once, not by 32 bytes.
fn read_at_once(file: String) -> io::Result<String> {
    let mut told = String::with_capacity(4 << 10);
    File::open(file)?.read_to_string(&mut told)?;
    Ok(told)
}

/// Milliseconds of CPU of all threads of a process that runs.
fn cpu_of(process: Pid) -> Option<u64> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the id of the process's clock is written where it is told to.
    let found = unsafe { libc::clock_getcpuclockid(process.as_raw_nonzero().get(), &raw mut clock) };
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: one `timespec` is written where it is told to.
    let told = found == 0 && unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } == 0;
    // SAFETY: all its fields are numbers, for which zero is a value.
    let time = unsafe { time.assume_init() };
    told.then(|| u64::try_from(time.tv_sec * 1000 + time.tv_nsec / 1_000_000).ok()).flatten()
}

/// The kernel's account of a child that has ended and was not waited for, with what that waited for itself.
fn usage_of(child: Pid) -> Option<libc::rusage> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let (id, flags) = (child.as_raw_nonzero().get(), libc::WEXITED | libc::WNOWAIT | libc::WNOHANG);
    // SAFETY: the kernel writes one `rusage` where it is told to, and nothing of how the child ended, for which the place is null.
    let status = unsafe {
        libc::syscall(libc::SYS_waitid, libc::P_PID, id, ptr::null_mut::<libc::siginfo_t>(), flags, usage.as_mut_ptr())
    };
    // SAFETY: all its fields are numbers, for which zero is a value.
    let usage = unsafe { usage.assume_init() };
    // Every process that ran had memory: one without was not there.
    (status == 0 && usage.ru_maxrss > 0).then_some(usage)
}

fn millis(time: libc::timeval) -> u64 {
    let millis = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_usec / 1000);
    u64::try_from(millis).unwrap_or(0)
}

/// Most memory at one time, in bytes. The account of a child begins with what this process had when it started it: less than that
/// nobody can tell.
fn peak(usage: &libc::rusage) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let ours = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    let (theirs, ours) = (u64::try_from(usage.ru_maxrss).ok()?, ours.parse::<u64>().ok()?);
    (theirs > ours).then_some(theirs * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn what_a_process_used_is_known_before_it_is_waited_for() {
        let program = "x = bytearray(200_000_000); s = sum(range(2_000_000))";
        let mut child = Command::new("/usr/bin/python3").args(["-c", program]).spawn().unwrap();
        let used = used_at_end(Pid::from_raw(i32::try_from(child.id()).unwrap())).await;
        assert!(used.cpu_ms.unwrap() > 10, "{used:?}");
        assert!((200_000_000..1 << 30).contains(&used.peak_memory.unwrap()), "{used:?}");
        assert!(used.read.is_some() && used.written.is_some() && !used.at_least, "{used:?}");
        assert!(child.wait().unwrap().success());
        assert_eq!(used_at_end(Pid::from_raw(i32::MAX)).await, UsedResources::default());
    }
}
