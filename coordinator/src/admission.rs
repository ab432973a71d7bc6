//! Stars enter by need, not all at once: queues stay short, the first results come at once, and no run starves another.

mod earlier;
mod plan;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{ClassName, ModuleIndex, RunId, StarIndex};
use domain::run::{Event, Star};
use earlier::{EarlierQuarters, EnteringStars};
use plan::{Candidate, Demand, plan};
use services::state::{Change, CursorMove, Phase, RunInfo, RunView, SharedState, StateError, Written};
use slots::Slots;
use store::Store;
use store::course::Course;
use store::crash::CrashPoint;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::advance::dispatch::publish;
use crate::advance::fold::{Step, fold};
use crate::advance::{News, Race, admissions};
use crate::config::{CoordinatorConfig, Window};
use crate::running::Coordinator;
use crate::trouble::{Outage, Trouble};

/// Most stars that enter in one step.
const BATCH: u32 = 256;

/// Most stars that are passed over in one step, and how many are looked at together.
const SCAN: u32 = 65_536;
const BLOCK: u32 = 4_096;

/// How often the queues are looked at while stars wait to enter, without a nudge.
const LOOK: Duration = Duration::from_millis(50);

/// How often when none waits.
const IDLE: Duration = Duration::from_secs(1);

/// Least time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Admits stars until `shutdown`.
pub(crate) async fn admit(running: Coordinator, config: CoordinatorConfig, shutdown: CancellationToken) {
    let mut outage = Outage::of("admissions");
    let (mut slots, mut earlier) = (Slots::default(), EarlierQuarters::default());
    while !shutdown.is_cancelled() {
        let look = match step(&running, &config, &mut slots, &mut earlier).await {
            Ok(look) => {
                outage.over();
                look
            }
            // An epoch began since it was looked at.
            Err(Trouble::State(StateError::Epoch { .. })) if running.mend_epoch().await.is_ok() => LOOK,
            Err(trouble) => {
                outage.wait(&trouble).await;
                continue;
            }
        };
        tokio::time::sleep(PAUSE).await;
        let nudged = tokio::time::timeout(look, running.wakes.admission.notified());
        if shutdown.run_until_cancelled(nudged).await.is_none() {
            return;
        }
    }
}

/// Admits what there is need for; returns when to look again.
async fn step(
    running: &Coordinator,
    config: &CoordinatorConfig,
    slots: &mut Slots,
    earlier: &mut EarlierQuarters,
) -> Result<Duration, Trouble> {
    let infos = running.services.state.runs().await?;
    if infos.iter().all(|info| info.cursor >= info.stars) {
        return Ok(IDLE);
    }
    let mut views = BTreeMap::new();
    let mut courses = BTreeMap::new();
    for info in &infos {
        let Some(course) = running.course(info.run).await? else { continue };
        let Some(view) = running.view(info.run).await? else { continue };
        views.insert(info.run, view);
        courses.insert(info.run, course);
    }
    let mut look = IDLE;
    for view in views.values().filter(|view| view.info.cursor < view.info.stars) {
        match view.info.phase {
            Phase::Active => look = LOOK,
            Phase::Paused => {}
            // Nobody asks for them any more: they end here, as fast as they can be written.
            Phase::Cancelling => {
                let course = &courses[&view.info.run];
                let entered = enter(running, course, &view.info, (BATCH, None), &infos).await;
                running.of_run(view.info.run, entered).await?;
                look = Duration::ZERO;
            }
        }
    }
    let slots = slots.look(&running.services.state).await?;
    let demand = demand(running, config, &views, slots);
    let mut ready = earlier.weigh(running, &views, &courses).await?;
    // Whoever waits for a quarter before may wait for days: what ends there wakes this up.
    let stays = |view: &RunView| {
        ready.get(&view.info.run).is_some_and(|ready| ready.len() == 0 && ready.to() <= view.info.cursor)
    };
    let mut to_come =
        views.values().filter(|view| view.info.phase != Phase::Paused && view.info.cursor < view.info.stars);
    if to_come.all(stays) {
        look = IDLE;
    }
    let mut chosen = plan(&candidates(&infos, &views, &courses, &demand, config, &ready), demand);
    // Nobody is chosen where all that were looked at are in already.
    let passed = ready.iter().filter(|(run, ready)| ready.len() == 0 && ready.to() > views[run].info.cursor);
    chosen.extend(passed.map(|(run, _)| (*run, 0)));
    for (run, count) in chosen {
        let next = (count, ready.remove(&run));
        let entered = enter(running, &courses[&run], &views[&run].info, next, &infos).await;
        running.of_run(run, entered).await?;
    }
    Ok(look)
}

