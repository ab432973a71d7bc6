//! What the engine makes of images: those that are nowhere, refused, or said to be the same.

use std::process::Command;
use std::time::Duration;

use harness::{Variant, base_image};
use tokio_util::sync::CancellationToken;
use worker::runner::docker::{DockerConfig, DockerRunner};
use worker::runner::{Exit, Program, Runner, RunnerError, Spec};

use super::{RunnerBench, owner};

#[tokio::test]
async fn an_image_that_is_nowhere_is_named_with_the_host_and_the_next_step() {
    let bench = RunnerBench::in_containers("").await;
    let program = Program { image: "127.0.0.1:9/sas/nothing:1".parse().unwrap(), command: vec![] };
    let missing = bench.runner.identify(&program).await.unwrap_err();
    let RunnerError::ImageMissing(message) = missing else { panic!("{missing}") };
    for word in ["127.0.0.1:9/sas/nothing:1", "here", "docker pull"] {
        assert!(message.contains(word), "{message} does not name {word}");
    }
    let identity = "sha256:0000000000000000000000000000000000000000000000000000000000000000".parse().unwrap();
    let config = DockerConfig { pull: false, ..DockerConfig::default() };
    let runner = DockerRunner::connect(config, owner(&bench.dir, "me")).await.unwrap();
    let other = runner.run(&Spec { identity, ..bench.spec.clone() }, &CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(&other, RunnerError::ImageMissing(message) if message.contains("in this run it is sha256:0000")),
        "{other}"
    );
}

impl RunnerBench {
    /// The same in a container of another image.
    async fn of(mut self, image: &Variant) -> Self {
        self.spec.program.image = image.name().parse().unwrap();
        self.spec.identity = self.runner.identify(&self.spec.program).await.unwrap();
        self
    }

    async fn refusal(&self) -> String {
        match self.runner.run(&self.spec, &CancellationToken::new()).await {
            Err(RunnerError::Refused(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_image_with_a_volume_is_refused_for_it_could_be_written_without_a_limit() {
    let ours = Variant::of_base("VOLUME /tmp /sas/out").unwrap();
    let bench = RunnerBench::in_containers("touch /tmp/x /sas/out/output.h5").await.of(&ours).await;
    assert_eq!(bench.run().await.exit, Exit::Code(0), "what is mounted over anyway may be a volume");

    let wider = Variant::of_base("VOLUME /tmp /data").unwrap();
    let mut bench = bench;
    bench.spec.program.image = wider.name().parse().unwrap();
    let Err(RunnerError::Refused(reason)) = bench.runner.identify(&bench.spec.program).await else {
        panic!("identified")
    };
    assert!(reason.contains("/data") && reason.contains("VOLUME") && reason.contains(wider.name()), "{reason}");
    // Another worker of the run may have fixed the identity.
    let id = Command::new("docker").args(["inspect", "--format", "{{.Id}}", wider.name()]).output().unwrap().stdout;
    bench.spec.identity = String::from_utf8(id).unwrap().trim().parse().unwrap();
    assert!(bench.refusal().await.contains("/data"));
    assert!(bench.containers().is_empty());
}

/// The beginning of a program for processors of this number, `processor` in the place of `e_machine`.
fn program_for(processor: u16) -> Vec<u8> {
    let mut program = vec![0; 64];
    program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    program[16..18].copy_from_slice(&2_u16.to_le_bytes());
    program[18..20].copy_from_slice(&processor.to_le_bytes());
    program
}

/// Labelled rightly, as `docker buildx` does it, and like the host that built it, as `FROM scratch` and `COPY` do.
#[tokio::test]
async fn an_image_for_another_processor_is_refused_before_it_is_started() {
    let (host, other, number) =
        if cfg!(target_arch = "x86_64") { ("amd64", "arm64", 0xb7) } else { ("arm64", "amd64", 0x3e) };
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir_all(files.join("lib")).unwrap();
    let program = files.join("lib/program");
    std::fs::write(&program, program_for(number)).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("lib/program", files.join("run")).unwrap();
    let mut bench = RunnerBench::in_containers("true").await;
    bench.spec.program.command = Vec::new();

    let labelled = Variant::of_files(&files, "/run", other).unwrap();
    bench.spec.program.image = labelled.name().parse().unwrap();
    let Err(RunnerError::Refused(reason)) = bench.runner.identify(&bench.spec.program).await else {
        panic!("identified")
    };
    assert!(reason.contains(&format!("is for {other} and this host is")), "{reason}");

    let unlabelled = Variant::of_files(&files, "/run", host).unwrap();
    let bench = bench.of(&unlabelled).await;
    for _ in 0..2 {
        let reason = bench.refusal().await;
        let words = format!("the program of image `{}` is for {other} and this host is", unlabelled.name());
        assert!(reason.contains(&words), "{reason}");
        bench.runner.finish().await;
        assert!(bench.containers().is_empty(), "it never started, and nothing is left");
    }
}

#[tokio::test]
async fn what_the_engine_refuses_to_make_is_told_from_a_sick_engine() {
    let mut bench = RunnerBench::in_containers("true").await;
    bench.spec.limits.memory = 1 << 20;
    let reason = bench.refusal().await;
    assert!(reason.contains("6MB") && reason.contains(base_image()), "{reason}");
    assert!(bench.containers().is_empty());
}

#[tokio::test]
async fn a_class_with_more_cpus_than_this_host_gets_those_that_are_there() {
    let mut bench = RunnerBench::in_containers("true").await;
    bench.spec.limits.cpus = 4096.0;
    assert_eq!(bench.run().await.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_module_is_asked_to_end_by_sigterm_whatever_signal_its_image_names() {
    let image = Variant::of_base("STOPSIGNAL SIGUSR1").unwrap();
    let script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let mut bench = RunnerBench::in_containers(script).await.of(&image).await;
    bench.spec.limits.time = Duration::from_secs(2);
    let ended = bench.run().await;
    assert_eq!((ended.exit, ended.log.as_str()), (Exit::TimeLimit, "up\nasked\n"));
}

#[tokio::test]
async fn the_identity_of_an_image_is_what_it_holds() {
    let bench = RunnerBench::in_containers("").await;
    assert!(
        bench.spec.identity.as_str().starts_with("sha256:"),
        "an image that is in no registry has its ID: {}",
        bench.spec.identity
    );
    assert_eq!(bench.runner.identify(&bench.spec.program).await.unwrap(), bench.spec.identity);
    assert_eq!(bench.runner.subject(&bench.spec.program), base_image());
}
