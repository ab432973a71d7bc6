//! A random pipeline, and what becomes of every task of it: the same for every attempt, on any host, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use domain::contract::{self, Judgement, Presence, View};
use domain::expression::Scalar;
use domain::id::{Digest, ImageIdentity, ImageName, Key, ModuleIndex, ProductName, StarId};
use domain::pipeline::{Pipeline, load};
use domain::product::{Origin, Source};
use domain::run::{Cell, Graph, Row, Rule, Ruling, TaskState, Tries, TriggerRule, decide};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use store::runs::{Amendment, Decided};
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
pub struct ExpectedEnd {
    /// Its state.
    pub state: TaskState,
    /// The key of its result.
    pub key: Option<Key>,
    /// Whether it is handed out at all.
    pub is_tried: bool,
}

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptedEnd {
    /// With a good output.
    Well,
    /// With this exit code.
    Code(i64),
    /// It cannot be run.
    Trouble,
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
        let mut conditions = StdRng::seed_from_u64(seed.rotate_left(32));
        let mut externals = vec!["'LC'".to_owned()];
        for module in 0..modules {
            externals.extend([format!("'{name}_X{module:02}'"), format!("'{name}_C{module:02}'")]);
        }
        let mut text = format!(
            "name = '{name}'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = [{}]\n\
             [classes.default]\ncpus = 1\nmemory = '1GB'\n[classes.heavy]\ncpus = 1\nmemory = '1GB'\n",
            externals.join(", ")
        );
        for module in 0..modules {
            let class = if rng.random_bool(0.3) { "heavy" } else { "default" };
            let group = module / 3;
            let enabled = module == 0 || rng.random_bool(0.93);
            _ = write!(
                text,
                "[modules.M{module:02}]\nimage = 'i'\ncommand = ['{name}']\nclass = '{class}'\ntime_limit = '1m'\nenabled = {enabled}\n\
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
                "inputs.mandatory = ['LC', '{name}_X{module:02}'{}{}]",
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
            let mut clauses: Vec<String> =
                pick(0.15).first().map(|other| format!("made(\"P{other:02}\")")).into_iter().collect();
            if conditions.random_bool(0.3) {
                clauses.push(format!("P.{name}_C{module:02}.work"));
            }
            if !clauses.is_empty() {
                _ = writeln!(text, "run_if = '{}'", clauses.join(" && "));
            }
        }
        let pipeline = load("simulated.toml", &text, None).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
        let graph = pipeline.graph();
        Self { pipeline, graph, seed, amended: AtomicU64::new(0) }
    }

    /// What an operator decides so that everything that runs from then on has another image.
    pub fn amend(&self) -> Decided {
        let before = self.amended.fetch_add(1, Ordering::Relaxed);
        let (was, image) = (self.image(before), self.image(before + 1));
        let amendment = Amendment { identity: identity(&image), image, was_identity: Some(identity(&was)), was };
        let names = self.pipeline.modules.iter().map(|module| module.name.clone());
        Decided::Amend { images: names.map(|name| (name, amendment.clone())).collect() }
    }

    /// How a program of this task ends, given what was spent on the task before.
    pub(super) fn end(&self, star: StarId, module: ModuleIndex, tries: Tries) -> ScriptedEnd {
        match self.fate(star, module) {
            Fate::SucceedsAfter(lost) if tries.science < lost => ScriptedEnd::Code(75),
            Fate::AsksForEver => ScriptedEnd::Code(75),
            Fate::SucceedsAfterTrouble(lost) if tries.platform < lost => ScriptedEnd::Trouble,
            Fate::Fails => ScriptedEnd::Code(1),
            Fate::Succeeds | Fate::SucceedsAfter(_) | Fate::SucceedsAfterTrouble(_) => ScriptedEnd::Well,
            // Its contract says so; whether the worker asked it, the results tell.
            Fate::MissesExternal | Fate::HasNothingToDo => ScriptedEnd::Code(1),
        }
    }

    /// The externals that are delivered for a star, each with its scalar columns: the light curve, and for each module one
    /// that it needs, and one that says whether there is anything to do.
    pub(super) fn externals(&self, star: StarId) -> BTreeMap<ProductName, BTreeMap<String, Scalar>> {
        let mut externals = BTreeMap::from([(name("LC"), BTreeMap::new())]);
        for module in self.graph.modules() {
            let fate = self.fate(star, module);
            if fate != Fate::MissesExternal {
                externals.insert(self.needed(module), BTreeMap::new());
            }
            let has_work = Scalar::Bool(fate != Fate::HasNothingToDo);
            externals.insert(self.asked(module), BTreeMap::from([("work".to_owned(), has_work)]));
        }
        externals
    }

    /// The external that a module cannot do without.
    fn needed(&self, module: ModuleIndex) -> ProductName {
        name(&format!("{}_X{}", self.pipeline.name, self.number(module)))
    }

    /// The external that a module's condition reads, if it has one.
    fn asked(&self, module: ModuleIndex) -> ProductName {
        name(&format!("{}_C{}", self.pipeline.name, self.number(module)))
    }

    /// The digits in a module's name.
    fn number(&self, module: ModuleIndex) -> &str {
        self.pipeline.module(module).name.as_str().trim_start_matches('M')
    }

    /// Whether a module's condition reads an external, so that the worker finds out whether there is anything to do.
    fn asks(&self, module: ModuleIndex) -> bool {
        let (asked, condition) = (self.asked(module), self.pipeline.module(module).run_if.as_ref());
        condition.is_some_and(|condition| condition.reads().iter().any(|read| read.source.product == asked))
    }

    /// The upstream modules whose results a module must find, for it reads them: with a rule that does not wait for the others,
    /// only those that it cannot do without.
    pub fn read_by(&self, module: ModuleIndex) -> Vec<ModuleIndex> {
        let node = &self.graph.nodes[module.at()];
        let settled = match &node.rule {
            Rule::Airflow(rule, needed) if rule.is_early() => needed,
            Rule::Airflow(..) | Rule::Contract(_) => &node.upstream,
        };
        let named = contract::needs(self.pipeline.module(module)).sources;
        let producers: BTreeSet<ModuleIndex> = named.iter().filter_map(Source::producer).collect();
        settled.iter().copied().filter(|up| producers.contains(up)).collect()
    }

    /// Whether nobody reads or waits for what a module makes.
    pub(super) fn is_leaf(&self, module: ModuleIndex) -> bool {
        !self.graph.nodes.iter().any(|node| node.upstream.contains(&module))
    }

    /// What the tasks of a star must end with.
    pub fn expected(&self, star: StarId) -> Vec<ExpectedEnd> {
        let mut row = Row::fresh(self.graph.nodes.len());
        let mut made = BTreeMap::new();
        let mut all = Vec::new();
        for module in self.graph.modules() {
            let decision = decide(&self.graph.nodes[module.at()], &row);
            let (state, key) = match decision {
                Ruling::Settle(cause) => (cause.state(), None),
                Ruling::Run | Ruling::Undecided => self.attempted(star, module, &row, &made),
            };
            row.set(module, Cell { state, tag: 1 });
            made.extend(key.map(|key| (module, key)));
            all.push(ExpectedEnd { state, key, is_tried: decision == Ruling::Run });
        }
        all
    }

    /// What a task ends with that is handed out, by its contract and its fate.
    fn attempted(
        &self,
        star: StarId,
        module: ModuleIndex,
        row: &Row,
        made: &BTreeMap<ModuleIndex, Key>,
    ) -> (TaskState, Option<Key>) {
        let definition = self.pipeline.module(module);
        let (externals, mut view) = (self.externals(star), View::default());
        for source in contract::needs(definition).sources {
            let presence = match source.origin {
                Origin::Module(up) => match made.get(&up) {
                    Some(key) => Presence::Made(value_of(star, &source.product, &contract::seed(key).to_string())),
                    None if row.cell(up).state.is_lost() => Presence::Lost,
                    None => Presence::NotMade,
                },
                Origin::StarExternal | Origin::SharedExternal | Origin::Previous => {
                    match externals.get(&source.product) {
                        Some(columns) => {
                            view.columns.insert(source.clone(), columns.clone());
                            Presence::Made(value_of(star, &source.product, "delivered"))
                        }
                        None => Presence::NotDelivered,
                    }
                }
            };
            view.presence.insert(source, presence);
        }
        let staging = match contract::decide(definition, &view) {
            Judgement::Run(staging) => staging,
            Judgement::Skip(_) => return (TaskState::Skipped, None),
            Judgement::UpstreamFailed { .. } => return (TaskState::UpstreamFailed, None),
            Judgement::Failed(_) => return (TaskState::Failed, None),
        };
        match self.fate(star, module) {
            Fate::Succeeds | Fate::SucceedsAfter(_) | Fate::SucceedsAfterTrouble(_) => {
                let image = self.image(self.amended.load(Ordering::Relaxed));
                (TaskState::Succeeded, Some(contract::key(definition, &identity(&image), &staging)))
            }
            Fate::Fails | Fate::AsksForEver => (TaskState::Failed, None),
            Fate::MissesExternal | Fate::HasNothingToDo => unreachable!("its contract says so"),
        }
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
            97.. if self.asks(module) => Fate::HasNothingToDo,
            _ => Fate::MissesExternal,
        }
    }

    /// The image of all modules after so many amendments.
    fn image(&self, amended: u64) -> ImageName {
        let name = if amended == 0 { "i".to_owned() } else { format!("i-{amended}") };
        name.parse().expect("it is printable")
    }
}

/// What an image is.
pub(super) fn identity(image: &ImageName) -> ImageIdentity {
    format!("simulated:{image}").parse().expect("it is printable")
}

/// The digest of a product's value.
pub(super) fn value_of(star: StarId, product: &ProductName, seed: &str) -> Digest {
    let mut bytes = [0; 32];
    for (part, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&hash(&(part, star, product, seed)).to_le_bytes());
    }
    Digest::from_bytes(bytes)
}

fn name(text: &str) -> ProductName {
    text.parse().expect("a product name")
}

fn draw_rule(rng: &mut StdRng) -> TriggerRule {
    *TriggerRule::VARIANTS.choose(rng).expect("there are rules")
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
