//! A random pipeline, and what becomes of every task of it: the same for every attempt, on any host, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use domain::id::{Key, ModuleIndex, StarId};
use domain::outcome::{Failure, FailureKind, Outcome, PlatformError, PlatformErrorKind, Skip, Success};
use domain::pipeline::{Pipeline, load};
use domain::run::{Cell, Decision, Graph, Row, Rule, TaskState, Tries, TriggerRule, decide};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use strum::VariantArray;

/// A pipeline and the fate of its tasks.
pub struct Script {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its graph.
    pub graph: Graph,
    seed: u64,
    /// How often its images were amended: results get other keys.
    amended: AtomicU64,
}

/// What a task must end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its state.
    pub state: TaskState,
    /// The key of its result.
    pub key: Option<Key>,
    /// Whether it is handed out at all.
    pub is_tried: bool,
}

/// What becomes of a task that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    /// After so many tries that the module lost.
    SucceedsAfter(u32),
    /// After so many tries that the platform lost.
    SucceedsAfterTrouble(u32),
    Fails,
    /// Until its tries are spent.
    AsksForEver,
    MissesExternal,
    HasNothingToDo,
}

impl Script {
    /// A pipeline of `modules` modules in two classes, drawn from `seed`.
    pub fn random(seed: u64, name: &str, modules: usize) -> Self {
        let (mut rng, mut rules) = (StdRng::seed_from_u64(seed), StdRng::seed_from_u64(!seed));
        let mut text = format!(
            "name = '{name}'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['LC']\n\
             [classes.default]\ncpus = 1\nmemory = '1GB'\n[classes.heavy]\ncpus = 1\nmemory = '1GB'\n"
        );
        for module in 0..modules {
            let class = if rng.random_bool(0.3) { "heavy" } else { "default" };
            let group = module / 3;
            let enabled = module == 0 || rng.random_bool(0.93);
            _ = write!(
                text,
                "[modules.M{module:02}]\nimage = 'i'\nclass = '{class}'\ntime_limit = '1m'\nenabled = {enabled}\n\
                 group = 'G{group}'\n\
                 retry = {{ max_attempts = 3, backoff = '2s' }}\noutputs.mandatory = ['P{module:02}']\n"
            );
            let mut pick = |chance: f64| -> Vec<usize> { (0..module).filter(|_| rng.random_bool(chance)).collect() };
            let list = |picked: &[usize], prefix: &str| {
                picked.iter().map(|other| format!("'{prefix}{other:02}'")).collect::<Vec<_>>().join(", ")
            };
            let (mandatory, optional, after) = (pick(0.25), pick(0.2), pick(0.1));
            _ = writeln!(
                text,
                "inputs.mandatory = ['LC'{}{}]",
                if mandatory.is_empty() { "" } else { ", " },
                list(&mandatory, "P")
            );
            let mut optional: Vec<usize> = optional.into_iter().filter(|other| !mandatory.contains(other)).collect();
            if let Some(rule) = rules.random_bool(0.4).then(|| draw_rule(&mut rules)) {
                _ = writeln!(text, "trigger_rule = '{rule}'");
                // What is optional would depend on timing.
                optional.retain(|_| !rule.is_early());
            }
            _ = writeln!(text, "inputs.optional = [{}]", list(&optional, "P"));
            _ = writeln!(text, "after = [{}]", list(&after, "M"));
            if let Some(other) = pick(0.15).first() {
                _ = writeln!(text, "run_if = 'made(\"P{other:02}\")'");
            }
        }
        let pipeline = load("simulated.toml", &text, None).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
        let graph = pipeline.graph();
        Self { pipeline, graph, seed, amended: AtomicU64::new(0) }
    }

    /// From now on everything that runs has another image.
    pub fn amend(&self) {
        self.amended.fetch_add(1, Ordering::Relaxed);
    }

