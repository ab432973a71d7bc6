//! What runs again of one star, in a pipeline of five modules.

use super::*;
use crate::pipeline::load;

/// A → B → C, where C is only ordered after B and reads A; D reads an external under a condition; F stands alone.
const PIPELINE: &str = r#"
name = 'P'
version = '1'
trigger = 'l1/lc'
[externals]
star = ['LC', 'KIT', 'FLAG', 'EXTRA']
[classes.default]
cpus = 1
memory = '1GB'
[modules.A]
image = 'a'
class = 'default'
time_limit = '1m'
inputs.mandatory = ['LC']
outputs.mandatory = ['X']
[modules.B]
image = 'b'
class = 'default'
time_limit = '1m'
inputs.mandatory = ['X']
outputs.mandatory = ['Y']
[modules.C]
image = 'c'
class = 'default'
time_limit = '1m'
after = ['B']
inputs.mandatory = ['EXTRA']
outputs.mandatory = ['Z']
[modules.D]
image = 'd'
class = 'default'
time_limit = '1m'
inputs.mandatory = ['LC']
inputs.conditional = [{ product = 'KIT', when = 'P.FLAG.flag' }]
outputs.mandatory = ['W']
[modules.E]
image = 'e'
class = 'default'
time_limit = '1m'
inputs.mandatory = ['Y', 'W']
outputs.mandatory = ['V']
"#;

use TaskState::{Cancelled, Errored, Failed, Skipped, Succeeded, UpstreamFailed};

struct ReplayCase {
    pipeline: Pipeline,
    states: Vec<Option<TaskState>>,
    modules: Vec<ModuleChange>,
    externals: BTreeSet<ProductName>,
    asked: Vec<BTreeSet<TaskState>>,
}

impl ReplayCase {
    fn new(states: &str) -> Self {
        let text = PIPELINE.to_owned();
        // The data model names the flag's type.
        let model = "[products.FLAG.columns.flag]\ntype = 'bool'\nndim = 0\n";
        let pipeline = load("p.toml", &text.replace("trigger", "data_model = 'm.toml'\ntrigger"), Some(model)).unwrap();
        let state = |letter: char| match letter {
            '.' => None,
            'f' => Some(Failed),
            'e' => Some(Errored),
            'u' => Some(UpstreamFailed),
            'c' => Some(Cancelled),
            '-' => Some(Skipped),
            _ => Some(Succeeded),
        };
        let modules = pipeline.modules.len();
        Self {
            pipeline,
            states: states.chars().map(state).collect(),
            modules: vec![ModuleChange { failures_stand: true, ..ModuleChange::default() }; modules],
            externals: BTreeSet::new(),
            asked: vec![BTreeSet::new(); modules],
        }
    }

    fn at(&self, module: &str) -> usize {
        self.pipeline.index_of(&module.parse().unwrap()).unwrap().at()
    }

    fn image(mut self, module: &str) -> Self {
        let at = self.at(module);
        self.modules[at].image = ImageChange::Other;
        self
    }

    fn definition(mut self, module: &str, change: DefinitionChange) -> Self {
        let at = self.at(module);
        self.modules[at].definition = Some(change);
        self
    }

    fn data(mut self, product: &str) -> Self {
        self.externals.insert(product.parse().unwrap());
        self
    }

    fn ask(mut self, state: TaskState) -> Self {
        self.asked.iter_mut().for_each(|asked| _ = asked.insert(state));
        self
    }

    /// The modules that will run (`A!`) and that may (`B?`).
    fn again(&self) -> String {
        let changes = StarChanges {
            modules: &self.modules,
            externals: &self.externals,
            is_certain: true,
            previous: false,
            asked: &self.asked,
        };
        let marks = again(&self.pipeline, &self.states, changes);
        let of = self.pipeline.modules.iter().zip(marks).filter_map(|(module, mark)| Some((&module.name, mark?)));
        let words = of.map(|(name, mark)| format!("{name}{}", if mark == Again::Will { "!" } else { "?" }));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// The order of the modules is A, B, C, D, E.
#[test]
fn another_image_runs_again_for_certain_and_what_is_below_only_may() {
    assert_eq!(ReplayCase::new("sssss").again(), "");
    assert_eq!(ReplayCase::new("sssss").image("A").again(), "A! B? E?", "C is ordered after B and reads nothing of it");
    assert_eq!(ReplayCase::new("sssss").image("E").again(), "E!");
    assert_eq!(ReplayCase::new("s-sss").image("B").again(), "", "a module that does not run has no image");
    let mut both = ReplayCase::new("sssss").image("A").image("B");
    assert_eq!(both.again(), "A! B? E?", "B may be skipped now");
    both.modules[0].was_at_work = true;
    assert_eq!(both.again(), "A? B? E?", "its results may be in the store");
    let mut unknown = ReplayCase::new("sssss");
    unknown.modules[4].image = ImageChange::Unknown;
    assert_eq!(unknown.again(), "E?");
}

#[test]
fn what_makes_results_is_told_from_what_decides_about_them() {
    let of = |change| ReplayCase::new("sssss").definition("B", change).again();
    assert_eq!(of(DefinitionChange::Makes), "B! E?");
    assert_eq!(of(DefinitionChange::Decides), "B? E?");
    assert_eq!(of(DefinitionChange::Tolerates), "B? E?", "what E reads of B may be another value now");
    assert_eq!(ReplayCase::new("s.sss").definition("B", DefinitionChange::New).again(), "B! E?");
    assert_eq!(ReplayCase::new("f.sss").definition("B", DefinitionChange::New).again(), "B? E?");
    let mut off = ReplayCase::new("sssss").definition("A", DefinitionChange::Decides);
    off.pipeline.modules[0].enabled = false;
    assert_eq!(off.again(), "B? E?", "what A made is not made any more");
}

#[test]
fn new_data_run_again_what_is_given_them() {
    assert_eq!(ReplayCase::new("sssss").data("LC").again(), "A! B? D! E?");
    assert_eq!(ReplayCase::new("sssss").data("KIT").again(), "D? E?", "whether it is read a condition says");
    assert_eq!(ReplayCase::new("sssss").data("LC").data("FLAG").again(), "A! B? D? E?");
    assert_eq!(ReplayCase::new("ss-ss").data("EXTRA").again(), "C?", "it was missing");
}

#[test]
fn what_failed_runs_again_only_when_asked_or_with_the_star() {
    assert_eq!(ReplayCase::new("fusuu").again(), "");
    assert_eq!(ReplayCase::new("fusuu").ask(Failed).again(), "A! B? E?");
    assert_eq!(ReplayCase::new("ffsss").ask(Failed).again(), "A! B? E?");
    // Failures stand where the star runs for something else; what the platform or operators ended does not.
    assert_eq!(ReplayCase::new("fussu").image("D").again(), "D! E?");
    assert_eq!(ReplayCase::new("eucsu").image("D").again(), "A! B? C? D! E?");
    let mut limits = ReplayCase::new("fussu").image("D");
    limits.modules[0].failures_stand = false;
    assert_eq!(limits.again(), "A! B? D! E?");
}
