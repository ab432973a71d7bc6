//! Hooks: a command or a webhook of the operators that is told when runs, stars and groups start and end.
//!
//! Telling never holds up the work: what cannot be told in time is dropped, counted and logged. The coordinator that did
//! something tells of it, once; dies it in between, nobody does. Who must not miss anything reads the store.

mod call;
mod moment;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{GroupName, PipelineName, StarIndex};
use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::Store;
use store::course::Course;
use store::runs::StarEnd;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::call::{Call, call};
pub use self::moment::Moment;
use crate::counters::Counters;

/// Most moments that wait to be told.
const WAITING: usize = 10_000;

/// Calls at once.
const AT_ONCE: usize = 8;

/// A hook (`[[coordinator.hooks]]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Hook {
    on: BTreeSet<Moment>,
    pipeline: Option<PipelineName>,
    group: Option<GroupName>,
    call: Call,
    timeout: Duration,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    on: BTreeSet<Moment>,
    pipeline: Option<PipelineName>,
    group: Option<GroupName>,
    command: Option<Vec<String>>,
    url: Option<String>,
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    timeout: Duration,
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

impl TryFrom<Raw> for Hook {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let call = match (raw.command, raw.url) {
            (Some(command), None) => Call::command(command)?,
            (None, Some(url)) => Call::webhook(&url)?,
            (Some(_), Some(_)) | (None, None) => {
                return Err("a hook has either `command` (a list: program and arguments) or `url`".to_owned());
            }
        };
        if raw.on.is_empty() {
            return Err("a hook's `on` names no moment".to_owned());
        }
        Ok(Self { on: raw.on, pipeline: raw.pipeline, group: raw.group, call, timeout: raw.timeout })
    }
}

impl Hook {
    fn wants(&self, moment: Moment, course: &Course, group: Option<&GroupName>) -> bool {
        self.on.contains(&moment)
            && self.pipeline.as_ref().is_none_or(|pipeline| *pipeline == course.record.pipeline)
            && (group.is_none() || self.group.is_none() || self.group.as_ref() == group)
    }
}

/// What a hook is told, as JSON: on the command's standard input, or as the body of a POST.
#[derive(Debug, Serialize)]
struct HookMessage<'a> {
    moment: Moment,
    at: Timestamp,
    run: String,
    pipeline: &'a str,
    version: &'a str,
    quarter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    star: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a GroupName>,
    /// How a star ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<StarEnd>,
}

/// Something that happened.
struct Happened {
    course: Arc<Course>,
    moment: Moment,
    at: Timestamp,
    star: Option<StarIndex>,
    group: Option<GroupName>,
    end: Option<StarEnd>,
}

/// Where the coordinator's parts say what happened; clones are the same.
#[derive(Clone)]
pub(crate) struct Hooks {
    all: Arc<[Hook]>,
    waiting: mpsc::Sender<Happened>,
    counters: Counters,
}

impl Hooks {
    /// Hooks, and the work of telling them, which ends with the last clone.
    pub(crate) fn new(
        all: Vec<Hook>,
        store: Store,
        counters: Counters,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (waiting, happened) = mpsc::channel(WAITING);
        let all: Arc<[Hook]> = all.into();
        let (hooks, count) = (all.clone(), counters.clone());
        let telling = ReceiverStream::new(happened).for_each_concurrent(AT_ONCE, move |happened| {
            let (hooks, store, counters) = (hooks.clone(), store.clone(), count.clone());
            async move { tell(&hooks, &store, &counters, happened).await }
        });
        (Self { all, waiting, counters }, telling)
    }

    /// A run was accepted, or ended.
    pub(crate) fn run(&self, course: &Arc<Course>, moment: Moment) {
        self.happened(course, moment, None, None, None);
    }

    /// A star's end is on record.
    pub(crate) fn star_ended(&self, course: &Arc<Course>, star: StarIndex, end: Option<StarEnd>) {
        self.happened(course, Moment::StarEnded, Some(star), None, end);
    }

    /// A star's row changed.
    pub(crate) fn changed(
        &self,
        course: &Arc<Course>,
        star: StarIndex,
        before: &domain::run::Row,
        after: &domain::run::Row,
    ) {
        if self.all.is_empty() {
            return;
        }
        for (moment, group) in moment::between(&course.pipeline, before, after) {
            self.happened(course, moment, Some(star), group, None);
        }
    }

    fn happened(
        &self,
        course: &Arc<Course>,
        moment: Moment,
        star: Option<StarIndex>,
        group: Option<&GroupName>,
        end: Option<StarEnd>,
    ) {
        if !self.all.iter().any(|hook| hook.wants(moment, course, group)) {
            return;
        }
        let (course, group) = (course.clone(), group.cloned());
        let happened = Happened { course, moment, at: Timestamp::now(), star, group, end };
        if self.waiting.try_send(happened).is_err() && self.counters.hooks_dropped.inc() == 0 {
            tracing::warn!("hooks are slower than the work: some are not told (sas_hooks_dropped_total)");
        }
    }
}

/// Tells every hook that wants to know.
async fn tell(hooks: &[Hook], store: &Store, counters: &Counters, happened: Happened) {
    let Happened { course, moment, at, star, group, end } = happened;
    let name = match star {
        None => None,
        Some(star) => {
            let course = course.clone();
            match store.ask(move |_| course.names(&[star])).await {
                Ok(names) => names.first().map(ToString::to_string),
                Err(error) => {
                    tracing::warn!(%error, %moment, "a hook is told without the star's name");
                    None
                }
            }
        }
    };
    let record = &course.record;
    let told = HookMessage {
        moment,
        at,
        run: record.run.to_string(),
        pipeline: record.pipeline.as_str(),
        version: &record.version,
        quarter: record.quarter.to_string(),
        star: name,
        group: group.as_ref(),
        end,
    };
    let body = domain::message::to_json(&told);
    for hook in hooks.iter().filter(|hook| hook.wants(moment, &course, group.as_ref())) {
        match call(&hook.call, hook.timeout, &body).await {
            Ok(()) => drop(counters.hooks_told.inc()),
            Err(reason) => {
                counters.hooks_failed.inc();
                tracing::warn!(hook = %hook.call, %moment, run = %record.run, reason, "a hook failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Hook, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_hook_says_when_and_whom() {
        let hook =
            check("on = ['run_ended', 'group_started']\ncommand = ['/bin/mail', 'ops']\ngroup = 'MSAP3'").unwrap();
        assert_eq!(hook.on, BTreeSet::from([Moment::RunEnded, Moment::GroupStarted]));
        assert_eq!(hook.timeout, Duration::from_secs(10));
        assert_eq!(
            check("on = ['star_ended']\nurl = 'https://ops.example/hook?token=x'").unwrap().call.to_string(),
            "https://ops.example"
        );
    }

    #[test]
    fn a_hook_that_makes_no_sense_is_refused() {
        for (text, word) in [
            ("on = ['run_ended']", "either"),
            ("on = ['run_ended']\ncommand = ['a']\nurl = 'http://x'", "either"),
            ("on = []\ncommand = ['a']", "no moment"),
            ("on = ['run_ended']\ncommand = []", "program"),
            ("on = ['run_ended']\nurl = 'ops.example'", "url"),
            ("on = ['run_ended']\nurl = 'ftp://ops.example'", "http"),
            ("on = ['tea']\ncommand = ['a']", "tea"),
            ("when = []\non = ['run_ended']\ncommand = ['a']", "when"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(word), "{error:?} does not name {word:?}");
        }
    }
}
