//! Plans of a small store, from its records alone: no service answers, and no file of a star is there.

use std::sync::Arc;

use async_trait::async_trait;
use domain::id::{EventId, StarIndex};
use domain::run::TaskState;
use services::queue::SharedQueue;
use services::state::SharedState;
use store::runs::{RunEnd, RunRecord, SettledStar, StarEnd};

use super::*;
use crate::operate::{Images, Installation};

/// A → B, and C alone.
const PIPELINE: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\n[externals]\nstar = ['LC']\n\
    [classes.default]\ncpus = 1\nmemory = '1GB'\n\
    [modules.A]\nimage = 'a:1'\nclass = 'default'\ntime_limit = '1m'\ninputs.mandatory = ['LC']\noutputs.mandatory = ['X']\n\
    [modules.B]\nimage = 'b:1'\nclass = 'default'\ntime_limit = '1m'\ninputs.mandatory = ['X']\noutputs.mandatory = ['Y']\n\
    [modules.C]\nimage = 'c:1'\nclass = 'default'\ntime_limit = '1m'\ninputs.mandatory = ['LC']\noutputs.mandatory = ['Z']\n";

/// An installation of which nothing answers.
struct Deaf;

fn deaf<T>() -> Result<T, OperateError> {
    Err(OperateError::new(ErrorKind::OutOfReach, "nobody answers"))
}

#[async_trait]
impl Installation for Deaf {
    async fn queue(&self) -> Result<SharedQueue, OperateError> {
        deaf()
    }
    async fn state(&self) -> Result<SharedState, OperateError> {
        deaf()
    }
    async fn pipelines(&self) -> Result<Arc<[Pipeline]>, OperateError> {
        Ok(Arc::new([]))
    }
    async fn images(&self) -> Result<Arc<dyn Images>, OperateError> {
        deaf()
    }
}

struct ReplayStore {
    _folder: tempfile::TempDir,
    context: Context,
    stars: Vec<StarId>,
}

impl ReplayStore {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(folder.path()).unwrap();
        let mut stars: Vec<StarId> = (0..4).map(StarId::of_simulator).collect();
        stars.sort_unstable();
        Self { _folder: folder, context: Context::new(store, Arc::new(Deaf), "ada"), stars }
    }

    /// A run of `definition` in which each star ended as these letters of its modules say, `s`, `f`, `u`, `-` or `c`.
    fn run(&self, number: u64, definition: &str, ends: &[&str]) -> RunId {
        let store = &self.context.store;
        let event = EventId::of("t", &number.to_string());
        let run = RunId::of(event, "P", "1");
        let record = RunRecord {
            run,
            event,
            publisher: None,
            pipeline: "P".parse().unwrap(),
            version: "1".to_owned(),
            quarter: Quarter::FIRST,
            horizon: Sequence(number),
            accepted: Timestamp::UNIX_EPOCH,
            stars: self.stars.len() as u32,
            only_group: None,
            replay: None,
            definition: definition.to_owned(),
            data_model: String::new(),
        };
        store.create_run(&record, &self.stars).unwrap();
        for image in ["a:1", "b:1", "c:1"].iter().filter(|image| definition.contains(*image)) {
            store.fix_image_identity(run, image, &format!("sha256:{image}").parse().unwrap()).unwrap();
        }
        let state = |letter: char| match letter {
            'f' => TaskState::Failed,
            'u' => TaskState::UpstreamFailed,
            '-' => TaskState::Skipped,
            'c' => TaskState::Cancelled,
            _ => TaskState::Succeeded,
        };
        let line = |(at, letters): (u32, &&str)| {
            let row: Vec<u8> = letters.chars().map(|letter| (state(letter) as u8) << 4 | 1).collect();
            let end = StarEnd::of_row(&domain::run::Row::from_bytes(row.clone()).unwrap(), false);
            SettledStar { star: StarIndex(at), row, end: Some(end), ..SettledStar::default() }
        };
        let lines: Vec<SettledStar> = (0..).zip(ends).map(line).collect();
        store.append_settled(run, &lines).unwrap();
        let took = [("A".parse().unwrap(), Took { tasks: 4, millis: 8000 })].into();
        let (counts, stars, remarks) = Default::default();
        let end = RunEnd { ended: Timestamp::UNIX_EPOCH, decisions: 0, counts, stars, remarks, took };
        store.end_run(run, &end).unwrap();
        store.put_away(run).unwrap();
        run
    }

    async fn plan(&self, change: impl FnOnce(&mut ReplayRequest)) -> ReplayPlan {
        let mut request = ReplayRequest::of("P".parse().unwrap());
        change(&mut request);
        plan(&self.context, request).await.unwrap()
    }

    /// What a plan says in a line: stars, bounds of tasks, what is reused, and modules with what will and may run.
    async fn said(&self, change: impl FnOnce(&mut ReplayRequest)) -> String {
        let work = self.plan(change).await.work;
        let modules: Vec<String> =
            work.modules.iter().map(|of| format!("{} {}+{}", of.module, of.will, of.may)).collect();
        let PlanBounds { at_least, at_most } = work.tasks;
        format!("{} stars, {at_least}..{at_most}, {} reused; {}", work.stars(), work.reused, modules.join(", "))
    }
}

