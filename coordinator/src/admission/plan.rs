//! Which runs let how many stars in. Pure.
//!
//! Only the classes of a pipeline's root modules ask for stars: a star that could help a starved later class only by going
//! through a saturated one first would just make that queue longer. Stars that wait for a saturated class, or for a module
//! that operators hold, are in nobody's way; a bound on each run's stars in flight keeps them few all the same.

use std::collections::BTreeMap;

use domain::id::{ClassName, RunId};
use services::state::RunView;

/// A run that could let a star in.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) run: RunId,
    /// Its share, 1 or more.
    pub(super) weight: u32,
    pub(super) in_flight: u32,
    /// Stars that did not enter yet.
    pub(super) to_come: u32,
    /// Tasks that a star has ready when it enters, by class.
    pub(super) asks: BTreeMap<ClassName, u64>,
}

/// What the workers could take.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    /// Ready tasks that each class with live workers should have.
    pub(super) wanted: BTreeMap<ClassName, u64>,
    /// Ready tasks that each class has.
    pub(super) ready: BTreeMap<ClassName, u64>,
    /// Stars that may enter now.
    pub(super) room: u32,
}

/// Tasks that end within so many seconds should be ready before anybody asks for them.
const AHEAD: f64 = 0.25;

/// Ready tasks that a class should have: as many as are wanted for its slots, and more where so many end in a second that its
/// workers would wait for more.
pub(super) fn wanted(for_slots: u64, ends_a_second: f64) -> u64 {
    for_slots.max((ends_a_second * AHEAD).ceil() as u64)
}

/// How many stars each run lets in: one after the other from the run with the fewest stars in flight per weight, the
/// oldest first among equals, as long as a class that its stars ask for is short of tasks.
pub(super) fn plan(candidates: &[Candidate], mut demand: Demand) -> BTreeMap<RunId, u32> {
    let mut candidates = candidates.to_vec();
    let mut chosen = BTreeMap::new();
    while demand.room > 0 {
        let open = candidates.iter_mut().filter(|candidate| candidate.to_come > 0 && demand.asks_for(candidate));
        let Some(next) = open.min_by(|a, b| share(a, b)) else { break };
        next.in_flight += 1;
        next.to_come -= 1;
        for (class, count) in &next.asks {
            *demand.ready.entry(class.clone()).or_default() += count;
        }
        demand.room -= 1;
        *chosen.entry(next.run).or_default() += 1;
    }
    chosen
}

/// Stars in flight that keep others from entering: all but those that wait for a module that operators hold, or for a
/// class with more ready tasks than its workers should have (`wanted`).
pub(super) fn in_the_way(view: &RunView, wanted: &BTreeMap<ClassName, u64>) -> u32 {
    // A star has at most one task of each module.
    let held = view.on_hold.div_ceil(view.info.held.len().max(1) as u64);
    let modules = |class: &ClassName| view.info.modules.iter().filter(|(_, of)| of == class).count().max(1) as u64;
    let saturated = view
        .ready
        .iter()
        .map(|(class, ready)| ready.saturating_sub(wanted.get(class).copied().unwrap_or(0)).div_ceil(modules(class)));
    let waiting = held + saturated.max().unwrap_or(0);
    view.in_flight.saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX))
}

impl Demand {
    /// Whether a star of this run would find a free slot soon. Stars that ask for nothing settle as they enter.
    fn asks_for(&self, candidate: &Candidate) -> bool {
        candidate.asks.is_empty()
            || candidate
                .asks
                .keys()
                .any(|class| self.ready.get(class).copied().unwrap_or(0) < self.wanted.get(class).copied().unwrap_or(0))
    }
}

/// Compares stars in flight per weight.
fn share(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let cross = |this: &Candidate, other: &Candidate| u64::from(this.in_flight) * u64::from(other.weight.max(1));
    cross(a, b).cmp(&cross(b, a))
}

#[cfg(test)]
mod tests {
    use domain::id::{EventId, ModuleIndex, Sequence};
    use services::state::{Counts, Phase, RunInfo};

    use super::*;

    fn class(name: &str) -> ClassName {
        name.parse().unwrap()
    }

    fn run(number: u32) -> RunId {
        RunId::of(EventId::of("test", &number.to_string()), "P", "1")
    }

    fn candidate(number: u32, weight: u32, in_flight: u32, asks: &[(&str, u64)]) -> Candidate {
        let asks = asks.iter().map(|(name, count)| (class(name), *count)).collect();
        Candidate { run: run(number), weight, in_flight, to_come: 1000, asks }
    }

