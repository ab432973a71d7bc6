//! A line for each thing that was looked at, and how the whole ends. Pure.

use coordinator::operate::{ErrorKind, OperateError};
use serde::Serialize;

use crate::output::{Table, table};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReportLine {
    /// What.
    pub(crate) what: String,
    pub(crate) verdict: LineVerdict,
    /// What was found or made; for a problem what to do about it.
    pub(crate) detail: String,
}

/// How it is with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LineVerdict {
    /// As it must be.
    Ok,
    /// It was missing, and is there now.
    Made,
    /// Not as it must be.
    Problem,
    /// It does not answer.
    Unreachable,
}

impl ReportLine {
    pub(crate) fn ok(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: LineVerdict::Ok, detail: detail.into() }
    }

    pub(crate) fn made(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: LineVerdict::Made, detail: detail.into() }
    }

    pub(crate) fn problem(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: LineVerdict::Problem, detail: detail.into() }
    }

    pub(crate) fn unreachable(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: LineVerdict::Unreachable, detail: detail.into() }
    }
}

/// The report as a table.
pub(crate) fn list(checks: &[ReportLine]) -> Table {
    let mut table = table(["", "WHAT", "FOUND"]);
    for check in checks {
        table.add_row([check.verdict.to_string(), check.what.clone(), check.detail.clone()]);
    }
    table
}

/// How the command ends: a service that does not answer comes before what is wrong with another.
pub(crate) fn end(checks: &[ReportLine]) -> anyhow::Result<()> {
    let of = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (unreachable, problems) = (of(LineVerdict::Unreachable), of(LineVerdict::Problem));
    if unreachable > 0 {
        let text = format!("{unreachable} services out of reach, {problems} other problems; see the report");
        return Err(OperateError::new(ErrorKind::OutOfReach, text).into());
    }
    anyhow::ensure!(problems == 0, "{problems} problems; see the report");
    Ok(())
}

/// A version's first two numbers; `None` when it has none.
pub(crate) fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ErrorAnswer;

    #[test]
    fn the_worst_line_decides_how_it_ends() {
        let ended = |checks: &[ReportLine]| end(checks).err().map(|error| ErrorAnswer::of(&error).kind);
        let kind = |kind: &str| Some(kind.to_owned());
        let (ok, made) = (ReportLine::ok("a", ""), ReportLine::made("b", ""));
        let (problem, unreachable) = (ReportLine::problem("c", ""), ReportLine::unreachable("d", ""));
        assert_eq!(ended(&[ok.clone(), made.clone()]), None);
        assert_eq!(ended(&[ok.clone(), problem.clone(), made]), kind("failed"));
        assert_eq!(ended(&[problem, unreachable, ok]), kind("out_of_reach"));
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(major_minor("3.10.8"), Some((3, 10)));
        assert_eq!(major_minor("4.0-rc.1"), Some((4, 0)));
        assert_eq!(major_minor("unknown"), None);
        assert!(major_minor("3.9.1") < major_minor("3.10.0"));
    }
}
