//! Programs that serve, in containers and as processes: what one is asked and answers, and what becomes of one that does not.

use std::path::PathBuf;
use std::time::Duration;

use domain::id::Attempt;
use harness::wait_until;
use store::presence::SignOfLife;
use tokio_util::sync::CancellationToken;
use worker::runner::session::{RequestSubject, ServedStar, Session, SessionKind, SessionSpec};
use worker::runner::{Exit, Spec};

use super::{RunnerBench, containers, docker};

/// Says what its environment promises, then for each request does what its parameters say; `path` is where it writes.
const SERVER: &str = r#"
import json, os, sys, threading
if os.environ["SAS_SERVE"] != "1" or "SAS_INPUT" in os.environ: sys.exit(9)
kept, hang = [], threading.Event().wait
def say(line):
    sys.stdout.write(line + "\n"); sys.stdout.flush()
def log(line):
    sys.stderr.write(line + "\n"); sys.stderr.flush()
say('{"ready":1}')
for line in sys.stdin:
    request = json.loads(line)
    path, exit, message = request["output"], 0, ""
    exec(json.load(open(request["parameters"]))["act"])
    say(json.dumps({"id": request["id"], "exit": exit, "message": message}))
hang()
"#;

/// Writes one of the words that follow.
const WRITE: &str = "open(path, 'w').write(";

/// A session, and the slot that asks it.
struct Serving {
    bench: RunnerBench,
    session: Option<Session>,
    asked: u32,
}

impl Serving {
    async fn in_a_container() -> Self {
        Self::of(RunnerBench::in_containers("").await).await
    }

    async fn as_a_process() -> Self {
        Self::of(RunnerBench::as_processes("").await).await
    }

    async fn of(bench: RunnerBench) -> Self {
        Self::with(bench, SERVER).await
    }

    async fn with(mut bench: RunnerBench, server: &str) -> Self {
        bench.spec.program.command = ["python3", "-c", server].map(str::to_owned).to_vec();
        let mut serving = Self { bench, session: None, asked: 0 };
        std::fs::create_dir(serving.folder().join("sessions")).unwrap();
        let runner = &*serving.bench.runner;
        serving.session = Some(Session::open(runner, serving.session_spec("first")).await.unwrap().expect("it serves"));
        serving
    }

    fn session_spec(&self, name: &str) -> SessionSpec {
        let spec = &self.bench.spec;
        let kind = SessionKind {
            program: spec.program.clone(),
            identity: spec.identity.clone(),
            environment: spec.environment.clone(),
            module: "M".to_owned(),
            limits: spec.limits.clone(),
        };
        SessionSpec { name: self.name(name), kind, folder: self.folder().join("sessions").join(name) }
    }

    /// A name that no session of another test has.
    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.bench.spec.labels.nonce)
    }

    fn folder(&self) -> PathBuf {
        self.bench.dir.path().join("me")
    }

    /// What the next attempt is told, with an input whose parameters say what to do.
    fn attempt(&mut self, act: &str) -> Spec {
        self.asked += 1;
        let folder = self.folder().join(self.asked.to_string());
        let mut spec = self.bench.spec.clone();
        (spec.input, spec.output) = (folder.join("in"), folder.join("out"));
        spec.labels.nonce = format!("request {}", self.asked);
        for folder in [&folder, &spec.input] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(spec.input.join("input.h5"), "the input").unwrap();
        std::fs::write(spec.input.join("parameters.json"), serde_json::json!({ "act": act }).to_string()).unwrap();
        spec
    }

    async fn ask(&mut self, act: &str) -> (ServedStar, PathBuf) {
        self.ask_until(act, &CancellationToken::new()).await
    }

    async fn ask_until(&mut self, act: &str, cancel: &CancellationToken) -> (ServedStar, PathBuf) {
        let spec = self.attempt(act);
        let subject = RequestSubject {
            star: "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7".parse().unwrap(),
            quarter: 3.try_into().unwrap(),
            attempt: Attempt(2),
            seed: u64::MAX,
        };
        let session = self.session.as_mut().unwrap();
        let answered = session.ask(&spec, subject, cancel).await.unwrap();
        assert!(spec.input.join("parameters.json").exists(), "the input is where it was");
        let left = session.spec().output().read_dir().unwrap().count();
        assert_eq!(left, 0, "nothing is left where the program may write");
        (answered, spec.output.join("output.h5"))
    }

    /// Asks for something after which the session cannot be asked again.
    async fn check_end(&mut self, act: &str, expected: Exit, word: &str) {
        let (ServedStar { ended, goes_on }, output) = self.ask(act).await;
        assert_eq!((ended.exit, goes_on), (expected, false), "{act}: {}", ended.log);
        assert!(ended.log.contains(word), "{act}: {:?} does not say {word:?}", ended.log);
        assert!(!output.exists(), "{act}");
        assert!(self.bench.containers().is_empty(), "{act} leaves no container");
    }

    async fn close(&mut self) {
        self.session.take().unwrap().close().await;
        assert!(self.bench.containers().is_empty());
        assert_eq!(self.folder().join("sessions").read_dir().unwrap().count(), 0);
    }
}