/// Runs that could let a star in, oldest first.
fn candidates(
    infos: &[RunInfo],
    views: &BTreeMap<RunId, RunView>,
    courses: &BTreeMap<RunId, Arc<Course>>,
    demand: &Demand,
    config: &CoordinatorConfig,
    ready: &BTreeMap<RunId, EnteringStars>,
) -> Vec<Candidate> {
    let is_all = config.window == Window::All;
    let known = infos.iter().filter_map(|info| Some((views.get(&info.run)?, courses.get(&info.run)?)));
    known
        .filter(|(view, _)| view.info.phase == Phase::Active && view.info.cursor < view.info.stars)
        // Stars that are in nobody else's way are in that of their own run.
        .filter(|(view, _)| is_all || view.in_flight < config.in_flight)
        .filter(|(view, course)| course.roots().next().is_none() || free_roots(view, course).next().is_some())
        .map(|(view, course)| {
            let mut asks = BTreeMap::new();
            // Who asks for nothing need not wait for slots.
            for module in free_roots(view, course).filter(|_| !is_all) {
                *asks.entry(course.class(module).clone()).or_default() += 1;
            }
            Candidate {
                run: view.info.run,
                weight: view.info.weight,
                in_flight: plan::in_the_way(view, &demand.wanted),
                to_come: ready.get(&view.info.run).map_or(view.info.stars - view.info.cursor, EnteringStars::len),
                asks,
            }
        })
        .collect()
}

/// What a star that enters asks for first, and may have.
fn free_roots<'a>(view: &'a RunView, course: &'a Course) -> impl Iterator<Item = ModuleIndex> + 'a {
    course.roots().filter(|module| !view.info.held.contains(module))
}

/// What the workers could take, and what is there for them.
fn demand(
    running: &Coordinator,
    config: &CoordinatorConfig,
    views: &BTreeMap<RunId, RunView>,
    slots: &BTreeMap<ClassName, u64>,
) -> Demand {
    let wanted = |(class, slots): (&ClassName, &u64)| {
        let ends = running.rates.of(class, Instant::now());
        (class.clone(), plan::wanted(slots * u64::from(config.ready_per_slot), ends))
    };
    let wanted: BTreeMap<ClassName, u64> = slots.iter().map(wanted).collect();
    let mut ready = BTreeMap::new();
    // What nobody may claim is not there for the workers.
    for view in views.values().filter(|view| view.info.phase == Phase::Active) {
        for (class, count) in &view.ready {
            *ready.entry(class.clone()).or_default() += count;
        }
    }
    // Stars of a paused run wait for operators, and must not keep those of others out.
    let active = views.values().filter(|view| view.info.phase != Phase::Paused);
    let in_flight = active.map(|view| plan::in_the_way(view, &wanted)).fold(0, u32::saturating_add);
    let room = match config.window {
        Window::Slots => config.in_flight.saturating_sub(in_flight).min(BATCH),
        Window::All => BATCH,
    };
    Demand { wanted, ready, room }
}

/// Lets the next `count` stars of a run in, of those that may enter where that was looked at, or ends them when it is being
/// cancelled.
async fn enter(
    running: &Coordinator,
    course: &Arc<Course>,
    info: &RunInfo,
    (count, ready): (u32, Option<EnteringStars>),
    infos: &[RunInfo],
) -> Result<(), Trouble> {
    if info.phase == Phase::Paused {
        return Ok(());
    }
    let NextStars { stars, rows, without, to } = match ready {
        Some(ready) => {
            let ready = ready.first(count);
            let to = ready.to();
            let (stars, rows, without) = ready.enter(running, info.run).await?;
            NextStars { stars, rows, without, to }
        }
        None => next(&running.services.state, info, count).await?,
    };
    let (events, admissions) = match info.phase {
        Phase::Active | Phase::Paused => {
            let events = take_over(running, course, infos, &stars).await?;
            let mut admissions = admissions(&running.services.store, course, &stars).await?;
            for (admission, _) in admissions.iter_mut().zip(&without).filter(|(_, without)| **without) {
                admission.previous = None;
            }
            (events, admissions.into_iter().map(Some).collect())
        }
        Phase::Cancelling => (vec![Event::Cancel; stars.len()], vec![None; stars.len()]),
    };
    let mut changes = Vec::new();
    for (((star, event), current), admission) in stars.iter().zip(events).zip(&rows).zip(admissions) {
        let folded = fold(&course.pipeline, &course.graph, *star, current, &[Step::from(event)]);
        changes.extend(folded.change.map(|change| Change { admission, ..change }));
    }
    let cursor = CursorMove { from: info.cursor, to };
    let written = running.services.state.write(info.run, running.epoch(), Some(cursor), &changes).await?;
    let mut news = News::of(course);
    // A lost race needs nothing more: another coordinator moved the cursor, or ended the star.
    for (change, _) in changes.into_iter().zip(written).filter(|(_, written)| *written == Written::Done) {
        news.done(running, change);
    }
    running.counters.admitted.inc_by(news.changed.into());
    running.close_soon(news.closing);
    CrashPoint::StarsEntered.reached();
    publish(running, course, &news.ready).await?;
    CrashPoint::StarsPublished.reached();
    Ok(())
}