fn definition(text: &str) -> Option<DefinitionText> {
    Some(DefinitionText { pipeline: text.to_owned(), data_model: String::new() })
}

#[tokio::test]
async fn nothing_changed_runs_nothing_failures_included_unless_asked() {
    let store = ReplayStore::new();
    store.run(1, PIPELINE, &["sss", "sss", "fus", "s-s"]);
    assert_eq!(store.said(|_| {}).await, "0 stars, 0..0, 9 reused; ");
    let plan = store.plan(|_| {}).await;
    assert_eq!((plan.work.unchanged, plan.work.lost_left), (4, 2));
    let asked = store.said(|asked| asked.failed = true).await;
    assert_eq!(asked, "1 stars, 1..2, 9 reused; A 1+0, B 0+1");
    let state = store.said(|asked| asked.states = [TaskState::Failed].into()).await;
    assert_eq!(state, asked);
    let of_c = |asked: &mut ReplayRequest| {
        asked.states = [TaskState::Failed].into();
        asked.modules = ["C".parse().unwrap()].into();
    };
    assert_eq!(store.said(of_c).await, "0 stars, 0..0, 9 reused; ", "C did not fail");
}

#[tokio::test]
async fn another_definition_runs_again_where_it_ran_and_may_below() {
    let store = ReplayStore::new();
    store.run(1, PIPELINE, &["sss", "sss", "fus", "s-s"]);
    let changed = PIPELINE.replace("image = 'a:1'", "image = 'a:1'\nparameters = { steps = 2 }");
    let said = store.said(|asked| asked.definition = definition(&changed)).await;
    assert_eq!(said, "4 stars, 4..8, 4 reused; A 4+0, B 0+4");
    let plan = store.plan(|asked| asked.definition = definition(&changed)).await;
    assert_eq!((plan.seconds.at_least, plan.seconds.at_most), (8.0, 8.0), "one took two seconds");
    assert_eq!(plan.unmeasured, ["B".parse().unwrap()]);
    let reason = ReplayReason::Definition { module: "A".parse().unwrap() };
    assert_eq!(plan.work.reasons, [ReasonCount { reason, stars: 4 }]);

    let one = store.stars[0];
    let said = store.said(|asked| (asked.definition, asked.stars) = (definition(&changed), [one].into())).await;
    assert_eq!(said, "1 stars, 1..2, 1 reused; A 1+0, B 0+1");
    let of_c = |asked: &mut ReplayRequest| {
        asked.definition = definition(&changed);
        asked.modules = ["C".parse().unwrap()].into();
    };
    let plan = store.plan(of_c).await;
    assert_eq!((plan.work.stars(), plan.work.left_out), (0, 4), "C does not run");
    let below = |asked: &mut ReplayRequest| {
        asked.definition = definition(&changed);
        asked.modules = ["A".parse().unwrap()].into();
        asked.downstream = true;
    };
    assert_eq!(store.plan(below).await.work.stars(), 4);
}

#[tokio::test]
async fn another_tolerance_is_a_reason_of_its_own() {
    let store = ReplayStore::new();
    let tolerant = |rtol: &str| format!("{PIPELINE}[tolerances.X]\nrtol = {rtol}\n");
    store.run(1, &tolerant("1e-6"), &["sss", "sss", "sss", "sss"]);
    let reasons = async |text: &str| {
        let plan = store.plan(|asked| asked.definition = definition(text)).await;
        plan.work.reasons.iter().map(|one| one.reason.words()).collect::<Vec<_>>().join("; ")
    };
    let of_x = "X, which A makes, has another tolerance";
    assert_eq!(reasons(&tolerant("1e-6")).await, "");
    assert_eq!(reasons(&tolerant("1e-9")).await, of_x);
    assert_eq!(reasons(PIPELINE).await, of_x);
    let both = tolerant("1e-9").replace("image = 'a:1'", "image = 'a:1'\nparameters = { steps = 2 }");
    let of_a = "A has another command, environment, parameters or outputs";
    assert_eq!(reasons(&both).await, format!("{of_a}; {of_x}"));
}

