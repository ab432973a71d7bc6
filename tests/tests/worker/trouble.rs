//! Trouble that is the host's and not the module's: agents that are killed, a store that is away, committed files that are
//! damaged.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::outcome::{FailureKind, Outcome, PlatformErrorKind};
use harness::program;

use super::field::Field;
use super::{failed, one, succeeded};

/// A store agent that is killed over requests of one kind, as a host without memory does it.
struct Mortal {
    /// `check`, `pack`, `manifest`, …
    request: &'static str,
    /// How often; afterwards it lives.
    times: u32,
    /// What else happens then, in Python.
    also: String,
}

impl Mortal {
    /// Puts the program beside the store.
    fn program(&self, field: &Field) -> PathBuf {
        let path = field.store.root().with_file_name("mortal-agent");
        let Self { request, times, also } = self;
        let (agent, died) = (program("sas-common", "sas-store-agent"), path.with_extension("died"));
        let script = format!(
            r#"#!/usr/bin/python3
import os, subprocess, sys
died = {died:?}
agent = subprocess.Popen([{agent:?}, "store-agent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in sys.stdin.buffer:
    before = os.path.getsize(died) if os.path.exists(died) else 0
    if b'"ask":"{request}"' in line and before < {times}:
        open(died, "a").write("x")
        {also}
        os.kill(os.getpid(), 9)
    agent.stdin.write(line); agent.stdin.flush()
    sys.stdout.buffer.write(agent.stdout.readline()); sys.stdout.flush()
"#
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }
}

/// How module `A`, which does nothing wrong, ends with such an agent.
async fn with_agent(request: &'static str, times: u32, also: impl FnOnce(&Field) -> String) -> Outcome {
    let mut field = Field::new(|dir| one(dir, "{}", "")).await;
    let program = Mortal { request, times, also: also(&field) }.program(&field);
    let worker = field.worker(|config| config.agent = Some(program)).await;
    let outcome = field.outcome("A").await;
    worker.stop();
    worker.ended().await;
    outcome
}

#[tokio::test]
async fn an_agent_that_the_host_kills_over_an_output_is_not_the_modules_failure() {
    for request in ["check", "pack", "manifest"] {
        succeeded(with_agent(request, 1, |_| "pass".to_owned()).await);
    }
}

#[tokio::test]
async fn an_output_that_kills_every_agent_is_the_modules_failure() {
    for request in ["check", "pack"] {
        let failure = failed(with_agent(request, 9, |_| "pass".to_owned()).await);
        assert_eq!(failure.kind, FailureKind::OutputCorrupt);
        assert!(failure.message.contains("twice"), "{}", failure.message);
    }
}

/// As when a network file system is unmounted while an output is read.
#[tokio::test]
async fn nothing_is_blamed_on_a_module_while_the_store_is_away() {
    for request in ["check", "pack", "manifest"] {
        let away = |field: &Field| format!("os.rename({:?}, died + '.json')", field.store.at("store.json"));
        let outcome = with_agent(request, 9, away).await;
        let Outcome::Errored(error) = outcome else { panic!("{request}: {outcome}") };
        assert_eq!(error.kind, PlatformErrorKind::Store, "{}", error.message);
        assert!(error.message.contains("store.json"), "{}", error.message);
    }
}
