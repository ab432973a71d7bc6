//! What holds for every graph and every order of events: random DAGs under a shell that loses, repeats, reorders and lies
//! about time. Names in comments are the design's invariants.

use crate::id::Attempt;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use strum::VariantArray;

use super::*;

/// Losses of one task that a campaign may cause: fewer than the platform's budget, so that they must not show in the end.
const MOST_LOSSES: u32 = PLATFORM_BUDGET - 1;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_or_repeated_the_end_is_that_of_a_calm_run(
        (graph, verdicts) in graphs(),
        moves in proptest::collection::vec((0_u8..12, any::<Index>()), 0..120),
    ) {
        let calm = Shell::calm(&graph, &verdicts, &[]);
        let mut shell = Shell::new(&graph, &verdicts);
        for (kind, which) in moves {
            shell.disturb(kind, which);
        }
        shell.finish();
        prop_assert_eq!(states(&shell.star), states(&calm.star));
    }

    #[test]
    fn completions_in_any_order_end_in_the_same_row(
        (graph, verdicts) in graphs(),
        order in proptest::collection::vec(any::<Index>(), 0..40),
    ) {
        let first = Shell::calm(&graph, &verdicts, &[]);
        let other = Shell::calm(&graph, &verdicts, &order);
        prop_assert_eq!(&first.star, &other.star);
    }

    #[test]
    fn an_operator_may_stop_or_reopen_at_any_time(
        (graph, verdicts) in graphs(),
        moves in proptest::collection::vec((0_u8..17, any::<Index>()), 0..120),
    ) {
        let mut shell = Shell::new(&graph, &verdicts);
        for (kind, which) in moves {
            shell.disturb(kind, which);
        }
        shell.finish();
        prop_assert!(shell.star.is_settled());
    }

    #[test]
    fn events_at_once_come_to_what_they_come_to_one_by_one(
        (graph, verdicts) in graphs(),
        moves in proptest::collection::vec((0_u8..17, any::<Index>()), 0..60),
        cut in any::<Index>(),
    ) {
        let mut shell = Shell::new(&graph, &verdicts);
        for (kind, which) in moves {
            shell.disturb(kind, which);
        }
        let (first, rest) = shell.taken.split_at(cut.index(shell.taken.len()));
        let before = advance(&graph, &Star::fresh(&graph), first).star;
        let advanced = advance(&graph, &before, rest);
        prop_assert_eq!(&advanced.star, &shell.star);
        prop_assert!(advanced.ignored.is_empty());
        for module in graph.modules() {
            // What is queued or waits stands exactly where the star came to be so.
            let (state, attempt) = (advanced.star.row.cell(module).state, advanced.star.attempt(module));
            let is_new = attempt != before.attempt(module) || state != before.row.cell(module).state;
            let queued = (state == TaskState::Queued && is_new).then_some(attempt);
            prop_assert_eq!(advanced.queued.get(&module).copied(), queued);
            prop_assert_eq!(advanced.waits.contains_key(&module), state == TaskState::Waiting && is_new);
            if let Some(cause) = advanced.decided.get(&module) {
                prop_assert_eq!(cause.state(), state);
            }
        }
        prop_assert_eq!(advanced.closes, advanced.star.is_settled());
    }

    #[test]
    fn rows_survive_their_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(row) = Row::from_bytes(bytes.clone()) {
            prop_assert_eq!(row.as_bytes(), &bytes[..]);
            let mut copy = Row::fresh(bytes.len());
            for (at, cell) in (0_u8..).zip(row.cells()) {
                copy.set(ModuleIndex(at), cell);
            }
            prop_assert_eq!(copy, row);
        }
    }
}

/// The rest of the system in one value: messages on their way, attempts that run, timers.
struct Shell<'a> {
    graph: &'a Graph,
    verdicts: &'a [Verdict],
    star: Star,
    queued: Vec<(ModuleIndex, Attempt)>,
    running: Vec<(ModuleIndex, Attempt)>,
    reports: Vec<Event>,
    delivered: Vec<Event>,
    /// Everything that changed the star.
    taken: Vec<Event>,
    timers: Vec<ModuleIndex>,
    losses: Vec<u32>,
    /// Attempts that ended: none does twice (R2).
    ended: BTreeSet<(ModuleIndex, Attempt)>,
}

