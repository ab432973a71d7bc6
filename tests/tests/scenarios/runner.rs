//! What a module can do in its container and what it cannot, on a real engine; and the same for processes.

mod confined;
mod images;
mod processes;
mod serving;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Cut, base_image, wait_until};
use store::presence::SignOfLife;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use worker::runner::docker::{DockerConfig, DockerRunner, Owner};
use worker::runner::process::ProcessRunner;
use worker::runner::{Ended, Exit, Labels, LastLine, Limits, Program, Runner, Spec};

/// A store's scratch directory with one attempt in it.
struct RunnerBench {
    dir: TempDir,
    runner: Box<dyn Runner>,
    spec: Spec,
    _presence: SignOfLife,
}

fn owner(dir: &TempDir, worker: &str) -> Owner {
    Owner {
        worker: worker.parse().unwrap(),
        host: "here".to_owned(),
        store: dir.path().to_owned(),
        scratch: dir.path().to_owned(),
    }
}

async fn docker(dir: &TempDir, worker: &str) -> DockerRunner {
    let config = DockerConfig { pull_timeout: Duration::from_secs(20), ..DockerConfig::default() };
    DockerRunner::connect(config, owner(dir, worker)).await.expect("a Docker engine answers")
}

impl RunnerBench {
    async fn in_containers(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runner = Box::new(docker(&dir, "me").await);
        Self::new(dir, runner, script).await
    }

    async fn as_processes(script: &str) -> Self {
        Self::new(tempfile::tempdir().unwrap(), Box::new(ProcessRunner::new()), script).await
    }

    async fn new(dir: TempDir, runner: Box<dyn Runner>, script: &str) -> Self {
        let own = dir.path().join("me");
        let [input, output] = ["in", "out"].map(|name| own.join(name));
        for folder in [&own, &input, &output] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(input.join("parameters.json"), "{\"steps\": 7}").unwrap();
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let program = Program { image: base_image().parse().unwrap(), command };
        let identity = runner.identify(&program).await.unwrap();
        let spec = Spec {
            program,
            identity,
            environment: BTreeMap::from([("SAS_SEED".to_owned(), "42".to_owned())]),
            input,
            output,
            limits: Limits {
                cpus: 1.0,
                memory: 256 << 20,
                processes: 64,
                time: Duration::from_secs(60),
                output: 8 << 20,
                free: 0,
                tmp: 64 << 20,
            },
            labels: Labels { module: "M".to_owned(), nonce: uuid::Uuid::new_v4().to_string(), ..Labels::default() },
            last_line: LastLine::default(),
        };
        let presence = SignOfLife::show(&own).unwrap();
        Self { dir, runner, spec, _presence: presence }
    }

    /// Runs it, and waits until its container is gone, too.
    async fn run(&self) -> Ended {
        let ended = self.runner.run(&self.spec, &CancellationToken::new()).await.unwrap();
        self.runner.finish().await;
        ended
    }

    fn output(&self) -> PathBuf {
        self.spec.output.join("output.h5")
    }

    /// Containers of this bench, running or not.
    fn containers(&self) -> Vec<String> {
        containers(&self.dir)
    }
}

