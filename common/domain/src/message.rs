//! The wire: dataset events, task messages and completions.
//!
//! Pure data and parsing. A message that does not parse is an [`Unreadable`] with the field and what was expected; the
//! consumer sends it to the dead letters and goes on. Unknown fields are ignored, so that a newer sender can add some;
//! an unknown version is refused.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::{
    Attempt, DatasetName, Epoch, EventId, GroupName, Key, Nonce, PipelineName, Quarter, ReplayId, RunId, StarId, Task,
    TraceContext, WorkerName,
};
use crate::outcome::Outcome;

/// The version of task messages and completions that this code writes and reads.
pub const WIRE_VERSION: u32 = 1;

/// The CloudEvents `type` of a dataset event.
pub const DATASET_UPDATED: &str = "sas.dataset.updated.v1";

/// Why a message could not be read: one line that names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {what}: {reason}")]
pub struct Unreadable {
    what: &'static str,
    reason: String,
}

/// "These stars have new data in this dataset": a CloudEvents 1.0 event in structured JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// Always [`DATASET_UPDATED`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Who published it; with `id` it names the event.
    pub source: String,
    /// The publisher's own id of the event.
    pub id: String,
    /// When it was published (RFC 3339), as the publisher says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Always JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// W3C trace context of the publisher, if it traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What is new.
    pub data: DatasetUpdate,
}

/// What a dataset event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetUpdate {
    /// The dataset that has new data.
    pub dataset: DatasetName,
    /// The quarter of the data.
    pub quarter: Quarter,
    /// The stars, inline or by reference.
    #[serde(flatten)]
    pub stars: StarSelection,
    /// Set where nothing is new: somebody starts a run over what the store has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
}

/// A wish to run one pipeline over stars that the store has already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Start {
    /// The pipeline, whatever triggers it otherwise.
    pub pipeline: PipelineName,
    /// Its version; the one that the coordinator has unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Only the modules of this group, and what they need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_group: Option<GroupName>,
    /// The order of a replay in the store: it has the definition, whatever coordinators have loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayId>,
}

/// Which stars an event is about: exactly one of `stars` and `stars_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "NamedStars")]
pub enum StarSelection {
    /// The list itself.
    #[serde(rename = "stars")]
    Inline(Vec<StarId>),
    /// A text file below the store's root, one star id a line: for events of many stars.
    #[serde(rename = "stars_file")]
    File(String),
}

/// Both ways to name stars, of which an event uses one.
#[derive(Deserialize)]
struct NamedStars {
    stars: Option<Vec<StarId>>,
    stars_file: Option<String>,
}

impl TryFrom<NamedStars> for StarSelection {
    type Error = &'static str;

    fn try_from(named: NamedStars) -> Result<Self, Self::Error> {
        match (named.stars, named.stars_file) {
            (Some(stars), None) => Ok(Self::Inline(stars)),
            (None, Some(file)) => Ok(Self::File(file)),
            (Some(_), Some(_)) => Err("both `stars` and `stars_file` are given, expected one of them"),
            (None, None) => Err("expected `stars` or `stars_file`"),
        }
    }
}