    fn demand(wanted: &[(&str, u64)], ready: &[(&str, u64)], room: u32) -> Demand {
        let by_class = |list: &[(&str, u64)]| list.iter().map(|(name, count)| (class(name), *count)).collect();
        Demand { wanted: by_class(wanted), ready: by_class(ready), room }
    }

    #[test]
    fn stars_enter_until_the_root_class_has_twice_its_slots() {
        let one = [candidate(1, 1, 0, &[("default", 2)])];
        assert_eq!(plan(&one, demand(&[("default", 8)], &[], 100))[&run(1)], 4);
        assert_eq!(plan(&one, demand(&[("default", 8)], &[("default", 7)], 100))[&run(1)], 1);
        assert!(plan(&one, demand(&[("default", 8)], &[("default", 8)], 100)).is_empty());
    }

    #[test]
    fn classes_whose_tasks_end_fast_have_more_of_them_ready() {
        assert_eq!((wanted(8, 0.0), wanted(8, 32.0), wanted(8, 5_000.0)), (8, 8, 1_250));
        assert_eq!(wanted(8, 33.0), 9);
    }

    #[test]
    fn nothing_enters_without_workers_or_room() {
        let one = [candidate(1, 1, 0, &[("default", 1)])];
        assert!(plan(&one, demand(&[], &[], 100)).is_empty());
        assert!(plan(&one, demand(&[("heavy", 8)], &[], 100)).is_empty(), "only a later class is free");
        assert!(plan(&one, demand(&[("default", 8)], &[], 0)).is_empty());
    }

    #[test]
    fn runs_share_by_weight_and_a_later_one_does_not_starve() {
        let two = [candidate(1, 1, 90, &[("default", 1)]), candidate(2, 3, 0, &[("default", 1)])];
        let chosen = plan(&two, demand(&[("default", 120)], &[], 120));
        assert_eq!(chosen.get(&run(1)), None, "the run that is ahead waits");
        assert_eq!(chosen[&run(2)], 120);
        let equal = [candidate(1, 1, 0, &[("default", 1)]), candidate(2, 3, 0, &[("default", 1)])];
        let chosen = plan(&equal, demand(&[("default", 40)], &[], 40));
        assert_eq!((chosen[&run(1)], chosen[&run(2)]), (10, 30));
    }

    #[test]
    fn stars_that_wait_for_a_held_module_are_in_nobodys_way() {
        let info = RunInfo {
            run: run(1),
            pipeline: "P".parse().unwrap(),
            version: "1".to_owned(),
            quarter: domain::id::Quarter::FIRST,
            stars: 100,
            modules: Vec::new(),
            horizon: Sequence(1),
            accepted: jiff::Timestamp::UNIX_EPOCH,
            phase: Phase::Active,
            weight: 1,
            cursor: 100,
            held: vec![ModuleIndex(1), ModuleIndex(2)],
            amended: 0,
        };
        let view = RunView {
            moved: None,
            info,
            counts: Counts::new(),
            in_flight: 30,
            running: 0,
            ready: BTreeMap::new(),
            on_hold: 21,
            is_moving: false,
            spent: BTreeMap::new(),
        };
        let wanted = BTreeMap::from([(class("default"), 8), (class("heavy"), 2)]);
        assert_eq!(in_the_way(&view, &wanted), 30 - 11, "a star may wait for both");
        let free = RunView { info: RunInfo { held: Vec::new(), ..view.info.clone() }, on_hold: 0, ..view };
        assert_eq!(in_the_way(&free, &wanted), 30);
        let module = |name: &str, of: &str| (name.parse().unwrap(), class(of));
        let modules = vec![module("A", "default"), module("B", "heavy"), module("C", "heavy")];
        let ready = BTreeMap::from([(class("default"), 8), (class("heavy"), 22)]);
        let saturated = RunView { info: RunInfo { modules, ..free.info.clone() }, ready, ..free };
        assert_eq!(in_the_way(&saturated, &wanted), 30 - 10, "20 more than heavy needs, of 10 stars at least");
    }

    #[test]
    fn stars_that_ask_for_nothing_enter_freely() {
        let one = [candidate(1, 1, 0, &[])];
        assert_eq!(plan(&one, demand(&[], &[], 7))[&run(1)], 7);
    }
}