/// What one that goes on answers, and what it made.
async fn check_answers(mut serving: Serving, inside: &str) {
    let told = "open(path, 'w').write(' '.join(str(request[k]) for k in ['star', 'quarter', 'seed', 'attempt'])); log('a word')";
    let (ServedStar { ended, goes_on }, output) = serving.ask(told).await;
    assert_eq!((ended.exit, goes_on), (Exit::Code(0), true), "{}", ended.log);
    let made = std::fs::read_to_string(&output).unwrap();
    assert_eq!(made, format!("PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7 3 {} 2", u64::MAX));
    let (ServedStar { ended, .. }, output) =
        serving.ask(&format!("{WRITE}path + open(request['input']).read())")).await;
    assert!(!ended.log.contains("a word"), "the log of a request is its own: {}", ended.log);
    let made = std::fs::read_to_string(&output).unwrap();
    assert!(made.starts_with(inside) && made.ends_with("/2/output.h5the input"), "{made}");
    let (ServedStar { ended, goes_on }, output) = serving.ask("log('before'); exit, message = 75, 'not now'").await;
    assert_eq!((ended.exit, ended.log.as_str(), goes_on), (Exit::Code(75), "before\nnot now\n", true));
    assert!(!output.exists());
    let (ServedStar { ended, goes_on }, _) = serving.ask("pass").await;
    assert_eq!((ended.exit, goes_on), (Exit::Code(0), true), "whether no output is right others say");
    assert!(serving.session.as_mut().unwrap().is_idle());
    serving.close().await;
}

/// What ends one, on any runner.
async fn check_ends(open: impl AsyncFn() -> Serving) {
    for (act, expected, word) in [
        ("say('hello')", Exit::NoAnswer, "got: hello"),
        ("request['id'] = 'another'", Exit::NoAnswer, "request with id request 1"),
        ("sys.stdout.write('x' * 100000); sys.stdout.flush(); hang()", Exit::NoAnswer, "65536 bytes"),
        ("log('why'); sys.exit(3)", Exit::Code(3), "why"),
        ("sys.exit(0)", Exit::NoAnswer, "exit code 0"),
        ("os.kill(os.getpid(), 11); hang()", Exit::Signal(11), ""),
    ] {
        open().await.check_end(act, expected, word).await;
    }
}

#[tokio::test]
async fn a_container_that_serves_answers_star_after_star() {
    check_answers(Serving::in_a_container().await, "/sas/out").await;
}

#[tokio::test]
async fn a_process_that_serves_answers_star_after_star() {
    let serving = Serving::as_a_process().await;
    let inside = serving.folder().display().to_string();
    check_answers(serving, &inside).await;
}

#[tokio::test]
async fn what_is_no_answer_ends_a_session_and_says_what_came_instead() {
    check_ends(Serving::as_a_process).await;
}

#[tokio::test]
async fn in_containers_it_is_the_same() {
    check_ends(Serving::in_a_container).await;
}