impl<'a> Shell<'a> {
    fn new(graph: &'a Graph, verdicts: &'a [Verdict]) -> Self {
        let mut shell = Self {
            graph,
            verdicts,
            star: Star::fresh(graph),
            queued: Vec::new(),
            running: Vec::new(),
            reports: Vec::new(),
            delivered: Vec::new(),
            taken: Vec::new(),
            timers: Vec::new(),
            losses: vec![0; graph.nodes.len()],
            ended: BTreeSet::new(),
        };
        shell.happen(Event::Admit);
        shell
    }

    /// A run in which nothing goes wrong; `order` says which of the queued tasks is next.
    fn calm(graph: &'a Graph, verdicts: &'a [Verdict], order: &[Index]) -> Self {
        let mut shell = Self::new(graph, verdicts);
        let mut order = order.iter();
        while !shell.queued.is_empty() || !shell.timers.is_empty() {
            let all = shell.queued.len() + shell.timers.len();
            let next = order.next().map_or(0, |index| index.index(all));
            if next < shell.queued.len() {
                let (module, attempt) = shell.queued.remove(next);
                shell.happen(Event::Ended { module, attempt, verdict: verdicts[module.at()] });
            } else {
                let module = shell.timers.remove(next - shell.queued.len());
                shell.happen(Event::Due { module });
            }
        }
        assert!(shell.star.is_settled(), "R3");
        shell
    }

    /// One move against the rules of a quiet life.
    fn disturb(&mut self, kind: u8, which: Index) {
        match kind {
            // A message arrives; a worker claims what the row says is queued.
            0 | 1 => {
                if let Some((module, attempt)) = take(&mut self.queued, which)
                    && self.is_current(module, attempt)
                {
                    self.running.push((module, attempt));
                }
            }
            // A message is lost; the sweep publishes it again, sometimes twice.
            2 => {
                if let Some(message) = take(&mut self.queued, which) {
                    self.queued.extend([message, message]);
                }
            }
            3 | 4 => {
                if let Some((module, attempt)) = take(&mut self.running, which) {
                    self.reports.push(Event::Ended { module, attempt, verdict: self.verdicts[module.at()] });
                }
            }
            5 | 6 => {
                if let Some(report) = take(&mut self.reports, which) {
                    self.happen(report);
                }
            }
            // An old report comes again.
            7 if !self.delivered.is_empty() => {
                let report = self.delivered[which.index(self.delivered.len())];
                self.happen(report);
            }
            // A lease runs out; its worker may go on and report all the same.
            8 if !self.running.is_empty() => {
                let (module, attempt) = self.running[which.index(self.running.len())];
                if self.losses[module.at()] < MOST_LOSSES {
                    self.losses[module.at()] += u32::from(self.is_current(module, attempt));
                    self.happen(Event::LeaseLost { module, attempt });
                }
            }
            9 => {
                if let Some((module, attempt)) = take(&mut self.running, which) {
                    self.happen(Event::GivenBack { module, attempt });
                }
            }
            10 => {
                if let Some(module) = take(&mut self.timers, which) {
                    self.happen(Event::Due { module });
                }
            }
            // The platform fails an attempt.
            11 => {
                if let Some((module, attempt)) = take(&mut self.running, which)
                    && self.losses[module.at()] < MOST_LOSSES
                {
                    self.losses[module.at()] += u32::from(self.is_current(module, attempt));
                    self.reports.push(Event::Ended { module, attempt, verdict: Verdict::Errored });
                }
            }
            12 if self.star.is_settled() => {
                self.happen(Event::Withdraw);
                self.happen(Event::Admit);
            }
            12 | 13 => {
                let module = ModuleIndex(u8::try_from(which.index(self.graph.nodes.len())).unwrap());
                self.happen(Event::Reopen { module });
            }
            14 if which.index(4) == 0 => self.happen(Event::Cancel),
            16 => {
                let module = ModuleIndex(u8::try_from(which.index(self.graph.nodes.len())).unwrap());
                self.happen(Event::CancelTask { module });
            }
            15 if which.index(4) == 0 => self.happen(Event::Supersede),
            _ => {}
        }
    }