impl DatasetEvent {
    /// A new event that `source` calls `id`, at `time` (RFC 3339).
    pub fn new(source: &str, id: &str, time: String, data: DatasetUpdate) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            kind: DATASET_UPDATED.to_owned(),
            source: source.to_owned(),
            id: id.to_owned(),
            time: Some(time),
            datacontenttype: Some("application/json".to_owned()),
            traceparent: None,
            data,
        }
    }

    /// The same event, its stars named another way.
    pub fn with_stars(&self, stars: StarSelection) -> Self {
        Self {
            specversion: self.specversion.clone(),
            kind: self.kind.clone(),
            source: self.source.clone(),
            id: self.id.clone(),
            time: self.time.clone(),
            datacontenttype: self.datacontenttype.clone(),
            traceparent: self.traceparent.clone(),
            data: DatasetUpdate {
                dataset: self.data.dataset.clone(),
                quarter: self.data.quarter,
                stars,
                start: self.data.start.clone(),
            },
        }
    }

    /// The computed id: the same for every delivery of the event.
    pub fn event_id(&self) -> EventId {
        EventId::of(&self.source, &self.id)
    }

    /// The publisher's span. One that cannot be read is none: an event is not refused for it.
    pub fn publisher(&self) -> Option<TraceContext> {
        self.traceparent.as_ref()?.parse().ok()
    }

    /// Parses and validates structured-mode JSON.
    pub fn from_json(body: &[u8]) -> Result<Self, Unreadable> {
        let event: Self = parse("dataset event", body)?;
        let wrong = |reason: String| Unreadable { what: "dataset event", reason };
        if event.specversion != "1.0" {
            return Err(wrong(format!("field `specversion` is {:?}, expected \"1.0\"", event.specversion)));
        }
        if event.kind != DATASET_UPDATED {
            return Err(wrong(format!("field `type` is {:?}, expected {DATASET_UPDATED:?}", event.kind)));
        }
        if event.source.is_empty() || event.id.is_empty() {
            return Err(wrong("fields `source` and `id` must not be empty".to_owned()));
        }
        match &event.data.stars {
            StarSelection::Inline(stars) if stars.is_empty() => {
                return Err(wrong("field `data.stars` is empty, expected at least one star".to_owned()));
            }
            StarSelection::File(path) if !stays_below(path) => {
                return Err(wrong(format!(
                    "field `data.stars_file` is {path:?}, expected a path relative to the store without `..`"
                )));
            }
            StarSelection::Inline(_) | StarSelection::File(_) => {}
        }
        Ok(event)
    }
}

/// "This task may have work": the body of a message in `sas.tasks.<class>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMessage {
    /// [`WIRE_VERSION`].
    pub v: u32,
    /// The epoch of the state that published it.
    pub epoch: Epoch,
    /// The run.
    pub run: RunId,
    /// Star and module by position.
    #[serde(flatten)]
    pub task: Task,
    /// The star's name, so that a reader of the queue need not look it up.
    pub name: StarId,
    /// The attempt, counted from 1.
    pub attempt: Attempt,
}

/// "This attempt ended so": a message in `sas.completions` has one, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// [`WIRE_VERSION`].
    pub v: u32,
    /// The epoch in which the attempt was claimed.
    pub epoch: Epoch,
    /// The run.
    pub run: RunId,
    /// Star and module by position.
    #[serde(flatten)]
    pub task: Task,
    /// The attempt, counted from 1.
    pub attempt: Attempt,
    /// The nonce of the claim.
    pub nonce: Nonce,
    /// The worker that ran it.
    pub worker: WorkerName,
    /// When it began (RFC 3339).
    pub started: jiff::Timestamp,
    /// How long it took, from claim to commit, in milliseconds.
    pub millis: u64,
    /// How long its claim took, as far as the worker says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimTimes>,
    /// The key of what it was to make, where its program was killed, and whether that is its failure is not the worker's to say:
    /// a failure is written down under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// How it ended.
    #[serde(flatten)]
    pub result: Report,
}

/// How long an attempt was on its way to the worker that ran it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimTimes {
    /// Milliseconds from the moment when it became ready to its claim; none where that was forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_millis: Option<u64>,
    /// Microseconds that the claim itself took.
    pub took_micros: u64,
}

/// What a worker says of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", content = "with", rename_all = "snake_case")]
pub enum Report {
    /// It ended.
    Ended(Outcome),
    /// The worker is stopping and gives it back: nobody's fault, costs no try.
    GivenBack,
}

/// Parses the body of a task message.
pub fn parse_task(body: &[u8]) -> Result<TaskMessage, Unreadable> {
    let message: TaskMessage = parse("task message", body)?;
    check_version("task message", message.v)?;
    Ok(message)
}

/// Parses the body of a message in `sas.completions`: one completion, or a list of those that were reported together.
pub fn parse_completions(body: &[u8]) -> Result<Vec<Completion>, Unreadable> {
    let completions = match body.first() {
        Some(b'[') => parse("list of completions", body)?,
        Some(_) | None => vec![parse::<Completion>("completion", body)?],
    };
    completions.iter().try_for_each(|completion| check_version("completion", completion.v))?;
    Ok(completions)
}

/// The body of one message that has all these completions, given the JSON of each.
pub fn completions_together<'a>(each: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = vec![b'['];
    for (at, one) in each.into_iter().enumerate() {
        body.extend_from_slice(if at == 0 { b"" } else { b"," });
        body.extend_from_slice(one);
    }
    body.push(b']');
    body
}

/// The JSON of a message; messages hold nothing that JSON cannot.
pub fn to_json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages have string keys and finite numbers only")
}

