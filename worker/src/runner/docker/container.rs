//! What a module's container looks like from outside: mounts, limits, rights, labels. Pure.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits};

use super::super::session::{SERVE, SessionSpec};
use super::super::{Labels, Limits, Program, Spec, environment};
use super::{DockerConfig, Owner, User, calls};

/// Label: root of the store that the container works for.
pub(super) const STORE: &str = "sas.store";
/// Label: the worker that owns the container.
pub(super) const WORKER: &str = "sas.worker";
/// Label: the claim that the container runs for.
pub(super) const NONCE: &str = "sas.nonce";

/// Label: the session that the container is, where it serves.
pub(super) const SESSION: &str = "sas.session";

/// Where a container finds its input.
const INPUT: &str = "/sas/in";
/// Where a container writes its output.
const OUTPUT: &str = "/sas/out";
/// Both.
pub(super) const INSIDE: [&str; 2] = [INPUT, OUTPUT];
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

/// A session's container's name.
pub(super) fn session_name(spec: &SessionSpec) -> String {
    format!("sas-{}-{}", spec.kind.module, spec.name)
}

/// What containers of attempts and of sessions differ in.
struct Outside<'a> {
    program: &'a Program,
    identity: String,
    environment: BTreeMap<String, String>,
    limits: &'a Limits,
    /// The directories of input and output.
    folders: [&'a Path; 2],
    labels: HashMap<String, String>,
}

/// Everything about an attempt's container on a host with this many CPUs.
pub(super) fn oneshot(spec: &Spec, config: &DockerConfig, owner: &Owner, user: User, cpus: f64) -> ContainerCreateBody {
    let outside = Outside {
        program: &spec.program,
        identity: spec.identity.to_string(),
        environment: environment(spec, Path::new(INPUT), Path::new(OUTPUT)),
        limits: &spec.limits,
        folders: [&spec.input, &spec.output],
        labels: labels(&spec.labels, owner),
    };
    body(outside, config, user, cpus)
}

/// Everything about a session's container: the same, and a stdin that is closed when nobody is attached any more.
pub(super) fn session(
    spec: &SessionSpec,
    config: &DockerConfig,
    owner: &Owner,
    user: User,
    cpus: f64,
) -> ContainerCreateBody {
    let kind = &spec.kind;
    let (name, value) = SERVE;
    let serve = (name.to_owned(), value.to_owned());
    let own = [("sas.module", &kind.module), (SESSION, &spec.name)];
    let own = own.map(|(name, value)| (name.to_owned(), value.clone()));
    let outside = Outside {
        program: &kind.program,
        identity: kind.identity.to_string(),
        environment: kind.environment.clone().into_iter().chain([serve]).collect(),
        limits: &kind.limits,
        folders: [&spec.input(), &spec.output()],
        labels: owned(owner).into_iter().chain(own).collect(),
    };
    ContainerCreateBody {
        attach_stdin: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        ..body(outside, config, user, cpus)
    }
}

fn body(outside: Outside<'_>, config: &DockerConfig, user: User, cpus: f64) -> ContainerCreateBody {
    let Outside { program, identity, environment, limits, folders, labels } = outside;
    ContainerCreateBody {
        image: Some(identity),
        cmd: Some(program.command.clone()).filter(|command| !command.is_empty()),
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: Some(format!("{}:{}", user.uid, user.gid)),
        labels: Some(labels),
        // Images may name another, and old engines have no other way to say which.
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(host_config(limits, folders, config, cpus)),
        ..Default::default()
    }
}

fn host_config(limits: &Limits, [input, output]: [&Path; 2], config: &DockerConfig, cpus: f64) -> HostConfig {
    let memory = signed(limits.memory);
    HostConfig {
        mounts: Some(vec![mount(input, INPUT, true), mount(output, OUTPUT, false)]),
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
