//! Images from a registry: known by their digest, one for a whole run, pulled with Docker's own login, which nobody gets to
//! read; and what happens when the registry says no or nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use harness::{Registry, TinyImage, wait_until};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use worker::runner::docker::{DockerConfig, DockerRunner, Owner};
use worker::runner::{Labels, LastLine, Limits, Program, Runner, RunnerError, Spec};

/// A worker's runner, with the login that it finds.
struct Host {
    dir: TempDir,
    runner: DockerRunner,
}

impl Host {
    async fn new(login: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = DockerConfig { logins: Some(login.join("config.json")), ..DockerConfig::default() };
        let owner = Owner {
            worker: "me".parse().unwrap(),
            host: "here".to_owned(),
            store: dir.path().to_owned(),
            scratch: dir.path().to_owned(),
        };
        let runner = DockerRunner::connect(config, owner).await.expect("a Docker engine answers");
        Self { dir, runner }
    }

    async fn identify(&self, image: &str) -> Result<String, RunnerError> {
        Ok(self.runner.identify(&program(image)).await?.to_string())
    }

    /// What the program of an image says.
    async fn run(&self, image: &str, identity: &str) -> Result<String, RunnerError> {
        let attempt = self.dir.path().join(uuid());
        let [input, output] = ["in", "out"].map(|name| attempt.join(name));
        std::fs::create_dir_all(&input).unwrap();
        std::fs::create_dir_all(&output).unwrap();
        let spec = Spec {
            program: program(image),
            identity: identity.parse().unwrap(),
            environment: BTreeMap::new(),
            input,
            output,
            limits: Limits {
                cpus: 1.0,
                memory: 64 << 20,
                processes: 8,
                time: Duration::from_secs(60),
                output: 8 << 20,
                free: 0,
                tmp: 1 << 20,
            },
            labels: Labels { module: "M".to_owned(), nonce: uuid(), ..Labels::default() },
            last_line: LastLine::default(),
        };
        Ok(self.runner.run(&spec, &CancellationToken::new()).await?.log)
    }
}

fn uuid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned()
}

fn program(image: &str) -> Program {
    Program { image: image.parse().unwrap(), command: Vec::new() }
}

fn is_here(image: &str) -> bool {
    Command::new("docker").args(["image", "inspect", image]).output().unwrap().status.success()
}

#[track_caller]
fn check_missing(end: Result<String, RunnerError>, words: &[&str], registry: &Registry) {
    let Err(RunnerError::ImageMissing(message)) = end else { panic!("{end:?}") };
    for word in words {
        assert!(message.contains(word), "{message} does not name {word}");
    }
    for secret in registry.secrets() {
        assert!(!message.contains(&secret), "{message}");
    }
}

#[tokio::test]
async fn an_image_has_the_digest_of_its_registry_whatever_becomes_of_its_tag() {
    let registry = Registry::start().unwrap();
    let image = registry.image("tiny:1");
    let first = registry.push(&image, &TinyImage::new(1).unwrap()).unwrap();
    let host = Host::new(registry.login()).await;
    assert_eq!(host.identify(&image).await.unwrap(), first);
    assert!(!is_here(&image), "to know an image it need not be pulled");
    assert_eq!(host.run(&image, &first).await.unwrap(), "version 1\n");
    assert!(is_here(&image), "what was pulled has its name, by which it is found without the registry");

    // The tag moves on: a run that began before keeps its image, also on a host that never saw it, a new one has the new.
    let second = registry.push(&image, &TinyImage::new(2).unwrap()).unwrap();
    assert_ne!(first, second);
    assert_eq!(host.run(&image, &first).await.unwrap(), "version 1\n");
    assert_eq!(host.identify(&image).await.unwrap(), second, "the older one that this host has does not serve");
    assert_eq!(host.run(&image, &second).await.unwrap(), "version 2\n");

    // The registry goes: what is here serves, what is not is missing.
    registry.stop().unwrap();
    assert_eq!(host.identify(&image).await.unwrap(), second);
    assert_eq!(host.run(&image, &second).await.unwrap(), "version 2\n");
    registry.forget().unwrap();
    check_missing(host.identify(&image).await, &[&image, "refused"], &registry);
    check_missing(host.run(&image, &first).await, &[&image, &first, "refused"], &registry);
}