impl fmt::Display for TaskMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}#{}", self.run, self.name, self.task.module.0, self.attempt)
    }
}

fn parse<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable { what, reason: error.to_string() })
}

fn check_version(what: &'static str, v: u32) -> Result<(), Unreadable> {
    if v == WIRE_VERSION {
        return Ok(());
    }
    Err(Unreadable { what, reason: format!("field `v` is {v}, this program reads version {WIRE_VERSION}") })
}

fn stays_below(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('/')
        && !path.contains('\0')
        && path.split('/').all(|part| part != ".." && !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str) -> String {
        format!(r#"{{"specversion":"1.0","type":"sas.dataset.updated.v1","source":"ingest","id":"7","data":{data}}}"#)
    }

    #[test]
    fn an_event_round_trips_in_both_forms() {
        let star = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7";
        for data in [
            format!(r#"{{"dataset":"l1/lightcurve","quarter":3,"stars":["{star}"]}}"#),
            r#"{"dataset":"l1/lightcurve","quarter":3,"stars_file":"events/stars.txt"}"#.to_owned(),
            format!(
                r#"{{"dataset":"l1/lightcurve","quarter":3,"stars":["{star}"],"start":{{"pipeline":"P","only_group":"G"}}}}"#
            ),
        ] {
            let parsed = DatasetEvent::from_json(event(&data).as_bytes()).unwrap();
            assert_eq!(DatasetEvent::from_json(&to_json(&parsed)).unwrap(), parsed);
        }
    }

    #[test]
    fn an_unreadable_event_says_which_field() {
        for (data, word) in [
            (r#"{"dataset":"l1/lightcurve","quarter":3,"stars":[]}"#, "data.stars"),
            (r#"{"dataset":"l1/lightcurve","quarter":3,"stars":["KIC 1"]}"#, "PLATO_"),
            (r#"{"dataset":"l1/lightcurve","quarter":3,"stars_file":"../x"}"#, "stars_file"),
            (r#"{"dataset":"l1 lightcurve","quarter":3,"stars_file":"x"}"#, "dataset name"),
            (r#"{"dataset":"l1/lightcurve","quarter":1000,"stars_file":"x"}"#, "quarter"),
            (r#"{"quarter":3,"stars_file":"x"}"#, "dataset"),
            (r#"{"dataset":"a","quarter":3}"#, "expected `stars` or `stars_file`"),
            (r#"{"dataset":"a","quarter":3,"stars_file":"x","stars":[]}"#, "both `stars` and `stars_file`"),
        ] {
            let error = DatasetEvent::from_json(event(data).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{error} does not name {word}");
        }
        assert!(DatasetEvent::from_json(b"not json").is_err());
    }

    #[test]
    fn completions_round_trip_alone_and_together() {
        let completion = Completion {
            v: WIRE_VERSION,
            epoch: Epoch(1),
            run: RunId::of(EventId::of("a", "b"), "P", "1"),
            task: Task { star: crate::id::StarIndex(3), module: crate::id::ModuleIndex(2) },
            attempt: Attempt(1),
            nonce: Nonce::random(),
            worker: "host-1".parse().unwrap(),
            started: jiff::Timestamp::UNIX_EPOCH,
            millis: 12,
            claim: Some(ClaimTimes { waited_millis: Some(7), took_micros: 900 }),
            key: Some(Key::from_bytes([7; 32])),
            result: Report::Ended(Outcome::UpstreamFailed { lost: "X".to_owned() }),
        };
        let given = Completion { result: Report::GivenBack, ..completion.clone() };
        let bodies = [to_json(&completion), to_json(&given)];
        assert_eq!(parse_completions(&bodies[0]).unwrap(), std::slice::from_ref(&completion));
        assert_eq!(parse_completions(&bodies[1]).unwrap(), std::slice::from_ref(&given));
        let together = completions_together(bodies.iter().map(Vec::as_slice));
        assert_eq!(parse_completions(&together).unwrap(), [completion.clone(), given]);
        let later = to_json(&Completion { v: 2, ..completion });
        let error = parse_completions(&completions_together([bodies[0].as_slice(), &later])).unwrap_err();
        assert!(error.to_string().contains("field `v` is 2"), "{error}");
        assert_eq!(parse_completions(b"[]").unwrap(), []);
    }
}
