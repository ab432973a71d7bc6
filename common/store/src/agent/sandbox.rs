//! What the child gives up before it reads a file.
//!
//! Always: core dumps, address space and file sizes beyond the limits, new privileges, root's rights but one, and where it
//! is not root's, more processes and threads. Where the kernel has Landlock: every path but the store and the delivered files for reading and
//! its own directory for writing, TCP, and signals and abstract sockets of others, each as far as that kernel knows it. Where
//! it has seccomp filters: [`calls`].
//!
//! CPU time and memory are limited by the request ([`budget`]): an agent may live for months.

use std::time::Duration;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, getppid, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use super::{AgentOptions, calls};
use crate::budget;

/// How often the child looks whether its parent lives.
const WATCH: Duration = Duration::from_secs(1);

/// What is in force: the line by which the child says that it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InForce {
    /// Limits of the kernel that could be set.
    pub(super) limits: Vec<String>,
    /// Whether paths are closed: `full`, `partial`, or why not.
    pub(super) landlock: String,
    /// Whether system calls are given up: `full`, or why not.
    pub(super) calls: String,
}

impl InForce {
    /// Whether the host lacks a protection that any kernel of today has.
    pub(super) fn is_open(&self) -> bool {
        self.landlock != "full" && self.landlock != "partial" || self.calls != "full"
    }
}

/// Gives everything up that a store agent does not need.
pub(super) fn enter(options: &AgentOptions) -> InForce {
    let has_budget = budget::keep().is_ok();
    let landlock = match close_paths(options) {
        Ok(RulesetStatus::FullyEnforced) => "full".to_owned(),
        Ok(RulesetStatus::PartiallyEnforced) => "partial".to_owned(),
        Ok(RulesetStatus::NotEnforced) => "not in this kernel".to_owned(),
        Err(error) => error.to_string(),
    };
    let mut limits = Vec::new();
    if has_budget {
        limits.push("budget".to_owned());
    }
    for (name, resource, value) in [
        ("address space", Resource::As, options.memory),
        ("file size", Resource::Fsize, options.file_size),
        ("core", Resource::Core, 0),
    ] {
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        if setrlimit(resource, limit).is_ok() {
            limits.push(name.to_owned());
        }
    }
    say_too_large();
    if rustix::thread::set_no_new_privs(true).is_ok() {
        limits.push("privileges".to_owned());
    }
    if give_up_rights().is_ok() {
        limits.push("capabilities".to_owned());
    }
    end_with_parent();
    // Only now: the thread that watches the parent is the last to begin.
    if setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).is_ok() {
        limits.push("processes".to_owned());
    }
    let calls = calls::give_up().map_or_else(|error| error.to_string(), |()| "full".to_owned());
    InForce { limits, landlock, calls }
}

/// Leaves nothing of what root may do but to read what others made: deliveries belong to whoever laid them down, and which
/// paths can be reached is Landlock's matter.
fn give_up_rights() -> rustix::io::Result<()> {
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    let kept = CapabilitySet::DAC_READ_SEARCH;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: effective & kept, permitted: permitted & kept, inheritable })
}

/// A file that grows beyond its limit is an error of the write, which has a reason, and no signal, which has none.
fn say_too_large() {
    // SAFETY: a plain call; no handler is set.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

fn close_paths(options: &AgentOptions) -> Result<RulesetStatus, RulesetError> {
    let abi = ABI::V6;
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    for path in std::iter::once(&options.store).chain(&options.readable) {
        if let Ok(path) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(path, read))?;
        }
    }
    if let Ok(path) = PathFd::new(&options.writable) {
        ruleset = ruleset.add_rule(PathBeneath::new(path, write))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Ends the child when its parent is gone, also in the middle of a request. The kernel's own signal for this comes with
/// the end of the parent's *thread*, and async parents start children from threads that end long before them.
fn end_with_parent() {
    let parent = getppid();
    std::thread::spawn(move || {
        while getppid() == parent {
            std::thread::sleep(WATCH);
        }
        std::process::exit(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_roots_rights_it_keeps_to_read_what_others_made() {
        // Rights are a thread's own.
        let left = std::thread::spawn(|| give_up_rights().and_then(|()| capabilities(None))).join().unwrap().unwrap();
        assert!(CapabilitySet::DAC_READ_SEARCH.contains(left.permitted), "{left:?}");
        assert_eq!((left.effective, left.inheritable), (left.permitted, CapabilitySet::empty()));
    }
}
