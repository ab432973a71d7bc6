//! The agent as a process: its bounds, its end, and its successor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::id::StarId;
use store::agent::{Agent, AgentError, At, Check, OutputLimits, RefusalKind, Stage};

use crate::{Workbench, child_in};

#[tokio::test]
async fn a_program_that_is_no_agent_is_an_error_and_not_a_hang() {
    let bench = Workbench::new();
    for (program, expected) in [("/nonexistent/agent", "failed to start"), ("/bin/true", "failed to start")] {
        let mut options = bench.agent.options().clone();
        options.program = Some(program.into());
        let error = Agent::new(options).inspect(Path::new("/x")).await.unwrap_err();
        assert!(matches!(error, AgentError::Start { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_agent_that_is_killed_is_replaced() {
    let mut bench = Workbench::new();
    bench.python(r#"h5py.File("{dir}/x.h5", "w")["a"] = 1.0"#);
    let at = At { file: bench.path("x.h5"), path: "/a".to_owned() };
    let before = bench.agent.digest(at.clone()).await.unwrap();
    let child = child_in(&bench.agent.options().writable).unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &child]).status().unwrap().success());
    // The process may take its last breath during the first request; that one is lost, and no later one.
    let after = match bench.agent.digest(at.clone()).await {
        Err(AgentError::Died { .. }) => bench.agent.digest(at).await,
        other => other,
    };
    assert_eq!(after.unwrap(), before);
}

#[tokio::test]
async fn an_agent_that_is_too_slow_is_ended_and_replaced() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
with h5py.File("{dir}/slow.h5", "w") as f:
    f.create_dataset("PRODUCTS/X/value", (250_000_000,), "f8", chunks=(1_000_000,), fillvalue=1.0)
with h5py.File("{dir}/fast.h5", "w") as f:
    f["PRODUCTS/X/value"] = 1.0
"#,
    );
    let mut options = bench.agent.options().clone();
    options.deadline = Duration::from_millis(300);
    bench.agent = Agent::new(options);
    let check = |output: PathBuf| Check {
        output,
        mandatory: vec!["X".parse().unwrap()],
        optional: vec![],
        nullable: vec![],
        conditional: vec![],
        aliases: Default::default(),
        model: Default::default(),
        strict_units: false,
        scalars_of: BTreeMap::new(),
        limits: OutputLimits::default(),
    };
    let [slow, fast] = ["slow.h5", "fast.h5"].map(|name| check(bench.path(name)));
    let error = bench.seal(slow).await.unwrap_err();
    assert!(matches!(error, AgentError::Hung { .. }), "{error:?}");
    assert_eq!(bench.seal(fast).await.unwrap().violation, None);
}

#[tokio::test]
async fn a_large_file_has_more_time_than_a_small_one() {
    let bench = Workbench::new();
    bench.python(r#"h5py.File("{dir}/x.h5", "w")["large"] = np.zeros(12_500_000)"#);
    let mut options = bench.agent.options().clone();
    options.deadline = Duration::from_millis(300);
    let at = At { file: bench.path("x.h5"), path: "/large".to_owned() };
    assert_eq!(Agent::new(options).digest(at).await.unwrap().bytes, 100_000_000);
}

#[tokio::test]
async fn what_was_dropped_before_its_answer_does_not_answer_the_next() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
with h5py.File("{dir}/x.h5", "w") as f:
    f.create_dataset("slow", (50_000_000,), "f8", chunks=(1_000_000,))
    f["fast"] = 1.0
"#,
    );
    let at = |path: &str| At { file: bench.path("x.h5"), path: path.to_owned() };
    let (slow, fast) = (at("/slow"), at("/fast"));
    let cut = tokio::time::timeout(Duration::from_millis(100), bench.agent.digest(slow)).await;
    assert!(cut.is_err(), "the first request was meant to be dropped");
    assert_eq!(bench.agent.digest(fast).await.unwrap().bytes, 8);
}

#[tokio::test]
async fn more_memory_than_allowed_is_refused() {
    let bench = Workbench::new();
    bench.python(
        r#"
with h5py.File("{dir}/x.h5", "w") as f:
    f.create_dataset("row", (1, 50_000_000), "f8", chunks=(1, 50_000_000), compression="gzip")[0, 0] = 1.0
    f["small"] = 1.0
"#,
    );
    let mut options = bench.agent.options().clone();
    options.memory = 384 << 20;
    let mut agent = Agent::new(options);
    let at = |path: &str| At { file: bench.path("x.h5"), path: path.to_owned() };
    let error = agent.digest(at("/row")).await.unwrap_err();
    assert!(matches!(error, AgentError::Refused(_) | AgentError::Died { .. }), "{error:?}");
    assert_eq!(agent.digest(at("/small")).await.unwrap().bytes, 8);
}