    /// Everything that is on its way arrives, and sweeps bring back what was lost.
    fn finish(&mut self) {
        for step in 0.. {
            assert!(step < 10_000, "the star never settles: {:?}", states(&self.star));
            if let Some(report) = self.reports.pop() {
                self.happen(report);
            } else if let Some((module, attempt)) = self.running.pop() {
                self.reports.push(Event::Ended { module, attempt, verdict: self.verdicts[module.at()] });
            } else if let Some(module) = self.timers.pop() {
                self.happen(Event::Due { module });
            } else if let Some(module) = self.graph.modules().find(|m| self.state(*m) == TaskState::Queued) {
                self.running.push((module, self.star.attempt(module)));
            } else {
                break;
            }
        }
        assert!(self.star.is_settled(), "R3: nothing is queued or waiting, and {:?}", states(&self.star));
    }

    fn state(&self, module: ModuleIndex) -> TaskState {
        self.star.row.cell(module).state
    }

    fn is_current(&self, module: ModuleIndex, attempt: Attempt) -> bool {
        self.state(module) == TaskState::Queued && self.star.attempt(module) == attempt
    }

    fn happen(&mut self, event: Event) {
        if matches!(event, Event::Ended { .. } | Event::LeaseLost { .. } | Event::GivenBack { .. }) {
            self.delivered.push(event);
        }
        let advanced = advance(self.graph, &self.star, &[event]);
        if !advanced.ignored.is_empty() {
            return;
        }
        check_step(self.graph, &self.star, &advanced);
        check_repeat(self.graph, &advanced.star, event);
        self.taken.push(event);
        if let Event::Ended { module, attempt, verdict } = event {
            let is_first = self.ended.insert((module, attempt));
            let after_failure = self.state(module).is_lost() && verdict == Verdict::Succeeded;
            assert!(is_first || after_failure, "R2: {event:?} was taken twice");
        }
        self.queued.extend(advanced.queued.iter().map(|(module, attempt)| (*module, *attempt)));
        self.timers.extend(advanced.waits.keys());
        self.star = advanced.star;
        let waiting = self.graph.modules().filter(|module| self.state(*module) == TaskState::Waiting);
        assert!(waiting.into_iter().all(|module| self.timers.contains(&module)), "a state without a timer");
    }
}

/// What every step keeps.
pub(super) fn check_step(graph: &Graph, before: &Star, advanced: &Advanced) {
    let after = &advanced.star;
    for (module, node) in graph.modules().zip(&graph.nodes) {
        let cell = after.row.cell(module);
        let settled = |up: &ModuleIndex| after.row.cell(*up).state.is_settled();
        // What an operator cancels waits for nothing.
        let decided = !matches!(cell.state, TaskState::Blocked | TaskState::Cancelled) && node.enabled;
        match &node.rule {
            Rule::Contract(_) => {
                assert!(!decided || node.upstream.iter().all(settled), "R1: {module:?} in {:?}", states(after));
            }
            Rule::Airflow(rule, needed) if !rule.is_early() || cell.state == TaskState::Skipped => {
                let skipped_by_worker = rule.is_early() && needed.iter().all(settled);
                let all = node.upstream.iter().all(settled);
                assert!(!decided || all || skipped_by_worker, "R1: {module:?} in {:?}", states(after));
            }
            Rule::Airflow(_, needed) => assert!(!decided || needed.iter().all(settled), "R1: {module:?}"),
        }
        assert!(after.attempt(module) >= before.attempt(module), "attempts only grow");
        assert_eq!(cell.tag, Cell::tag_of(after.attempt(module)), "the tag is the attempt's");
        if let Some(&queued) = advanced.queued.get(&module) {
            assert_eq!(queued, before.attempt(module).next(), "every message is of a new attempt");
            assert_eq!((cell.state, after.attempt(module)), (TaskState::Queued, queued));
        }
    }
    let is_active = |cell: Cell| matches!(cell.state, TaskState::Queued | TaskState::Waiting);
    let active = after.row.cells().any(is_active);
    assert_eq!(!active, after.is_settled() || after.row.is_fresh(), "R3: {:?}", states(after));
    assert_eq!(advanced.closes, after.is_settled(), "the star file is built when all is settled");
}