#[tokio::test]
async fn another_image_is_another_identity_and_one_that_was_at_work_may_have_left_results() {
    let store = ReplayStore::new();
    let first = store.run(1, PIPELINE, &["sss", "sss", "sss", "sss"]);
    let program = |identity: &str| PlannedProgram { subject: "b".to_owned(), identity: identity.parse().unwrap() };
    let with = |identity: &str| {
        let program = program(identity);
        move |asked: &mut ReplayRequest| asked.programs = [("B".parse().unwrap(), program)].into()
    };
    assert_eq!(
        store.said(with("sha256:b:1")).await,
        "4 stars, 0..12, 0 reused; A 0+4, B 0+4, C 0+4",
        "nobody knows A and C"
    );
    let all = |b: &str| {
        let of = |name: &str| (name.to_uppercase().parse().unwrap(), program(&format!("sha256:{name}:1")));
        let mut programs: BTreeMap<ModuleName, PlannedProgram> = ["a", "b", "c"].into_iter().map(of).collect();
        programs.insert("B".parse().unwrap(), program(b));
        move |asked: &mut ReplayRequest| asked.programs = programs
    };
    assert_eq!(store.said(all("sha256:b:1")).await, "0 stars, 0..0, 12 reused; ");
    assert_eq!(store.said(all("sha256:b:2")).await, "4 stars, 4..4, 8 reused; B 4+0");
    // In a newer run another image made B: the first one's results may serve again.
    let changed = PIPELINE.replace("image = 'b:1'", "image = 'b:2'");
    let second = store.run(2, &changed, &["sss", "sss", "sss", "sss"]);
    store.context.store.fix_image_identity(second, "b:2", &"sha256:b:2".parse().unwrap()).unwrap();
    assert_eq!(store.said(all("sha256:b:1")).await, "4 stars, 0..4, 8 reused; B 0+4");
    assert_eq!(store.said(all("sha256:b:2")).await, "0 stars, 0..0, 12 reused; ");
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_star_that_a_newer_run_gave_up_is_as_the_run_before_left_it() {
    let store = ReplayStore::new();
    let first = store.run(1, PIPELINE, &["sss", "sss", "sss"]);
    store.run(2, PIPELINE, &["scc", "scc", "scc", "ccc"]);
    let plan = store.plan(|_| {}).await;
    assert_eq!((plan.work.considered, plan.work.unchanged, plan.work.unfinished), (3, 3, 1));
    assert_eq!(plan.basis.runs.iter().map(|run| (run.run, run.stars)).collect::<Vec<_>>(), [(first, 3)]);
}

#[tokio::test]
async fn an_image_that_nobody_can_tell_is_planned_as_one_that_may_differ() {
    let store = ReplayStore::new();
    store.run(1, PIPELINE, &["sss", "sss", "sss", "sss"]);
    let plan = store.plan(|asked| asked.images = [("B".parse().unwrap(), "b:2".parse().unwrap())].into()).await;
    assert_eq!(plan.work.tasks, PlanBounds { at_least: 0, at_most: 4 });
    assert!(plan.notes[0].contains("of B") && plan.notes[0].contains("nobody answers"), "{:?}", plan.notes);
    let images = [("D".parse().unwrap(), "d:2".parse().unwrap())].into();
    let refused = super::plan(&store.context, ReplayRequest { images, ..ReplayRequest::of("P".parse().unwrap()) });
    assert!(refused.await.unwrap_err().message.contains("no module D"));
    let resolve = ReplayRequest { resolve: true, ..ReplayRequest::of("P".parse().unwrap()) };
    assert_eq!(super::plan(&store.context, resolve).await.unwrap_err().kind, ErrorKind::OutOfReach);
}

#[tokio::test]
async fn a_plan_that_runs_nothing_or_is_of_another_world_is_not_applied() {
    let store = ReplayStore::new();
    store.run(1, PIPELINE, &["sss", "sss", "fus", "sss"]);
    let refused = async |plan: &ReplayPlan| {
        let asked = ApplyReplay { plan: plan.clone(), weight: None, take_over: false };
        apply(&store.context, asked).await.unwrap_err()
    };
    let nothing = store.plan(|_| {}).await;
    assert_eq!(refused(&nothing).await.kind, ErrorKind::AlreadySo);
    let failed = store.plan(|asked| asked.failed = true).await;
    assert_eq!(refused(&failed).await.kind, ErrorKind::OutOfReach, "only the broker is missing");
    let strange = ReplayPlan { format: 9, ..failed.clone() };
    assert_eq!(refused(&strange).await.kind, ErrorKind::Invalid);
    let run = store.run(2, PIPELINE, &["sss", "sss", "sss", "sss"]);
    let error = refused(&failed).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    for word in
        ["stars that run: 1, now 0", "at most: 2, now 0", &format!("run {run} ended 4 of the stars"), "plan again"]
    {
        assert!(error.message.contains(word), "{word}: {error}");
    }
}