#[tokio::test]
async fn an_image_that_the_registry_does_not_have_or_does_not_give_is_named() {
    let registry = Registry::start().unwrap();
    let image = registry.image("tiny:1");
    let digest = registry.push(&image, &TinyImage::new(1).unwrap()).unwrap();
    let nothing = registry.image("nothing:1");
    let host = Host::new(registry.login()).await;
    check_missing(host.identify(&nothing).await, &[&nothing, "here", "unknown"], &registry);
    let never = format!("{}@sha256:{}", registry.image("tiny"), "0".repeat(64));
    check_missing(host.run(&image, &never).await, &[&image, &never], &registry);

    for login in [registry.wrong_login(), PathBuf::from("/nowhere")] {
        let stranger = Host::new(login).await;
        check_missing(stranger.identify(&image).await, &[&image, "auth"], &registry);
        check_missing(stranger.run(&image, &digest).await, &[&image, "auth"], &registry);
    }
    assert_eq!(host.identify(&image).await.unwrap(), digest);
    host.runner.fetch(&program(&image), &digest.parse().unwrap()).await.unwrap();
    let stranger = Host::new(registry.wrong_login()).await;
    assert_eq!(stranger.identify(&image).await.unwrap(), digest, "what is here serves");
}

/// A pipeline A → B of images of the registry.
fn pipeline(version: u32, a: &str, b: &str) -> String {
    let module = |name, image, rest| {
        format!("[modules.{name}]\nimage = \"{image}\"\nclass = \"default\"\ntime_limit = \"2m\"\n{rest}\n")
    };
    format!(
        "name = \"TINY\"\nversion = \"{version}\"\ntrigger = \"l1/lightcurve\"\n[externals]\nstar = [\"LC\"]\n\
         [classes.default]\ncpus = 1\nmemory = \"64MB\"\n{}{}",
        module("A", a, "inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]"),
        module("B", b, "inputs.mandatory = [\"X\"]\noutputs.mandatory = [\"Y\"]")
    )
}

fn star_file(dir: &Path) -> PathBuf {
    let path = dir.join("star.h5");
    let script = format!(
        "import h5py\nf = h5py.File({path:?}, 'w')\nf.attrs['PLATO_ID'] = 'PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7'\n\
         f.attrs['QUARTER_NUMBER'] = 1\nf['EXTERNALS/LC/flux'] = [1.0, 2.0]"
    );
    assert!(Command::new("/usr/bin/python3").args(["-c", &script]).status().unwrap().success());
    path
}

/// The value of B's product in the star's file.
fn result(store: &Path) -> String {
    let script = format!(
        "import glob, h5py\n[path] = glob.glob('{}/stars/*/PLATO_*/Q001/PLATO_*.h5')\n\
         print(h5py.File(path)['PRODUCTS/Y/value'][()])",
        store.display()
    );
    let read = Command::new("/usr/bin/python3").args(["-c", &script]).output().unwrap();
    String::from_utf8(read.stdout).unwrap().trim().to_owned()
}

/// A file in the output directory of the attempt that runs, once there is one.
fn beside_output(store: &Path, name: &str) -> Option<PathBuf> {
    let attempts = std::fs::read_dir(store.join("scratch")).ok()?.flatten();
    let slots = attempts.flat_map(|worker| std::fs::read_dir(worker.path()).into_iter().flatten().flatten());
    let mut outputs = slots.flat_map(|slot| std::fs::read_dir(slot.path()).into_iter().flatten().flatten());
    outputs.find_map(|nonce| Some(nonce.path().join("out")).filter(|out| out.join(name).exists()))
}

