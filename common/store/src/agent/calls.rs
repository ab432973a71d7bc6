//! System calls that a store agent gives up: whoever takes it over by a hostile file finds no network, starts nothing, and
//! reaches no other process. What reads and writes files is left alone: HDF5 and the allocator need it, and paths are
//! Landlock's matter.
//!
//! A list of what is forbidden, not of what is allowed: another version of the C library may read a file by other calls.

use std::collections::BTreeMap;
use std::process;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// Refused with EPERM.
const FORBIDDEN: &[c_long] = &[
    // The network, and sockets of this host.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // Memory and queues that outlive it or are shared.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // Other views of the system, and other rights in it.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    // Who owns files, who may open them, and what else is noted of them: Landlock closes none of these.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    libc::SYS_utimensat,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_inotify_add_watch,
    libc::SYS_quotactl,
    libc::SYS_name_to_handle_at,
    libc::SYS_mount_setattr,
    // The host, its clock, and how others are scheduled.
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_swapoff,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_kcmp,
    libc::SYS_process_mrelease,
    // Much of the kernel behind few doors.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_acct,
];

/// Gives them up for all threads of this process, for good; no thread begins after that.
pub(super) fn give_up() -> Result<(), Error> {
    apply_filter_all_threads(&filter()?)
}

fn filter() -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    // A process that aborts sends a signal to itself.
    let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, process::id().into())?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![other])?]);
    // The C library reads its own limits by the call that also sets those of others.
    let others = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![others])?, SeccompRule::new(vec![sets])?]);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::io::ErrorKind;
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_file_that_it_owns_keeps_its_owner_its_mode_and_its_notes() {
        use std::fs::{self, File, FileTimes, Permissions};
        use std::os::unix::fs::{PermissionsExt, chown, fchown};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("committed");
        fs::write(&path, "x").unwrap();
        let file = File::open(&path).unwrap();
        let mode = Permissions::from_mode(0o666);
        let given_up = std::thread::spawn(move || {
            seccompiler::apply_filter(&filter().unwrap()).unwrap();
            let name = CString::new(path.as_os_str().as_bytes()).unwrap();
            // SAFETY: plain calls; every pointer is to a value that lives.
            let plain = unsafe {
                [
                    libc::setxattr(name.as_ptr(), c"user.x".as_ptr(), c"x".as_ptr().cast(), 1, 0),
                    libc::fanotify_init(0, 0),
                    libc::sethostname(c"x".as_ptr(), 1),
                    libc::prlimit(libc::getppid(), libc::RLIMIT_CORE, std::ptr::null(), std::ptr::null_mut()),
                    libc::setpriority(libc::PRIO_PROCESS, 0, 5),
                ]
            };
            assert_eq!(plain, [-1; 5]);
            let refused = [
                fs::set_permissions(&path, mode.clone()).unwrap_err(),
                file.set_permissions(mode).unwrap_err(),
                chown(&path, Some(1), Some(1)).unwrap_err(),
                fchown(&file, Some(1), Some(1)).unwrap_err(),
                file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap_err(),
            ];
            (refused, rustix::process::getrlimit(rustix::process::Resource::Core))
        });
        for error in given_up.join().unwrap().0 {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        }
    }

    #[test]
    fn without_them_files_can_be_read_and_nothing_else_reached() {
        // The filter ends with the thread that it is applied to.
        let given_up = std::thread::spawn(|| {
            seccompiler::apply_filter(&filter().unwrap()).unwrap();
            let refused: [std::io::Error; 5] = [
                TcpStream::connect("127.0.0.1:9").unwrap_err(),
                UdpSocket::bind("127.0.0.1:0").unwrap_err(),
                UnixDatagram::pair().unwrap_err(),
                Command::new("true").spawn().unwrap_err(),
                std::thread::Builder::new().spawn(|| ()).unwrap_err(),
            ];
            let signalled = rustix::process::test_kill_process(rustix::process::getpid());
            let read = std::fs::read_to_string("/proc/self/comm").unwrap();
            (refused, signalled, read)
        });
        let (refused, signalled, read) = given_up.join().unwrap();
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        }
        assert_eq!(signalled, Err(rustix::io::Errno::PERM));
        assert!(!read.is_empty());
        assert!(Command::new("true").status().unwrap().success(), "other threads keep what they have");
    }
}
