//! What an event means: which runs it starts, over which stars.
//!
//! Pure. Ids are computed, so that an event that comes twice, or to two coordinators, means the same runs.

use domain::id::{GroupName, RunId, StarId};
use domain::message::Start;
use domain::pipeline::Pipeline;
use store::events::{Disposition, EventRecord};
use store::runs::RunRecord;

/// Why a run cannot be started as somebody wishes, in one line.
pub(crate) fn refusal(start: &Start, pipelines: &[Pipeline]) -> Option<String> {
    let name = &start.pipeline;
    let Some(pipeline) = pipelines.iter().find(|known| known.name == *name) else {
        let known: Vec<&str> = pipelines.iter().map(|known| known.name.as_str()).collect();
        return Some(format!("the coordinator has no pipeline {name}; it has {}", known.join(", ")));
    };
    if let Some(version) = start.version.as_ref().filter(|version| **version != pipeline.version) {
        return Some(format!("the coordinator has {name} {}, not {version}", pipeline.version));
    }
    match &start.only_group {
        Some(group) if !pipeline.groups().contains(group) => {
            let groups: Vec<&str> = pipeline.groups().into_iter().map(GroupName::as_str).collect();
            Some(format!("{name} {} has no group {group}; it has {}", pipeline.version, groups.join(", ")))
        }
        Some(_) | None => None,
    }
}

/// The runs that an event starts: one per pipeline that its dataset triggers, or the one that somebody wishes to start. `stars` are sorted, each once.
pub(crate) fn runs(record: &EventRecord, stars: &[StarId], pipelines: &[Pipeline]) -> Vec<RunRecord> {
    let update = &record.event.data;
    let is_meant = |pipeline: &Pipeline| match &update.start {
        None => pipeline.trigger.plain() == Some(&update.dataset),
        Some(start) => pipeline.name == start.pipeline && refusal(start, pipelines).is_none(),
    };
    let meant = pipelines.iter().filter(|pipeline| is_meant(pipeline));
    meant
        .map(|pipeline| RunRecord {
            run: RunId::of(record.id, pipeline.name.as_str(), &pipeline.version),
            event: record.id,
            publisher: record.event.publisher(),
            pipeline: pipeline.name.clone(),
            version: pipeline.version.clone(),
            quarter: update.quarter,
            horizon: record.sequence,
            accepted: record.accepted,
            stars: u32::try_from(stars.len()).unwrap_or(u32::MAX),
            only_group: update.start.as_ref().and_then(|start| start.only_group.clone()),
            replay: None,
            definition: pipeline.definition.clone(),
            data_model: pipeline.data_model.clone(),
        })
        .collect()
}

/// What is recorded of an event that started these runs, and of which triggers weigh the stars.
pub(crate) fn dispositions(record: &EventRecord, runs: &[RunRecord], pipelines: &[Pipeline]) -> Vec<Disposition> {
    let update = &record.event.data;
    if let Some(reason) = update.start.as_ref().and_then(|start| refusal(start, pipelines)) {
        return vec![Disposition::Rejected { reason }];
    }
    let of_run = runs.iter().map(|record| Disposition::Run { run: record.run });
    let weighs = |pipeline: &&Pipeline| {
        let trigger = &pipeline.trigger;
        update.start.is_none() && trigger.plain().is_none() && trigger.on.datasets().any(|name| *name == update.dataset)
    };
    let waits = |pipeline: &Pipeline| Disposition::Waits {
        pipeline: pipeline.name.clone(),
        on: pipeline.trigger.on.clone(),
        only_if: pipeline.trigger.conditions(),
        until: pipeline.trigger.until(record.accepted),
    };
    let all: Vec<Disposition> = of_run.chain(pipelines.iter().filter(weighs).map(waits)).collect();
    if all.is_empty() { vec![Disposition::NoPipeline] } else { all }
}

#[cfg(test)]
mod tests {
    use domain::id::Sequence;
    use domain::message::{DatasetEvent, DatasetUpdate, StarSelection};
    use domain::pipeline::load;

    use super::*;