#[tokio::test]
async fn a_missing_file_and_a_missing_object_are_told_from_damage() {
    let mut bench = Workbench::new();
    bench.python(r#"h5py.File("{dir}/x.h5", "w")["a"] = 1.0"#);
    std::fs::write(bench.path("y.h5"), "no HDF5").unwrap();
    for (file, path, expected) in [
        ("none.h5", "/a", RefusalKind::Missing),
        ("x.h5", "/b", RefusalKind::Missing),
        ("x.h5", "/a/b", RefusalKind::Missing),
        ("y.h5", "/a", RefusalKind::Damaged),
    ] {
        let at = At { file: bench.path(file), path: path.to_owned() };
        match bench.agent.digest(at).await {
            Err(AgentError::Refused(refusal)) => assert_eq!(refusal.kind, expected, "{}", refusal.message),
            other => panic!("{file} {path}: {other:?}"),
        }
    }
    let error = bench.agent.manifest(&bench.path("x.h5")).await.unwrap_err().to_string();
    assert!(error.contains("no /MANIFEST"), "{error}");
}

#[tokio::test]
async fn a_manifest_of_a_later_format_is_not_damaged() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
for name, manifest in [("newer", '{"format": 9, "all": "else"}'), ("older", '{"format": 0}')]:
    h5py.File("{dir}/" + name + ".h5", "w").create_dataset("MANIFEST", data=manifest, dtype=h5py.string_dtype())
"#,
    );
    for (file, expected, words) in
        [("newer.h5", RefusalKind::Newer, "newer version"), ("older.h5", RefusalKind::Damaged, "format 0")]
    {
        match bench.agent.manifest(&bench.path(file)).await {
            Err(AgentError::Refused(refusal)) => {
                assert_eq!(refusal.kind, expected, "{}", refusal.message);
                assert!(refusal.message.contains(words), "{}", refusal.message);
            }
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn thousands_of_single_files_may_be_named_as_readable_and_nothing_else_is() {
    let bench = Workbench::new();
    bench.python(
        r#"
for name in ["named", "other"]:
    h5py.File("{dir}/" + name + ".h5", "w")["a"] = 1.0
"#,
    );
    let mut options = bench.agent.options().clone();
    options.readable = (0..5000).map(|index| bench.path(&format!("a name of some length {index:060}.h5"))).collect();
    options.readable.push(bench.path("named.h5"));
    let mut agent = Agent::new(options);
    let at = |name: &str| At { file: bench.path(name), path: "/a".to_owned() };
    assert_eq!(agent.digest(at("named.h5")).await.unwrap().bytes, 8);
    if kernel_has_landlock() {
        assert!(agent.digest(at("other.h5")).await.is_err(), "a file that was not named was read");
    }
}

#[tokio::test]
async fn nothing_is_written_outside_the_agent_s_own_directory() {
    let mut bench = Workbench::new();
    let stage = |input: PathBuf| Stage {
        input,
        attributes: Default::default(),
        star: StarId::of_simulator(1),
        quarter: 0.try_into().unwrap(),
        observed: None,
        items: vec![],
        staged: "{}".to_owned(),
    };
    bench.agent.stage(stage(bench.private("input.h5"))).await.unwrap();
    if kernel_has_landlock() {
        let outside = bench.store.at("shared/input.h5");
        let error = bench.agent.stage(stage(outside.clone())).await.unwrap_err();
        assert!(matches!(&error, AgentError::Refused(refusal) if refusal.kind == RefusalKind::Write), "{error:?}");
        assert!(!outside.exists());
    }
}

fn kernel_has_landlock() -> bool {
    use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(|ruleset| ruleset.create()).is_ok()
}

#[tokio::test]
async fn every_thread_of_an_agent_has_given_up_system_calls_and_new_privileges() {
    let mut bench = Workbench::new();
    bench.python(r#"h5py.File("{dir}/x.h5", "w")["a"] = 1.0"#);
    bench.agent.inspect(&bench.path("x.h5")).await.unwrap();
    let threads = format!("/proc/{}/task", child_in(&bench.agent.options().writable).unwrap());
    let threads: Vec<_> = std::fs::read_dir(threads).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(threads.len(), 2, "one works, one looks after the parent");
    for thread in threads {
        let status = std::fs::read_to_string(thread.join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2\n") && status.contains("NoNewPrivs:\t1\n"), "{status}");
    }
}