/// Stars that are next to enter.
struct NextStars {
    stars: Vec<StarIndex>,
    rows: Vec<Star>,
    /// Of each whether it enters as if there were no quarter before; none where nobody asked.
    without: Vec<bool>,
    /// Where the cursor is behind them.
    to: u32,
}

/// The next `count` stars from the cursor on. Passes over those that are in already, for they were restored, or taken over
/// before the cursor came to them: many at once, since nobody waits for these.
async fn next(state: &SharedState, info: &RunInfo, count: u32) -> Result<NextStars, Trouble> {
    let mut next = NextStars { stars: Vec::new(), rows: Vec::new(), without: Vec::new(), to: info.cursor };
    let most = info.cursor.saturating_add(SCAN).min(info.stars);
    let mut block = count;
    while next.to < most && next.stars.len() < count as usize {
        let end = next.to.saturating_add(block).min(most);
        let stars: Vec<StarIndex> = (next.to..end).map(StarIndex).collect();
        for (star, row) in stars.iter().zip(state.load(info.run, &stars).await?) {
            if next.stars.len() == count as usize {
                return Ok(next);
            }
            next.to = star.0 + 1;
            if row.row.is_fresh() {
                next.stars.push(*star);
                next.rows.push(row);
            }
        }
        block = BLOCK;
    }
    Ok(next)
}

/// One run of a pipeline is in flight per star and quarter: takes these stars over from older runs. Returns what happens to
/// each here: it enters, unless a newer run has it already. Runs that are limited to a group make no star file, and are in
/// nobody's way.
async fn take_over(
    running: &Coordinator,
    course: &Arc<Course>,
    infos: &[RunInfo],
    stars: &[StarIndex],
) -> Result<Vec<Event>, Trouble> {
    let mut events = vec![Event::Admit; stars.len()];
    let record = &course.record;
    let rivals = infos
        .iter()
        .filter(|info| info.run != record.run && info.pipeline == record.pipeline && info.quarter == record.quarter);
    for rival in rivals {
        let Some(other) = running.course(rival.run).await? else { continue };
        if record.only_group.is_some() || other.record.only_group.is_some() {
            continue;
        }
        let places = places(&running.services.store, course, &other, stars).await?;
        if rival.horizon < record.horizon {
            let mut news = News::of(&other);
            for star in places.into_iter().flatten() {
                news.add(star, Event::Supersede);
            }
            news.bring_in(running, Race::Again).await?;
            running.close_soon(news.closing);
            continue;
        }
        let (mine, theirs): (Vec<usize>, Vec<StarIndex>) =
            places.into_iter().enumerate().filter_map(|(at, star)| Some((at, star?))).unzip();
        let rows = running.services.state.load(rival.run, &theirs).await?;
        for (at, _) in mine.into_iter().zip(rows).filter(|(_, row)| !row.row.is_fresh()) {
            events[at] = Event::Supersede;
        }
    }
    Ok(events)
}

/// Where stars of a run are in another one.
async fn places(
    store: &Store,
    course: &Arc<Course>,
    other: &Arc<Course>,
    stars: &[StarIndex],
) -> Result<Vec<Option<StarIndex>>, Trouble> {
    let (course, other, stars) = (course.clone(), other.clone(), stars.to_vec());
    let places = store.ask(move |_| course.names(&stars)?.into_iter().map(|star| other.stars.position(star)).collect());
    Ok(places.await?)
}