/// R2: an event that comes again changes nothing.
fn check_repeat(graph: &Graph, after: &Star, event: Event) {
    if !matches!(event, Event::Reopen { .. }) {
        let again = advance(graph, after, &[event]);
        assert!(!again.changed && again.ignored.len() == 1, "R2: {event:?} came again and gave {again:?}");
    }
}

fn states(star: &Star) -> Vec<TaskState> {
    star.row.cells().map(|cell| cell.state).collect()
}

fn take<T>(list: &mut Vec<T>, which: Index) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(which.index(list.len())))
}

/// A graph of one to eight modules, and how each of them ends whenever it runs.
fn graphs() -> impl Strategy<Value = (Graph, Vec<Verdict>)> {
    let rules = TriggerRule::VARIANTS;
    let spec = (
        any::<[bool; 8]>(),
        proptest::option::of(formulas()),
        proptest::option::weighted(0.4, proptest::sample::select(rules)),
        proptest::bool::weighted(0.9),
        verdicts(),
    );
    proptest::collection::vec(spec, 1..=8).prop_map(|specs| {
        let enabled: Vec<bool> = specs.iter().map(|spec| spec.3).collect();
        let mut nodes = Vec::new();
        let mut ends = Vec::new();
        for (at, (edges, formula, airflow, enabled_here, verdict)) in specs.into_iter().enumerate() {
            let chosen: Vec<ModuleIndex> = (0..8).filter(|up| edges[usize::from(*up)]).map(ModuleIndex).collect();
            // As `Pipeline::graph` makes them: what is switched off may be needed, wherever it stands, and is never waited for.
            let upstream: Vec<ModuleIndex> =
                chosen.iter().copied().filter(|up| up.at() < at && enabled[up.at()]).collect();
            let off = (0_u8..).zip(&enabled).filter(|(_, on)| !**on).map(|(up, _)| ModuleIndex(up));
            let named: Vec<ModuleIndex> = upstream.iter().copied().chain(off).collect();
            let mandatory = named.iter().copied().filter(|up| up.0 % 2 == 0).collect();
            let rule = match airflow {
                Some(rule) => Rule::Airflow(rule, upstream.iter().copied().filter(|up| up.0 % 3 == 0).collect()),
                None => Rule::Contract(StateNeeds { run_if: formula.map(|formula| over(formula, &named)), mandatory }),
            };
            let retry = Retry { max_attempts: 3, backoff: Duration::from_secs(1) };
            nodes.push(Node { upstream, rule, enabled: enabled_here, retry });
            ends.push(verdict);
        }
        (Graph { nodes }, ends)
    })
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(Verdict::Succeeded),
        2 => Just(Verdict::Skipped),
        1 => Just(Verdict::UpstreamFailed),
        1 => Just(Verdict::Failed { again: false }),
        1 => Just(Verdict::Failed { again: true }),
    ]
}

fn formulas() -> impl Strategy<Value = Formula> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Formula::Constant),
        4 => proptest::collection::vec((0_u8..8).prop_map(ModuleIndex), 0..3).prop_map(Formula::Term),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Formula::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Formula::Or(Box::new(a), Box::new(b))),
            inner.prop_map(|a| Formula::Not(Box::new(a))),
        ]
    })
}

/// The formula with terms that name only these modules.
fn over(formula: Formula, named: &[ModuleIndex]) -> Formula {
    match formula {
        Formula::And(a, b) => Formula::And(Box::new(over(*a, named)), Box::new(over(*b, named))),
        Formula::Or(a, b) => Formula::Or(Box::new(over(*a, named)), Box::new(over(*b, named))),
        Formula::Not(a) => Formula::Not(Box::new(over(*a, named))),
        Formula::Constant(value) => Formula::Constant(value),
        Formula::Term(modules) => Formula::Term(modules.into_iter().filter(|module| named.contains(module)).collect()),
    }
}