#[tokio::test]
async fn a_run_keeps_its_images_while_their_tags_change_and_they_are_there_before_their_tasks() {
    let registry = Registry::start().unwrap();
    let (a, b) = (registry.image("a:1"), registry.image("b:1"));
    let push = |version| {
        let image = TinyImage::new(version).unwrap();
        [&a, &b].map(|name| registry.push(name, &image).unwrap())
    };
    let first = push(1);
    let dir = tempfile::tempdir().unwrap();
    let (store, star) = (dir.path().join("store"), star_file(dir.path()));
    // The login comes from a credential helper, as Docker finds it: by its name, on the path.
    let local = |version: u32| {
        let file = dir.path().join(format!("{version}.toml"));
        std::fs::write(&file, pipeline(version, &a, &b)).unwrap();
        let path = format!("{}:{}", registry.helper().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(harness::program("sas-cli", "sas"));
        command.env("DOCKER_CONFIG", registry.helper()).env("PATH", path).env("RUST_LOG", "trace");
        command.args(["local", "--timeout", "3m", "--store"]).arg(&store).arg("--pipeline").arg(file).arg(&star);
        let log = dir.path().join(format!("{version}.log"));
        let file = std::fs::File::create(&log).unwrap();
        Local { process: command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap(), log }
    };
    let goes_on = async |before: &dyn Fn()| {
        let up = async || beside_output(&store, "up").is_some();
        wait_until(Duration::from_secs(60), "A runs", up).await.unwrap();
        before();
        std::fs::write(beside_output(&store, "up").unwrap().join("go"), "").unwrap();
    };

    let running = local(1);
    let prefetched = async || is_here(&first[1]);
    wait_until(Duration::from_secs(60), "B's image is here, while A runs", prefetched)
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", std::fs::read_to_string(&running.log).unwrap()));
    goes_on(&|| {
        assert_eq!(result(&store), "", "B has not run");
        let second = push(2);
        assert!(first[0] != second[0] && first[1] != second[1]);
    })
    .await;
    check_end(running, &registry);
    assert_eq!(result(&store), "1", "a module that began after the tags had changed ran as its run began");

    let running = local(2);
    goes_on(&|| {}).await;
    check_end(running, &registry);
    let log = std::fs::read_to_string(dir.path().join("2.log")).unwrap();
    assert_eq!(result(&store), "2", "the next run has what the tags say now: {log}");

    // Told to end, it stops A, which would wait for ever, and leaves nothing.
    push(3);
    let mut running = local(3);
    let up = async || beside_output(&store, "up").is_some();
    wait_until(Duration::from_secs(60), "A runs", up).await.unwrap();
    assert!(!running.end().success());
    assert_eq!(containers(&store), "");
    assert_eq!(beside_output(&store, "up"), None);
}

/// A run in a process of its own; told to end, it leaves no container.
struct Local {
    process: Child,
    log: PathBuf,
}

impl Local {
    /// Tells it to end, as Ctrl-C and `docker stop` do, and waits until it has.
    fn end(&mut self) -> ExitStatus {
        _ = Command::new("kill").arg(self.process.id().to_string()).status();
        self.process.wait().unwrap()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.end();
        }
    }
}

/// Containers that work on a store.
fn containers(store: &Path) -> String {
    let label = format!("label=sas.store={}", store.display());
    let listed = Command::new("docker").args(["ps", "-aq", "--filter", &label]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

/// It ended well, and nobody can read the password in what it said.
#[track_caller]
fn check_end(mut running: Local, registry: &Registry) {
    let ended = running.process.wait().unwrap();
    let said = std::fs::read_to_string(&running.log).unwrap();
    assert!(ended.success(), "{said}");
    for secret in registry.secrets() {
        assert!(!said.contains(&secret), "{secret} was said");
    }
}
