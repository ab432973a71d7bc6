//! What a module's container looks like from outside: mounts, limits, rights, labels. Pure.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits};

use super::super::{Labels, Spec, environment};
use super::{DockerConfig, Owner, User, calls};

/// Label: root of the store that the container works for.
pub(super) const STORE: &str = "sas.store";
/// Label: the worker that owns the container.
pub(super) const WORKER: &str = "sas.worker";
/// Label: the claim that the container runs for.
pub(super) const NONCE: &str = "sas.nonce";

/// Where a container finds its input.
const INPUT: &str = "/sas/in";
/// Where a container writes its output.
const OUTPUT: &str = "/sas/out";
/// Where a container has a file system in memory.
const TMP: &str = "/tmp";

/// Bytes of `/dev/shm`, where processes of one program share memory; it counts as memory of the container.
const SHARED_MEMORY: i64 = 64 << 20;

/// A container's name: one per claim, so that a claim cannot run twice on one host.
pub(super) fn name(labels: &Labels) -> String {
    format!("sas-{}-{}", labels.module, labels.nonce)
}

/// Whether something of ours is mounted here, whatever the image has in this place.
pub(super) fn is_mounted(path: &str) -> bool {
    [INPUT, OUTPUT, TMP].contains(&path.trim_end_matches('/'))
}

/// Everything about a container on a host with this many CPUs.
pub(super) fn body(spec: &Spec, config: &DockerConfig, owner: &Owner, user: User, cpus: f64) -> ContainerCreateBody {
    let environment = environment(spec, Path::new(INPUT), Path::new(OUTPUT));
    ContainerCreateBody {
        image: Some(spec.identity.to_string()),
        cmd: Some(spec.program.command.clone()).filter(|command| !command.is_empty()),
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: Some(format!("{}:{}", user.uid, user.gid)),
        labels: Some(labels(&spec.labels, owner)),
        // Images may name another, and old engines have no other way to say which.
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(host_config(spec, config, cpus)),
        ..Default::default()
    }
}

fn host_config(spec: &Spec, config: &DockerConfig, cpus: f64) -> HostConfig {
    let limits = &spec.limits;
    let memory = signed(limits.memory);
    HostConfig {
        mounts: Some(vec![mount(&spec.input, INPUT, true), mount(&spec.output, OUTPUT, false)]),
        tmpfs: Some(HashMap::from([(TMP.to_owned(), format!("rw,nosuid,nodev,exec,mode=1777,size={}", limits.tmp))])),
        readonly_rootfs: Some(true),
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("private".to_owned()),
        shm_size: Some(SHARED_MEMORY),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned(), format!("seccomp={}", calls::profile())]),
        init: Some(config.init),
        // Equal limits: no swap.
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some((limits.cpus.min(cpus) * 1e9) as i64),
        pids_limit: Some(limits.processes.into()),
        ulimits: Some(vec![ulimit("fsize", signed(limits.output)), ulimit("nofile", 4096), ulimit("core", 0)]),
        // The worker keeps the log; what the engine keeps is for whoever looks at a container that runs.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "1m".to_owned()),
                ("max-file".to_owned(), "1".to_owned()),
            ])),
        }),
        ..Default::default()
    }
}

/// Labels by which a sweep knows whose a container is.
pub(super) fn owned(owner: &Owner) -> HashMap<String, String> {
    let labels = [
        (STORE, owner.store.display().to_string()),
        (WORKER, owner.worker.to_string()),
        ("sas.host", owner.host.clone()),
    ];
    labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn labels(labels: &Labels, owner: &Owner) -> HashMap<String, String> {
    let labels = [
        ("sas.run", labels.run.clone()),
        ("sas.star", labels.star.clone()),
        ("sas.module", labels.module.clone()),
        ("sas.attempt", labels.attempt.to_string()),
        (NONCE, labels.nonce.clone()),
    ];
    owned(owner).into_iter().chain(labels.map(|(name, value)| (name.to_owned(), value))).collect()
}

pub(super) fn mount(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Default::default()
    }
}

fn ulimit(name: &str, limit: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(limit), hard: Some(limit) }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
