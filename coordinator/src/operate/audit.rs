//! The audit: who changed what, through which door, and why. Every function of this room that changes something writes a line.

use std::collections::BTreeMap;

use domain::error::chain;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use store::audit::{AuditRecord, Door, Target, Verb};
use store::{Store, StoreError};

use super::{Context, ErrorKind, OperateError};

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 1000;

/// How many lines are looked through for those about one thing.
const LOOKED_THROUGH: usize = 5000;

/// Lines of the audit.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuditPage {
    /// Newest first.
    pub lines: Vec<AuditLine>,
    /// The number below which older ones are; `None` where there are none.
    pub older: Option<u64>,
    /// What cannot be read of it, a line each.
    pub damaged: Vec<String>,
}

/// A line of the audit.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuditLine {
    /// Its number.
    pub number: u64,
    /// What it says.
    #[serde(flatten)]
    pub record: AuditRecord,
}

/// So many of the newest lines of the audit, of those below a number where one is given.
pub async fn list(context: &Context, newest: usize, before: Option<u64>) -> Result<AuditPage, OperateError> {
    let found = context.ask(move |store| store.audit_lines(newest, before)).await?;
    Ok(AuditPage {
        lines: newest_first(found.lines).collect(),
        older: found.older,
        damaged: found.damaged.iter().map(|error| chain(error)).collect(),
    })
}

/// The same of lines about one thing. It looks through the newest thousands, and says where to go on.
pub async fn list_about(
    context: &Context,
    target: Target,
    newest: usize,
    before: Option<u64>,
) -> Result<AuditPage, OperateError> {
    let found = context.ask(move |store| store.audit_lines(LOOKED_THROUGH, before)).await?;
    let mut lines: Vec<AuditLine> = newest_first(found.lines).filter(|line| line.record.target == target).collect();
    let is_cut = lines.len() > newest;
    lines.truncate(newest);
    Ok(AuditPage {
        older: if is_cut { lines.last().map(|line| line.number) } else { found.older },
        lines,
        damaged: found.damaged.iter().map(|error| chain(error)).collect(),
    })
}

fn newest_first(lines: BTreeMap<u64, AuditRecord>) -> impl Iterator<Item = AuditLine> {
    lines.into_iter().rev().map(|(number, record)| AuditLine { number, record })
}

/// Who does something, and why: what of a context goes into the audit.
#[derive(Debug, Clone)]
pub(super) struct Doer {
    pub(super) who: String,
    door: Door,
    reason: Option<String>,
}

/// Something that was done.
pub(super) struct Deed<'a> {
    pub(super) verb: Verb,
    pub(super) target: Target,
    pub(super) count: Option<u64>,
    pub(super) decision: Option<u64>,
    pub(super) effect: &'a str,
}

impl Context {
    /// Who does what is about to be done; refuses a reason that is a book.
    pub(super) fn doer(&self) -> Result<Doer, OperateError> {
        let reason = self.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        if reason.is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            let words = format!("the reason is too long: {LONGEST_REASON} characters are the most");
            return Err(OperateError::new(ErrorKind::Invalid, words));
        }
        Ok(Doer { who: self.operator.clone(), door: self.door, reason: reason.map(str::to_owned) })
    }
}

impl Doer {
    /// Writes down what was done; returns the number of the line. Blocks on the disk.
    pub(super) fn record(&self, store: &Store, deed: Deed<'_>) -> Result<u64, OperateError> {
        let Deed { verb, target, count, decision, effect } = deed;
        let record = AuditRecord {
            at: Timestamp::now(),
            who: self.who.clone(),
            door: self.door,
            verb,
            target,
            count,
            reason: self.reason.clone(),
            decision,
            effect: effect.to_owned(),
        };
        store.audit(&record).map_err(|error: StoreError| {
            OperateError::from(error).within("it was done, but the audit has no line of it")
        })
    }
}