fn containers(dir: &TempDir) -> Vec<String> {
    let label = format!("label=sas.store={}", dir.path().display());
    let listed = Command::new("docker").args(["ps", "-aq", "--filter", &label]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Runs a script in a container; nothing of it may be left.
async fn check(script: &str, expected: Exit) -> Ended {
    let bench = RunnerBench::in_containers(script).await;
    let ended = bench.run().await;
    assert_eq!(ended.exit, expected, "log: {}", ended.log);
    assert_eq!(bench.containers(), Vec::<String>::new());
    ended
}

#[tokio::test]
async fn exit_codes_arrive_as_they_are() {
    check("exit 0", Exit::Code(0)).await;
    check("exit 3", Exit::Code(3)).await;
    check("exit 75", Exit::Code(75)).await;
    check("exit 255", Exit::Code(255)).await;
    check("kill -SEGV $$", Exit::Signal(11)).await;
}

#[tokio::test]
async fn a_command_that_is_not_in_the_image_is_the_modules_mistake() {
    for init in [true, false] {
        let mut bench = RunnerBench::in_containers("").await;
        let config = DockerConfig { init, ..DockerConfig::default() };
        bench.runner = Box::new(DockerRunner::connect(config, owner(&bench.dir, "me")).await.unwrap());
        bench.spec.program.command = vec!["no-such-program".to_owned()];
        let ended = bench.run().await;
        assert_eq!(ended.exit, Exit::Code(127));
        assert!(ended.log.contains("no-such-program"), "{}", ended.log);
        assert!(bench.containers().is_empty());
    }
}

#[tokio::test]
async fn input_and_environment_are_there_and_the_output_arrives() {
    let bench = RunnerBench::in_containers(
        r#"echo "$SAS_SEED $SAS_INPUT $SAS_OUTPUT $HOSTNAME_UNSET"; cat "$SAS_PARAMETERS"; echo made > "$SAS_OUTPUT""#,
    )
    .await;
    let ended = bench.run().await;
    assert_eq!((ended.exit, ended.certain), (Exit::Code(0), true), "{}", ended.log);
    assert_eq!(ended.log, "42 /sas/in/input.h5 /sas/out/output.h5 \n{\"steps\": 7}");
    assert_eq!(std::fs::read_to_string(bench.output()).unwrap(), "made\n");
}

#[tokio::test]
async fn nothing_but_its_own_output_and_tmp_can_be_written_and_nobody_called() {
    let script = r#"
        for place in / /etc /usr /sas /sas/in /var /root; do
            if touch "$place/x" 2>/dev/null; then echo "wrote $place"; fi
        done
        touch /tmp/x /sas/out/x || echo "cannot write where it may"
        id -u; id -g
        grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr -d '\t'
        ls /sys/class/net
        python3 -c "import socket; socket.create_connection(('1.1.1.1', 53), 3)" 2>&1 | tail -n 1
    "#;
    let ended = check(script, Exit::Code(0)).await;
    let user = if rustix::process::getuid().is_root() { 65532 } else { rustix::process::getuid().as_raw() };
    let lines: Vec<&str> = ended.log.lines().collect();
    assert_eq!(lines[0], user.to_string(), "{}", ended.log);
    let rights = ["CapEff:0000000000000000", "CapBnd:0000000000000000", "NoNewPrivs:1", "lo"];
    assert_eq!(lines[2..6], rights, "{}", ended.log);
    assert!(lines[6].contains("Network is unreachable"), "{}", ended.log);
}

#[tokio::test]
async fn a_time_out_is_sigterm_and_then_sigkill() {
    let mut polite =
        RunnerBench::in_containers("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done").await;
    polite.spec.limits.time = Duration::from_secs(2);
    let mut stubborn = RunnerBench::in_containers("trap '' TERM; echo up; while :; do sleep 1; done").await;
    stubborn.spec.limits.time = Duration::from_secs(2);
    let started = Instant::now();
    let (polite_end, stubborn_end) = tokio::join!(polite.run(), stubborn.run());
    assert_eq!((polite_end.exit, polite_end.log.as_str()), (Exit::TimeLimit, "up\nasked\n"));
    assert_eq!((stubborn_end.exit, stubborn_end.log.as_str()), (Exit::TimeLimit, "up\n"));
    assert!(polite_end.millis < 9_000, "SIGTERM was enough, {} ms", polite_end.millis);
    assert!((12_000..25_000).contains(&stubborn_end.millis), "ten seconds of grace, {} ms", stubborn_end.millis);
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(polite.containers().is_empty() && stubborn.containers().is_empty());
}

#[tokio::test]
async fn too_much_memory_is_out_of_memory_also_in_a_child() {
    let eat = "python3 -c 'x = bytearray(1 << 30); print(len(x))'";
    check(&format!("exec {eat}"), Exit::OutOfMemory).await;
    check(&format!("{eat}; exit 4"), Exit::OutOfMemory).await;
}

#[tokio::test]
async fn a_bomb_of_processes_stays_within_its_limit() {
    let script = "for n in $(seq 200); do sleep 20 & done 2>/tmp/errors; exit 5";
    let ended = check(script, Exit::Code(2)).await;
    assert!(ended.millis < 20_000, "{}", ended.log);
}

#[tokio::test]
async fn too_much_output_is_stopped_in_one_file_and_in_many() {
    check("dd if=/dev/zero of=/sas/out/output.h5 bs=1M count=9", Exit::OutputTooLarge).await;
    let many = "for n in 1 2 3 4 5 6; do dd if=/dev/zero of=/sas/out/$n bs=1M count=3 2>/dev/null; done; sleep 60";
    let ended = check(many, Exit::OutputTooLarge).await;
    assert!(ended.millis < 30_000, "stopped while it ran");
}

/// What is deleted and still open has no size that could be measured, and fills the store all the same.
#[tokio::test]
async fn a_program_is_stopped_before_its_file_system_is_full_whoever_fills_it() {
    let script = "exec 3>/sas/out/x; rm /sas/out/x; while :; do echo more >&3; sleep 0.1; done";
    let mut bench = RunnerBench::in_containers(script).await;
    bench.spec.limits.free = u64::MAX;
    let ended = bench.run().await;
    assert_eq!(ended.exit, Exit::NoSpace);
    assert!(ended.millis < 30_000, "stopped while it ran");
}

#[tokio::test]
async fn an_output_directory_that_cannot_be_measured_is_the_modules_doing() {
    let deep = "import os; os.chdir('/sas/out'); [(os.mkdir('d' * 200), os.chdir('d' * 200)) for n in range(40)]";
    check(&format!("python3 -c \"{deep}\""), Exit::OutputHidden).await;
    check("for n in $(seq 10001); do : > /sas/out/$n; done", Exit::TooManyFiles).await;
    let removed = RunnerBench::as_processes("rm -r \"$(dirname \"$SAS_OUTPUT\")\"").await;
    assert_eq!(removed.run().await.exit, Exit::OutputHidden);
}

#[tokio::test]
async fn of_a_long_log_beginning_and_end_are_kept() {
    let ended = check("seq 1000000; echo the end", Exit::Code(0)).await;
    assert!(ended.log.starts_with("1\n2\n3\n") && ended.log.ends_with("1000000\nthe end\n"));
    assert!(ended.log.contains("bytes are cut here"));
    assert!(ended.log.len() < 66 << 10, "{} bytes", ended.log.len());
}

/// The engine is found by the environment, which only a process of its own can have: this test runs itself once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_whole_although_the_engine_was_away_in_between() {
    const SOCKET: &str = "SAS_TEST_SOCKET";
    let Some(socket) = std::env::var_os(SOCKET) else {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine");
        let name = "runner::a_log_is_whole_although_the_engine_was_away_in_between";
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env(SOCKET, &socket)
            .output()
            .unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        return;
    };
    let cut = Cut::at(socket.as_ref()).unwrap();
    let script =
        "for n in 1 2 3; do echo $n; touch /sas/out/$n; while [ ! -e /sas/out/go-$n ]; do sleep 0.1; done; done";
    let bench = RunnerBench::in_containers(script).await;
    let file = |name: &str| bench.spec.output.join(name);
    let (ended, ()) = tokio::join!(bench.run(), async {
        for n in ["1", "2", "3"] {
            wait_until(Duration::from_secs(30), "the module writes", async || file(n).exists()).await.unwrap();
            cut.all();
            std::fs::write(file(&format!("go-{n}")), "").unwrap();
        }
    });
    assert_eq!((ended.exit, ended.certain, ended.log.as_str()), (Exit::Code(0), false, "1\n2\n3\n"));
    assert!(bench.containers().is_empty());
}

#[tokio::test]
async fn stdout_and_stderr_are_one_log_in_the_order_of_time() {
    let ended =
        check("for n in 1 2 3; do echo out $n; sleep 0.1; echo err $n >&2; sleep 0.1; done", Exit::Code(0)).await;
    assert_eq!(ended.log, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_no_container() {
    let bench = RunnerBench::in_containers("touch /sas/out/up; while :; do sleep 0.1; done").await;
    let cancel = CancellationToken::new();
    let up = bench.spec.output.join("up");
    let (ended, ()) = tokio::join!(bench.runner.run(&bench.spec, &cancel), async {
        wait_until(Duration::from_secs(30), "the module runs", async || up.exists()).await.unwrap();
        cancel.cancel();
    });
    assert_eq!(ended.unwrap().exit, Exit::Cancelled);
    bench.runner.finish().await;
    assert!(bench.containers().is_empty());
}

#[tokio::test]
async fn a_sweep_removes_what_dead_workers_left_and_nothing_else() {
    // Three containers of one store: of a worker that lives, of one that is dead, and of this one, forgotten.
    let bench = RunnerBench::in_containers("while :; do sleep 0.1; done").await;
    let folder = |worker: &str| {
        let folder = bench.dir.path().join(worker);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let alive = SignOfLife::show(&folder("alive")).unwrap();
    let mut holder =
        Command::new("flock").arg(folder("dead").join("alive")).args(["cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut nonces = Vec::new();
    let mut started = Vec::new();
    for worker in ["alive", "dead", "me"] {
        let runner = docker(&bench.dir, worker).await;
        let mut spec = bench.spec.clone();
        spec.labels.nonce = worker.to_owned();
        nonces.push(spec.labels.nonce.clone());
        let run = tokio::spawn(async move { runner.run(&spec, &CancellationToken::new()).await });
        started.push(run);
        // One after the other: the engine makes them faster so than all at once.
        let count = started.len();
        let runs = async || containers(&bench.dir).len() == count || started.iter().any(|run| run.is_finished());
        wait_until(Duration::from_secs(30), "its container runs", runs).await.unwrap();
    }
    assert_eq!(containers(&bench.dir).len(), 3, "one ended early: {started:?}");
    wait_until(Duration::from_secs(30), "the holder has its lock", async || store::presence::lives(&folder("dead")))
        .await
        .unwrap();
    let mine = BTreeSet::from(["me".to_owned()]);
    assert_eq!(bench.runner.sweep(&|nonce| mine.contains(nonce)).await.unwrap(), 0, "all three live");

    holder.kill().unwrap();
    holder.wait().unwrap();
    // The program that it started has the lock, too, until it sees the end of its input.
    let has_ended = async || !store::presence::lives(&folder("dead"));
    wait_until(Duration::from_secs(30), "nobody holds the lock", has_ended).await.unwrap();
    assert_eq!(bench.runner.sweep(&|nonce| mine.contains(nonce)).await.unwrap(), 1, "one worker was killed");
    assert_eq!(bench.runner.sweep(&|_| false).await.unwrap(), 1, "one claim is not known any more");
    assert_eq!(containers(&bench.dir).len(), 1);
    drop(alive);
    assert_eq!(bench.runner.sweep(&|_| false).await.unwrap(), 1);
    assert!(containers(&bench.dir).is_empty());
    for run in started {
        let end = tokio::time::timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
        // Killed from outside, or gone before anybody could ask: either way the runner knows that it did not succeed.
        assert!(!matches!(end, Ok(Ended { exit: Exit::Code(0), .. })), "{end:?}");
    }
}

/// What containers used is seen while they run, what processes used is known.
#[tokio::test]
async fn what_a_program_used_is_told() {
    let busy = "head -c 30000000 /dev/zero > /tmp/x; n=0; while [ $n -lt 500000 ]; do n=$((n+1)); done; exit 3";
    let ended = check(busy, Exit::Code(3)).await;
    assert!(ended.used.cpu_ms > Some(20) && ended.used.peak_memory > Some(1 << 20), "{:?}", ended.used);
    assert!(ended.used.at_least);
    let ended = RunnerBench::as_processes(&busy.replace("/tmp/x", "/dev/null")).await.run().await;
    assert!(ended.used.cpu_ms > Some(20) && ended.used.written.is_some() && !ended.used.at_least, "{:?}", ended.used);
}
