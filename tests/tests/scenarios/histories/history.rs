//! A history: what is delivered, corrected, updated, repeated and replayed, in an order drawn from a seed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many stars there are.
pub(super) const STARS: usize = 3;

/// The quarters of all data.
pub(super) const QUARTERS: [u16; 2] = [3, 4];

/// Switches of the definition; see [`definition`].
const SWITCHES: u8 = 6;

/// A dataset that the pipeline waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HistoryDataset {
    Curve,
    Flag,
    Kit,
}

/// One number for a star in a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HistoryDelivery {
    pub(super) dataset: HistoryDataset,
    pub(super) star: usize,
    pub(super) quarter: u16,
    pub(super) value: i32,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HistoryStep {
    /// Files come in together, and their events before anybody looks.
    Burst(Vec<HistoryDelivery>),
    /// An event comes once more: the same one, or another one that says the same.
    Repeat { event: usize, is_same: bool },
    /// The pipeline has another definition from now on: this switch of it is turned.
    Update(u8),
    /// One module fails for a star from now on, or does not any more.
    Fault { star: usize, is_there: bool },
    /// Whatever changed is planned and applied.
    Replay { failed: bool, take_over: bool },
    /// Somebody looks at an older generation of a star.
    Rollback { star: usize, quarter: u16 },
    /// The coordinator is killed, and another one starts.
    Crash,
    /// Everything that runs comes to its end.
    Rest,
}

/// What happens, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) seed: u64,
    /// Each with its place in the history as it was drawn.
    pub(super) steps: Vec<(usize, HistoryStep)>,
}

/// All that decides what stars must end with.
#[derive(Debug, Default)]
pub(super) struct FinalInputs {
    pub(super) delivered: BTreeMap<(HistoryDataset, usize, u16), i32>,
    /// Switches that are turned.
    pub(super) switches: BTreeSet<u8>,
}

impl HistoryDataset {
    /// Name of the dataset, product and column.
    pub(super) fn names(self) -> [&'static str; 3] {
        match self {
            Self::Curve => ["l1/curve", "CURVE", "value"],
            Self::Flag => ["exo/flag", "FLAG", "flag"],
            Self::Kit => ["exo/kit", "KIT", "value"],
        }
    }
}

impl History {
    /// Draws one.
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let length = rng.random_range(5..12);
        // Something must be there before anything can be other.
        let mut steps = vec![burst(&mut rng, STARS * QUARTERS.len() * 2)];
        steps.extend((1..length).map(|_| step(&mut rng)));
        Self { seed, steps: steps.into_iter().enumerate().collect() }
    }

    /// The same with these steps alone.
    pub(super) fn only(&self, kept: &BTreeSet<usize>) -> Self {
        let steps = self.steps.iter().filter(|(place, _)| kept.contains(place)).cloned().collect();
        Self { seed: self.seed, steps }
    }

    /// What it leaves behind.
    pub(super) fn final_inputs(&self) -> FinalInputs {
        let mut inputs = FinalInputs::default();
        for (_, step) in &self.steps {
            match step {
                HistoryStep::Burst(deliveries) => deliveries.iter().for_each(|one| inputs.deliver(*one)),
                HistoryStep::Update(switch) => inputs.turn(*switch),
                HistoryStep::Repeat { .. }
                | HistoryStep::Fault { .. }
                | HistoryStep::Replay { .. }
                | HistoryStep::Rollback { .. }
                | HistoryStep::Crash
                | HistoryStep::Rest => {}
            }
        }
        inputs
    }
}

impl FinalInputs {
    /// Turns a switch of the definition.
    pub(super) fn turn(&mut self, switch: u8) {
        if !self.switches.remove(&switch) {
            self.switches.insert(switch);
        }
    }

    /// What was delivered last.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = HistoryDelivery> {
        let one = |(&(dataset, star, quarter), &value): (&(HistoryDataset, usize, u16), &i32)| HistoryDelivery {
            dataset,
            star,
            quarter,
            value,
        };
        self.delivered.iter().map(one)
    }

    fn deliver(&mut self, HistoryDelivery { dataset, star, quarter, value }: HistoryDelivery) {
        self.delivered.insert((dataset, star, quarter), value);
    }

    /// Adds what every star still waits for; that.
    pub(super) fn complete(&mut self) -> Vec<HistoryDelivery> {
        let mut missing = Vec::new();
        for quarter in QUARTERS {
            for star in 0..STARS {
                let there = |dataset| self.delivered.contains_key(&(dataset, star, quarter));
                let mut lacks = |dataset, value| missing.push(HistoryDelivery { dataset, star, quarter, value });
                if !there(HistoryDataset::Curve) {
                    lacks(HistoryDataset::Curve, 45);
                }
                if !there(HistoryDataset::Flag) {
                    lacks(HistoryDataset::Flag, 0);
                }
                let is_flagged = self.delivered.get(&(HistoryDataset::Flag, star, quarter)) == Some(&1);
                if is_flagged && !there(HistoryDataset::Kit) {
                    lacks(HistoryDataset::Kit, 7);
                }
            }
        }
        missing.iter().for_each(|one| self.deliver(*one));
        missing
    }
}

