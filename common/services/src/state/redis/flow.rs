//! Where the tasks of a run are, from what `flow.lua` answers.

use std::collections::BTreeMap;

use domain::id::{ModuleIndex, RunId};

use super::wire::{self, Odd};
use super::{RedisState, classes, on, scripts};
use crate::state::flow::{LOOKED_AT, Moves, PERIOD, PERIODS, Period, RunFlow, TaskPlaces};
use crate::state::{RunInfo, StateError};
use domain::id::Epoch;

/// Held modules, counts, leases and whether they live, oldest, due, periods with their moves.
type FlowReply =
    (String, BTreeMap<String, u64>, Vec<(u8, u8)>, Vec<(u8, f64)>, Vec<(u8, f64)>, Vec<(f64, BTreeMap<String, u64>)>);

impl RedisState {
    pub(super) async fn flow_of(&self, run: RunId) -> Result<Option<RunFlow>, StateError> {
        let look = async {
            let known = self.known(run).await?;
            let mut call = on(run, &scripts::FLOW);
            call.arg(LOOKED_AT).arg(wire::millis(PERIOD)).arg(PERIODS);
            for class in classes(&known) {
                call.arg(class.as_str());
            }
            let reply: FlowReply = self.run_script(run, Epoch::default(), &call).await?;
            flow(&known, reply).map_err(|odd| odd.of(run))
        };
        match look.await {
            Ok(flow) => Ok(Some(flow)),
            Err(StateError::NoRun(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn flow(info: &RunInfo, (held, counts, leases, oldest, due, periods): FlowReply) -> Result<RunFlow, Odd> {
    let (held, counts) = (wire::held(&held)?, wire::look::counts(&counts)?);
    let time_of = |times: &[(u8, f64)], module: ModuleIndex| {
        times.iter().find(|(of, _)| *of == module.0).and_then(|(_, at)| wire::look::time(*at))
    };
    let claimed =
        |module: ModuleIndex, lives: u8| leases.iter().filter(|lease| **lease == (module.0, lives)).count() as u64;
    let none = BTreeMap::new();
    let places = |module| {
        let of = counts.get(&module).unwrap_or(&none);
        let claimed = (claimed(module, 1), claimed(module, 0));
        (module, TaskPlaces::of(of, claimed, held.contains(&module), (time_of(&oldest, module), time_of(&due, module))))
    };
    let modules = (0..=u8::MAX).map(ModuleIndex).take(info.modules.len());
    let period = |(from, fields): (f64, BTreeMap<String, u64>)| {
        let odd = || Odd(format!("time {from}"));
        Ok(Period { from: wire::look::time(from).ok_or_else(odd)?, moves: moves(&fields)? })
    };
    Ok(RunFlow {
        modules: modules.map(places).collect(),
        periods: periods.into_iter().map(period).collect::<Result<_, Odd>>()?,
    })
}

fn moves(fields: &BTreeMap<String, u64>) -> Result<BTreeMap<ModuleIndex, Moves>, Odd> {
    let mut moves: BTreeMap<ModuleIndex, Moves> = BTreeMap::new();
    for (field, &number) in fields {
        let odd = || Odd(format!("move {field:?}"));
        let (module, how) = field.split_once(':').ok_or_else(odd)?;
        let of_module = moves.entry(ModuleIndex(module.parse().map_err(|_| odd())?)).or_default();
        match how {
            "entered" => of_module.entered = number,
            "left" => of_module.left = number,
            _ => return Err(odd()),
        }
    }
    Ok(moves)
}
