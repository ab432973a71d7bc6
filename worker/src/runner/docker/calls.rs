//! System calls that a module has, as the engine is told: a seccomp profile of our own, narrower than any engine's. Programs that
//! compute, in any language, with processes and threads, have all that they use; what reaches into the kernel from there, as
//! io_uring, namespaces, tracing and sockets to anything but this host's own addresses, is not there. Pure.
//!
//! A list of what is allowed. All else is refused: as a call that this kernel does not have, where the engine can say so.

use std::sync::OnceLock;

use serde_json::{Value, json};

/// Allowed whatever they are asked, by subject.
const ALLOWED: &[&str] = &[
    // Files by name.
    "access chdir chmod chown creat faccessat faccessat2 fchdir fchmodat fchmodat2 fchownat futimesat getcwd getdents \
     getdents64 getxattr lchown lgetxattr link linkat listxattr llistxattr lremovexattr lsetxattr lstat mkdir mkdirat \
     mknod mknodat newfstatat open openat openat2 readlink readlinkat removexattr rename renameat renameat2 rmdir \
     setxattr stat statfs statx symlink symlinkat truncate umask unlink unlinkat utime utimensat utimes",
    // Files, pipes and events by descriptor.
    "close close_range copy_file_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 \
     epoll_wait eventfd eventfd2 fadvise64 fallocate fchmod fchown fcntl fdatasync fgetxattr flistxattr flock \
     fremovexattr fsetxattr fstat fstatfs fsync ftruncate inotify_add_watch inotify_init inotify_init1 \
     inotify_rm_watch ioctl lseek memfd_create pipe pipe2 poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev \
     pwritev2 read readahead readv select sendfile signalfd signalfd4 splice sync sync_file_range syncfs tee vmsplice \
     write writev",
    // Memory, and what processes of one container share.
    "brk get_mempolicy madvise mbind membarrier mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock \
     munlockall munmap pkey_alloc pkey_free pkey_mprotect set_mempolicy mq_getsetattr mq_notify mq_open \
     mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl \
     shmdt shmget",
    // Processes, threads and signals.
    "arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake \
     get_robust_list getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid ioprio_get kill \
     pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction rt_sigpending \
     rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo \
     sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
     sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield \
     set_robust_list set_tid_address setpgid setpriority setrlimit setsid sigaltstack tgkill tkill vfork wait4 waitid",
    // Who it is, which it cannot change: it has no rights to.
    "capget capset getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid setgid setgroups \
     setregid setresgid setresuid setreuid setuid",
    // Time, and what there is.
    "alarm clock_getres clock_gettime clock_nanosleep getcpu getitimer getrandom gettimeofday nanosleep setitimer \
     sysinfo time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create \
     timerfd_gettime timerfd_settime times uname",
    // Sockets that there are.
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg \
     sendto setsockopt shutdown",
];

/// Families of sockets that may be made: those of this host's own addresses.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// What a process that is made may not have of its own: users, networks, mounts and the like.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The profile, as engines read it.
pub(super) fn profile() -> &'static str {
    static PROFILE: OnceLock<String> = OnceLock::new();
    PROFILE.get_or_init(|| {
        let allow = |names: &[&str], args: Value| json!({ "names": names, "action": "SCMP_ACT_ALLOW", "args": args });
        let is = |value: i32| json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
        let without = json!([{ "index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
        let mut rules: Vec<Value> =
            ALLOWED.iter().map(|names| allow(&names.split_whitespace().collect::<Vec<_>>(), json!([]))).collect();
        rules.extend(FAMILIES.map(|family| allow(&["socket"], is(family))));
        rules.push(allow(&["socketpair"], is(libc::AF_UNIX)));
        rules.push(allow(&["clone"], without));
        // Its flags lie in memory, where no filter sees them: C libraries take the older call where there is no such.
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS, "args": [] }));
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": libc::ENOSYS,
            "archMap": [{ "architecture": "SCMP_ARCH_X86_64" }, { "architecture": "SCMP_ARCH_AARCH64" }],
            "syscalls": rules,
        });
        profile.to_string()
    })
}