#[tokio::test]
async fn a_program_that_does_not_get_ready_is_told_by_what_it_did_instead() {
    for (server, expected, word) in [
        ("import sys; sys.exit('no library')", Exit::Code(1), "no library"),
        ("print('up'); import sys; sys.stdin.read()", Exit::NoAnswer, "got: up"),
        ("pass", Exit::NoAnswer, "exit code 0"),
    ] {
        let bench = RunnerBench::as_processes("").await;
        let mut serving = Serving::with(bench, &server.replace("print('up')", "print('up', flush=True)")).await;
        serving.check_end("pass", expected, word).await;
    }
    let mut bench = RunnerBench::in_containers("").await;
    bench.spec.limits.time = Duration::from_secs(60);
    let mut serving = Serving::with(bench, SERVER).await;
    serving.close().await;
    serving.bench.spec.program.command = vec!["no-such-program".to_owned()];
    let spec = serving.session_spec("second");
    serving.session = Session::open(&*serving.bench.runner, spec).await.unwrap();
    serving.check_end("pass", Exit::Code(127), "no-such-program").await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_or_is_cancelled_ends_the_session_at_once() {
    let mut bench = RunnerBench::in_containers("").await;
    bench.spec.limits.time = Duration::from_secs(8);
    let hang = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); log('up'); hang()";
    let mut serving = Serving::of(bench).await;
    assert_eq!(serving.ask("pass").await.0.ended.exit, Exit::Code(0));
    serving.check_end(hang, Exit::TimeLimit, "up").await;
    let mut serving = Serving::in_a_container().await;
    let (cancel, seen) = (CancellationToken::new(), serving.bench.spec.last_line.clone());
    let (answered, ()) = tokio::join!(serving.ask_until(hang, &cancel), async {
        wait_until(Duration::from_secs(60), "it hangs", async || seen.text() == "up").await.unwrap();
        cancel.cancel();
    });
    assert_eq!((answered.0.ended.exit, answered.0.goes_on), (Exit::Cancelled, false));
    assert!(serving.bench.containers().is_empty());
}

#[tokio::test]
async fn too_much_memory_is_out_of_memory_also_in_a_child_of_a_program_that_answers() {
    Serving::in_a_container().await.check_end("bytearray(1 << 30)", Exit::OutOfMemory, "").await;
    let child = "import subprocess; exit = subprocess.call(['python3', '-c', 'bytearray(1 << 30)']) and 4";
    Serving::in_a_container().await.check_end(child, Exit::OutOfMemory, "").await;
}

#[tokio::test]
async fn too_much_output_is_stopped_and_links_are_not_followed() {
    let mut serving = Serving::as_a_process().await;
    let (ServedStar { ended, .. }, output) = serving.ask("os.symlink('/etc/hostname', path)").await;
    assert_eq!((ended.exit, output.exists()), (Exit::OutputHidden, false));
    let (ServedStar { ended, .. }, output) = serving.ask("os.mkfifo(path)").await;
    assert_eq!((ended.exit, output.exists()), (Exit::OutputHidden, false));
    let fills = "for n in range(5): open(path + str(n), 'w').write('x' * (2 << 20))";
    let (ServedStar { ended, .. }, _) = serving.ask(fills).await;
    assert_eq!(ended.exit, Exit::OutputTooLarge, "{}", ended.log);
    serving.check_end(&format!("{fills}\nhang()"), Exit::OutputTooLarge, "").await;
}

/// The program lives on while what it made is judged, and has it open: whoever judges it takes a copy first, as is tried elsewhere.
async fn check_late_writes(mut serving: Serving) {
    let read = |path: &PathBuf| std::fs::read_to_string(path).ok();
    let (_, first) = serving.ask("kept.append(open(path, 'w+')); kept[0].write('first'); kept[0].flush()").await;
    assert_eq!(read(&first).as_deref(), Some("first"));
    let (_, second) =
        serving.ask("kept[0].seek(0); kept[0].write('FORGED'); kept[0].flush()\nopen(path, 'w').write('second')").await;
    let late = "old = path.replace('/3/', '/2/')\ntry: open(old, 'w').write('late')\nexcept OSError as e: log(type(e).__name__)";
    let (ServedStar { ended, .. }, third) = serving.ask(late).await;
    assert_eq!(ended.log, "FileNotFoundError\n", "the folder of a request before is gone");
    assert_eq!([read(&second), read(&third)], [Some("second".into()), None]);
    serving.close().await;
}

