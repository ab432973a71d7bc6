//! Each call that must not be possible is made: from a thread with the filter, and from inside a process that is an agent.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::AgentOptions;
use super::super::sandbox;
use super::*;

/// Tells the test below that it runs in a process of its own, and where.
const INSIDE: &str = "SAS_TEST_INSIDE";

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
        let read = fs::read_to_string("/proc/self/comm").unwrap();
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

/// Calls with what they are asked, as far as that matters: which is refused whatever it is.
fn calls(file: i64, parent: i64) -> Vec<(&'static str, c_long, [i64; 3])> {
    let name = |of: &'static str, call| (of, call, [0; 3]);
    vec![
        #[cfg(target_arch = "x86_64")]
        ("chmod", libc::SYS_chmod, [file, 0o666, 0]),
        ("fchmodat", libc::SYS_fchmodat, [libc::AT_FDCWD.into(), file, 0o666]),
        ("fchmodat2", libc::SYS_fchmodat2, [libc::AT_FDCWD.into(), file, 0o666]),
        ("fchmod", libc::SYS_fchmod, [0, 0o666, 0]),
        #[cfg(target_arch = "x86_64")]
        ("chown", libc::SYS_chown, [file, 1, 1]),
        #[cfg(target_arch = "x86_64")]
        ("lchown", libc::SYS_lchown, [file, 1, 1]),
        ("fchown", libc::SYS_fchown, [0, 1, 1]),
        ("fchownat", libc::SYS_fchownat, [libc::AT_FDCWD.into(), file, 1]),
        ("setxattr", libc::SYS_setxattr, [file, file, file]),
        ("lsetxattr", libc::SYS_lsetxattr, [file, file, file]),
        ("fsetxattr", libc::SYS_fsetxattr, [0, file, file]),
        ("removexattr", libc::SYS_removexattr, [file, file, 0]),
        ("utimensat", libc::SYS_utimensat, [libc::AT_FDCWD.into(), file, 0]),
        ("prlimit of others", libc::SYS_prlimit64, [parent, libc::RLIMIT_CORE.into(), 0]),
        ("prlimit of files", libc::SYS_prlimit64, [0, libc::RLIMIT_FSIZE.into(), file]),
        ("kill", libc::SYS_kill, [parent, 0, 0]),
        ("tgkill of others", libc::SYS_tgkill, [parent, parent, 0]),
        ("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), parent, 0]),
        ("pidfd_open", libc::SYS_pidfd_open, [parent, 0, 0]),
        ("ioctl", libc::SYS_ioctl, [0, libc::FIONREAD as i64, file]),
        ("mprotect", libc::SYS_mprotect, [0, 0, libc::PROT_EXEC.into()]),
        name("process_vm_readv", libc::SYS_process_vm_readv),
        name("socket", libc::SYS_socket),
        name("socketpair", libc::SYS_socketpair),
        name("execve", libc::SYS_execve),
        name("execveat", libc::SYS_execveat),
        name("clone", libc::SYS_clone),
        name("clone3", libc::SYS_clone3),
        name("shmget", libc::SYS_shmget),
        name("msgget", libc::SYS_msgget),
        name("semget", libc::SYS_semget),
        name("memfd_create", libc::SYS_memfd_create),
        name("unshare", libc::SYS_unshare),
        name("setns", libc::SYS_setns),
        name("mount", libc::SYS_mount),
        name("umount2", libc::SYS_umount2),
        name("mount_setattr", libc::SYS_mount_setattr),
        name("pivot_root", libc::SYS_pivot_root),
        name("chroot", libc::SYS_chroot),
        name("mknodat", libc::SYS_mknodat),
        name("linkat", libc::SYS_linkat),
        name("symlinkat", libc::SYS_symlinkat),
        name("renameat2", libc::SYS_renameat2),
        name("truncate", libc::SYS_truncate),
        name("open_by_handle_at", libc::SYS_open_by_handle_at),
        name("name_to_handle_at", libc::SYS_name_to_handle_at),
        name("fanotify_init", libc::SYS_fanotify_init),
        name("inotify_init1", libc::SYS_inotify_init1),
        name("quotactl", libc::SYS_quotactl),
        name("setuid", libc::SYS_setuid),
        name("setgid", libc::SYS_setgid),
        name("setgroups", libc::SYS_setgroups),
        name("setresuid", libc::SYS_setresuid),
        name("capset", libc::SYS_capset),
        name("personality", libc::SYS_personality),
        name("sethostname", libc::SYS_sethostname),
        name("setdomainname", libc::SYS_setdomainname),
        name("settimeofday", libc::SYS_settimeofday),
        name("clock_settime", libc::SYS_clock_settime),
        name("adjtimex", libc::SYS_adjtimex),
        name("syslog", libc::SYS_syslog),
        name("setpriority", libc::SYS_setpriority),
        name("sched_setaffinity", libc::SYS_sched_setaffinity),
        name("sched_setscheduler", libc::SYS_sched_setscheduler),
        name("ioprio_set", libc::SYS_ioprio_set),
        name("move_pages", libc::SYS_move_pages),
        name("io_uring_setup", libc::SYS_io_uring_setup),
        name("bpf", libc::SYS_bpf),
        name("perf_event_open", libc::SYS_perf_event_open),
        name("userfaultfd", libc::SYS_userfaultfd),
        name("add_key", libc::SYS_add_key),
        name("keyctl", libc::SYS_keyctl),
        name("finit_module", libc::SYS_finit_module),
        name("kexec_load", libc::SYS_kexec_load),
        name("reboot", libc::SYS_reboot),
        name("swapon", libc::SYS_swapon),
        name("acct", libc::SYS_acct),
        name("seccomp", libc::SYS_seccomp),
        name("a call that no kernel has yet", 100_000),
    ]
}

/// What a process that became an agent could do, by name; nothing is what is right.
fn possible(dir: &Path) -> Vec<&'static str> {
    let options = AgentOptions::new(&dir.join("store"), &dir.join("own"));
    let (committed, outside) = (dir.join("store/committed"), dir.join("outside"));
    let in_force = sandbox::enter(&options);
    assert!(!in_force.is_open(), "{in_force:?}");
    let path = std::ffi::CString::new(committed.as_os_str().as_bytes()).unwrap();
    let parent = i64::from(std::os::unix::process::parent_id());
    let is_possible = |(_, call, [one, two, three]): &(&str, c_long, [i64; 3])| {
        // SAFETY: pointers are null, or to a text that lives; the calls are refused before they are looked at.
        let answer = unsafe { libc::syscall(*call, *one, *two, *three, 0, 0, 0) };
        answer != -1 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
    };
    let mut possible: Vec<&str> =
        calls(path.as_ptr() as i64, parent).into_iter().filter(is_possible).map(|(name, ..)| name).collect();
    let is_refused = |done: std::io::Result<()>| done.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    for (name, done) in [
        ("read what is outside", fs::read(&outside).map(drop)),
        ("write what is committed", fs::OpenOptions::new().write(true).open(&committed).map(drop)),
        ("empty what is committed", fs::File::create(&committed).map(drop)),
        ("remove what is committed", fs::remove_file(&committed)),
        ("write beside what is committed", fs::write(dir.join("store/other"), "x")),
    ] {
        if !is_refused(done) {
            possible.push(name);
        }
    }
    fs::read(&committed).unwrap();
    fs::write(dir.join("own/file"), "x").unwrap();
    possible
}

#[test]
fn from_inside_an_agent_nothing_can_be_called_that_reaches_beyond_its_files() {
    // Again as a process of its own: what an agent gives up it never has again.
    if let Some(dir) = std::env::var_os(INSIDE) {
        return fs::write(PathBuf::from(&dir).join("own/possible"), possible(Path::new(&dir)).join("\n")).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    for folder in ["store", "own"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    for file in ["store/committed", "outside"] {
        fs::write(dir.path().join(file), "x").unwrap();
    }
    let name = "agent::calls::tests::from_inside_an_agent_nothing_can_be_called_that_reaches_beyond_its_files";
    let mut inside = Command::new(std::env::current_exe().unwrap());
    let ended = inside.args([name, "--exact"]).env(INSIDE, dir.path()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    assert_eq!(fs::read_to_string(dir.path().join("own/possible")).unwrap(), "");
}
