//! The same contract for processes without a container.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use harness::wait_until;
use tokio_util::sync::CancellationToken;
use worker::runner::{Exit, RunnerError};

use super::RunnerBench;

#[tokio::test]
async fn an_output_directory_that_went_with_its_store_is_not_the_modules_doing() {
    let gone = RunnerBench::as_processes("rm -r \"$(dirname \"$(dirname \"$SAS_OUTPUT\")\")\"").await;
    let error = gone.runner.run(&gone.spec, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, RunnerError::Directory { .. }), "{error}");
}

#[tokio::test]
async fn a_process_keeps_the_same_contract() {
    let script = r#"echo "$SAS_SEED $(cat "$SAS_PARAMETERS") ${HOME:-none}"; echo made > "$SAS_OUTPUT"; exit 75"#;
    let bench = RunnerBench::as_processes(script).await;
    let ended = bench.run().await;
    assert_eq!((ended.exit, ended.log.as_str()), (Exit::Code(75), "42 {\"steps\": 7} none\n"));
    assert!(ended.input_is_free);
    assert_eq!(std::fs::read_to_string(bench.output()).unwrap(), "made\n");
}

#[tokio::test]
async fn a_process_and_all_its_children_end_at_the_time_limit() {
    let mut bench =
        RunnerBench::as_processes("sleep 600 & echo $! > \"$SAS_OUTPUT\"; trap '' TERM; sleep 601; sleep 602").await;
    bench.spec.limits.time = Duration::from_secs(1);
    let ended = bench.run().await;
    assert_eq!((ended.exit, ended.input_is_free), (Exit::TimeLimit, false), "what was stopped may still write");
    let child: i32 = std::fs::read_to_string(bench.output()).unwrap().trim().parse().unwrap();
    let gone = || !PathBuf::from(format!("/proc/{child}/cmdline")).exists() || is_zombie(child);
    wait_until(Duration::from_secs(5), "the child is gone", async || gone()).await.unwrap();
}

fn is_zombie(process: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_process_writes_no_more_than_it_may_and_has_a_bounded_log() {
    let bench = RunnerBench::as_processes("seq 1000000; head -c 9000000 /dev/zero > \"$SAS_OUTPUT\"").await;
    let ended = bench.run().await;
    assert_eq!(ended.exit, Exit::OutputTooLarge);
    assert!(ended.log.starts_with("1\n2\n") && ended.log.contains("bytes are cut here"));
    let hidden = RunnerBench::as_processes("mkdir \"$(dirname \"$SAS_OUTPUT\")/d\"; exit 3").await;
    assert_eq!(hidden.run().await.exit, Exit::Code(3));
    std::fs::set_permissions(hidden.spec.output.join("d"), PermissionsExt::from_mode(0o700)).unwrap();
}