#[tokio::test]
async fn what_is_written_late_lands_in_no_result() {
    check_late_writes(Serving::as_a_process().await).await;
    check_late_writes(Serving::in_a_container().await).await;
}

#[tokio::test]
async fn a_session_that_says_what_nobody_asked_for_is_not_asked_again() {
    let mut serving = Serving::as_a_process().await;
    serving.ask("threading.Timer(0.1, say, ['late']).start()").await;
    let session = serving.session.as_mut().unwrap();
    wait_until(Duration::from_secs(30), "its late word is heard", async || !session.is_idle()).await.unwrap();
    let mut serving = Serving::as_a_process().await;
    serving.ask("threading.Timer(0.1, os._exit, [0]).start()").await;
    let session = serving.session.as_mut().unwrap();
    wait_until(Duration::from_secs(30), "its end is seen", async || !session.is_idle()).await.unwrap();
}

#[tokio::test]
async fn a_sweep_ends_sessions_of_dead_workers_and_those_that_nobody_knows() {
    let mut serving = Serving::in_a_container().await;
    serving.ask("pass").await;
    let spec = |name: &str| serving.session_spec(name);
    let (dead, alive) = (docker(&serving.bench.dir, "dead").await, docker(&serving.bench.dir, "alive").await);
    let folder = serving.bench.dir.path().join("alive");
    std::fs::create_dir(&folder).unwrap();
    let presence = SignOfLife::show(&folder).unwrap();
    let of_dead = Session::open(&dead, spec("of-dead")).await.unwrap();
    let of_alive = Session::open(&alive, spec("of-alive")).await.unwrap();
    // As when its worker is killed: nobody is attached any more, and this program does not care.
    drop(of_dead);
    assert_eq!(containers(&serving.bench.dir).len(), 3);
    let sweep = async |known: &str| {
        let known = serving.name(known);
        serving.bench.runner.sweep(&|name| name == known).await.unwrap()
    };
    assert_eq!(sweep("first").await, 1, "of a worker that is dead");
    assert_eq!(sweep("first").await, 0, "that of a worker that lives, and one that is known");
    assert_eq!(sweep("another").await, 1, "one that is not known any more");
    assert_eq!(containers(&serving.bench.dir).len(), 1);
    drop((of_alive, presence));
    assert_eq!(sweep("another").await, 1);
}

#[tokio::test]
async fn what_one_request_used_of_a_cpu_and_a_disk_is_measured() {
    for (mut serving, is_process) in [(Serving::as_a_process().await, true), (Serving::in_a_container().await, false)] {
        serving.ask("sum(range(3_000_000))").await;
        let burn = "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass\n\
                    with open(path, 'w') as f: f.write('x' * (6 << 20)); f.flush(); os.fsync(f.fileno())";
        let (busy, _) = serving.ask(burn).await;
        let (idle, _) = serving.ask("pass").await;
        assert_eq!(idle.ended.input_is_free, !is_process, "a process that goes on can write where it reads");
        let (busy, idle) = (busy.ended.used, idle.ended.used);
        assert!((300..3000).contains(&busy.cpu_ms.unwrap()) && idle.cpu_ms.unwrap() < 200, "{busy:?}, {idle:?}");
        // Control groups of version 1 do not see what the kernel writes later for a container.
        assert!(!is_process || busy.written.unwrap() >= 6 << 20, "{busy:?}");
        assert!(idle.written.is_none_or(|written| written < 6 << 20), "{idle:?}");
        assert_eq!((busy.peak_memory, idle.peak_memory), (None, None), "it is the program's, and not a request's");
        serving.close().await;
    }
}

#[tokio::test]
async fn memory_of_a_session_is_known_without_what_files_take() {
    for mut serving in [Serving::as_a_process().await, Serving::in_a_container().await] {
        serving.ask("pass").await;
        let gauge = serving.session.as_ref().unwrap().gauge();
        let before = gauge.memory().await.unwrap();
        serving.ask("kept.append(b'x' * (64 << 20)); open(path, 'w').write('x' * (6 << 20))").await;
        let more = gauge.memory().await.unwrap() - before;
        assert!((60 << 20..80 << 20).contains(&more), "{more} bytes more than {before}");
        serving.close().await;
    }
}