    /// How an attempt ends, given what was spent on the task before, and the keys that it reads.
    pub fn outcome(
        &self,
        star: StarId,
        module: ModuleIndex,
        tries: Tries,
        keys: &BTreeMap<ModuleIndex, Key>,
    ) -> Outcome {
        let success = || {
            let key = self.key(star, module, keys);
            Outcome::Succeeded(Success { key, products: BTreeMap::new(), reused: false, nondeterministic: false })
        };
        let failed = |kind, exit_code| {
            Outcome::Failed(Failure { kind, message: "simulated".to_owned(), exit_code, log_tail: String::new() })
        };
        match self.fate(star, module) {
            Fate::Succeeds => success(),
            Fate::SucceedsAfter(lost) if tries.science >= lost => success(),
            Fate::SucceedsAfter(_) | Fate::AsksForEver => failed(FailureKind::TryAgain, Some(75)),
            Fate::SucceedsAfterTrouble(lost) if tries.platform >= lost => success(),
            Fate::SucceedsAfterTrouble(_) => {
                Outcome::Errored(PlatformError { kind: PlatformErrorKind::Engine, message: "simulated".to_owned() })
            }
            Fate::Fails => failed(FailureKind::Exit, Some(1)),
            Fate::MissesExternal => Outcome::Skipped(Skip::MissingExternal { product: "X".to_owned() }),
            Fate::HasNothingToDo => Outcome::Skipped(Skip::NotMade { product: "X".to_owned() }),
        }
    }

    /// The upstream modules whose results are in the key of this one's: with a rule that does not wait for the others, only
    /// those that it cannot do without.
    pub fn read_by(&self, module: ModuleIndex) -> &[ModuleIndex] {
        let node = &self.graph.nodes[module.at()];
        match &node.rule {
            Rule::Airflow(rule, needed) if rule.is_early() => needed,
            Rule::Airflow(..) | Rule::Contract(_) => &node.upstream,
        }
    }

    /// What the tasks of a star must end with.
    pub fn expected(&self, star: StarId) -> Vec<Expected> {
        let mut row = Row::fresh(self.graph.nodes.len());
        let (mut keys, mut tried) = (BTreeMap::new(), BTreeSet::new());
        for module in self.graph.modules() {
            let decision = decide(&self.graph.nodes[module.at()], &row);
            if decision == Decision::Run {
                tried.insert(module);
            }
            let state = match decision {
                Decision::Settle(cause) => cause.state(),
                Decision::Run | Decision::Undecided => match self.fate(star, module) {
                    Fate::Succeeds | Fate::SucceedsAfter(_) | Fate::SucceedsAfterTrouble(_) => TaskState::Succeeded,
                    Fate::Fails | Fate::AsksForEver => TaskState::Failed,
                    Fate::MissesExternal | Fate::HasNothingToDo => TaskState::Skipped,
                },
            };
            row.set(module, Cell { state, tag: 1 });
            if state == TaskState::Succeeded {
                let upstream: BTreeMap<ModuleIndex, Key> =
                    self.read_by(module).iter().filter_map(|up| Some((*up, *keys.get(up)?))).collect();
                keys.insert(module, self.key(star, module, &upstream));
            }
        }
        let expected = |module: ModuleIndex| Expected {
            state: row.cell(module).state,
            key: keys.get(&module).copied(),
            is_tried: tried.contains(&module),
        };
        self.graph.modules().map(expected).collect()
    }

    /// Tries that the platform loses of a task whatever else goes wrong.
    pub fn trouble(&self, star: StarId, module: ModuleIndex) -> u32 {
        match self.fate(star, module) {
            Fate::SucceedsAfterTrouble(lost) => lost,
            Fate::Succeeds
            | Fate::SucceedsAfter(_)
            | Fate::AsksForEver
            | Fate::Fails
            | Fate::MissesExternal
            | Fate::HasNothingToDo => 0,
        }
    }

    fn fate(&self, star: StarId, module: ModuleIndex) -> Fate {
        let draw = hash(&(self.seed, star, module)) % 100;
        match draw {
            0..74 => Fate::Succeeds,
            74..80 => Fate::SucceedsAfter(1),
            80..83 => Fate::SucceedsAfter(2),
            83..88 => Fate::SucceedsAfterTrouble(1),
            88..91 => Fate::Fails,
            91..93 => Fate::AsksForEver,
            93..97 => Fate::MissesExternal,
            _ => Fate::HasNothingToDo,
        }
    }

    fn key(&self, star: StarId, module: ModuleIndex, upstream: &BTreeMap<ModuleIndex, Key>) -> Key {
        let mut bytes = [0; 32];
        let amended = self.amended.load(Ordering::Relaxed);
        for (part, chunk) in bytes.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&hash(&(part, star, module, amended, upstream)).to_le_bytes());
        }
        Key::from_bytes(bytes)
    }
}

fn draw_rule(rng: &mut StdRng) -> TriggerRule {
    *TriggerRule::VARIANTS.choose(rng).expect("there are rules")
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