fn step(rng: &mut StdRng) -> HistoryStep {
    let star = rng.random_range(0..STARS);
    match rng.random_range(0..100) {
        0..40 => {
            let most = rng.random_range(1..6);
            burst(rng, most)
        }
        40..50 => HistoryStep::Repeat { event: rng.random_range(0..100), is_same: rng.random_bool(0.5) },
        50..62 => HistoryStep::Update(rng.random_range(0..SWITCHES)),
        62..70 => HistoryStep::Fault { star, is_there: rng.random_bool(0.7) },
        70..82 => HistoryStep::Replay { failed: rng.random_bool(0.5), take_over: rng.random_bool(0.7) },
        82..86 => HistoryStep::Rollback { star, quarter: QUARTERS[rng.random_range(0..QUARTERS.len())] },
        86..90 => HistoryStep::Crash,
        _ => HistoryStep::Rest,
    }
}

fn burst(rng: &mut StdRng, many: usize) -> HistoryStep {
    let one = |rng: &mut StdRng| {
        let (star, quarter) = (rng.random_range(0..STARS), QUARTERS[rng.random_range(0..QUARTERS.len())]);
        let (dataset, value) = match rng.random_range(0..10) {
            0..5 => (HistoryDataset::Curve, if rng.random_bool(0.2) { -1 } else { rng.random_range(0..80) }),
            5..8 => (HistoryDataset::Flag, rng.random_range(0..2)),
            _ => (HistoryDataset::Kit, rng.random_range(0..5)),
        };
        HistoryDelivery { dataset, star, quarter, value }
    };
    HistoryStep::Burst((0..many).map(|_| one(rng)).collect())
}

/// The pipeline with these switches turned: other parameters, another program, another condition, other
/// inputs; quarters that are waited for, a tolerance that tolerates nothing that is drawn.
///
/// ```text
/// CURVE ─ NOISE ─ NU ┬─ CLEAN ─ PROT ┬─ BEST ─ AGE ◀─ NU@previous
///         KIT, FLAG ─┘  MODES ─ FREQ ┴────────┘
/// ```
pub(super) fn definition(program: &str, switches: &BTreeSet<u8>) -> String {
    let either =
        |switch: u8, turned: &str, plain: &str| (if switches.contains(&switch) { turned } else { plain }).to_owned();
    let bits: String = (0..SWITCHES).map(|switch| either(switch, "1", "0")).collect();
    let module = |name: &str, plays: &str, rest: &str| {
        format!(
            "[modules.{name}]\nimage = 'none'\ncommand = ['/usr/bin/python3', '{program}', '{plays}']\nmode = 'serve'\n\
             retry = {{ max_attempts = 1 }}\n{rest}\n"
        )
    };
    [
        format!(
            "name = 'HISTORY'\nversion = '{bits}'\n{}{}[trigger]\non = 'l1/curve & exo/flag & exo/kit'\n\
             only_if = {{ 'exo/kit' = 'P.FLAG.flag' }}\n[externals]\nstar = ['CURVE', 'FLAG', 'KIT']\n\
             [classes.default]\ncpus = 1\nmemory = '256MB'\n",
            either(4, "previous = 'wait'\n", ""),
            either(5, "tolerances.NU = { rtol = 1e-9 }\n", "")
        ),
        module(
            "NOISE",
            "NOISE",
            &format!(
                "inputs.mandatory = ['CURVE']\noutputs.mandatory = ['NU']\nparameters = {{ factor = {} }}",
                either(0, "2", "1")
            ),
        ),
        module(
            "CLEAN",
            "CLEAN",
            "inputs.mandatory = ['NU']\ninputs.conditional = [{ product = 'KIT', when = 'P.FLAG.flag' }]\n\
             outputs.mandatory = ['PROT']",
        ),
        module(
            "MODES",
            "MODES",
            &format!(
                "inputs.mandatory = ['NU']\nrun_if = 'P.NU.value > {}'\noutputs.mandatory = ['FREQ']\n\
                 outputs.nullable = ['WIDTH']",
                either(1, "1.0", "4.0")
            ),
        ),
        module(
            "BEST",
            &either(2, "BETTER", "BEST"),
            "inputs.one_of = [['FREQ', 'PROT']]\noutputs.mandatory = ['BEST']",
        ),
        module(
            "AGE",
            "AGE",
            &format!(
                "inputs.mandatory = ['BEST']\ninputs.optional = [{}]\noutputs.mandatory = ['AGE']\n\
                 outputs.optional = ['TREND']",
                either(3, "'NU@previous'", "'FREQ', 'NU@previous'")
            ),
        ),
    ]
    .concat()
}