    fn definition(name: &str, trigger: &str) -> Pipeline {
        let text = format!(
            "name = '{name}'\nversion = '1'\ntrigger = '{trigger}'\n[classes.default]\ncpus = 1\nmemory = '1GB'\n\
             [modules.M]\nimage = 'i'\nclass = 'default'\ngroup = 'G'\ntime_limit = '1m'\noutputs.mandatory = ['X']\n"
        );
        load("p.toml", &text, None).unwrap()
    }

    fn event(dataset: &str) -> EventRecord {
        let update = DatasetUpdate {
            dataset: dataset.parse().unwrap(),
            quarter: 3.try_into().unwrap(),
            stars: StarSelection::File("list".to_owned()),
            start: None,
        };
        let event = DatasetEvent::new("test", "1", "2026-01-01T00:00:00Z".to_owned(), update);
        EventRecord { id: event.event_id(), sequence: Sequence(7), accepted: jiff::Timestamp::UNIX_EPOCH, event }
    }

    #[test]
    fn every_pipeline_that_the_dataset_triggers_gets_a_run() {
        let pipelines =
            [definition("A", "l1/lightcurve"), definition("B", "l1/other"), definition("C", "l1/lightcurve")];
        let stars = [StarId::of_simulator(1)];
        let started = runs(&event("l1/lightcurve"), &stars, &pipelines);
        let names: Vec<&str> = started.iter().map(|run| run.pipeline.as_str()).collect();
        assert_eq!(names, ["A", "C"]);
        assert!(started.iter().all(|run| run.horizon == Sequence(7) && run.stars == 1));
        assert_eq!(started, runs(&event("l1/lightcurve"), &stars, &pipelines), "a repeated event means the same runs");
        let none = event("l1/none");
        let started = runs(&none, &stars, &pipelines);
        assert_eq!(dispositions(&none, &started, &pipelines), [Disposition::NoPipeline]);
    }

    #[test]
    fn a_trigger_of_several_datasets_weighs_the_stars_of_an_event() {
        let pipelines = [definition("A", "l1/lightcurve & exo/flag"), definition("B", "exo/flag")];
        let record = event("exo/flag");
        let started = runs(&record, &[StarId::of_simulator(1)], &pipelines);
        let found = dispositions(&record, &started, &pipelines);
        let [Disposition::Run { .. }, Disposition::Waits { pipeline, on, until: None, .. }] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((pipeline.as_str(), on.to_string().as_str()), ("A", "l1/lightcurve & exo/flag"));
        let other = event("l1/lightcurve");
        assert!(runs(&other, &[], &pipelines).is_empty());
        assert!(matches!(dispositions(&other, &[], &pipelines)[..], [Disposition::Waits { .. }]));
    }

    #[test]
    fn a_wish_starts_one_pipeline_or_is_refused_with_its_reason() {
        let pipelines = [definition("A", "l1/lightcurve"), definition("B", "l1/lightcurve")];
        let stars = [StarId::of_simulator(1)];
        let wish = |pipeline: &str, version: Option<&str>, group: Option<&str>| {
            let mut record = event("l1/lightcurve");
            record.event.data.start = Some(Start {
                pipeline: pipeline.parse().unwrap(),
                version: version.map(str::to_owned),
                only_group: group.map(|group| group.parse().unwrap()),
                replay: None,
            });
            let started = runs(&record, &stars, &pipelines);
            let dispositions = dispositions(&record, &started, &pipelines);
            (started, dispositions)
        };
        let (started, dispositions) = wish("B", Some("1"), Some("G"));
        assert_eq!(
            (started.len(), started[0].pipeline.as_str(), started[0].only_group.as_ref().map(GroupName::as_str)),
            (1, "B", Some("G"))
        );
        assert_eq!(dispositions, [Disposition::Run { run: started[0].run }]);
        for (pipeline, version, group, word) in
            [("C", None, None, "it has A, B"), ("A", Some("2"), None, "has A 1"), ("A", None, Some("H"), "it has G")]
        {
            let (started, dispositions) = wish(pipeline, version, group);
            assert!(started.is_empty());
            let [Disposition::Rejected { reason }] = &dispositions[..] else { panic!("{dispositions:?}") };
            assert!(reason.contains(word), "{reason}");
        }
    }
}
