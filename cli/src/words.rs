//! What commands and the progress of a run say of it in the same words.

use coordinator::operate::view::{RunPhase, RunSummary};
use jiff::Timestamp;

/// Stars that are closed.
pub(crate) fn done(run: &RunSummary) -> u32 {
    if run.phase == RunPhase::Ended { run.stars } else { run.stars.saturating_sub(run.to_come + run.in_flight) }
}

/// So many things of a kind.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How long ago something was, in its two largest units.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    lasting(u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0))
}

/// So many seconds in their two largest units: `3h 5m`.
pub(crate) fn lasting(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, length)| seconds >= *length).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in units.iter().skip(first).take(2) {
        if rest >= *length || parts.is_empty() {
            parts.push(format!("{}{unit}", rest / length));
        }
        rest %= length;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_units() {
        let told = [0, 59, 60, 61, 3_600, 3_700, 90_061].map(lasting);
        assert_eq!(told, ["0s", "59s", "1m", "1m 1s", "1h", "1h 1m", "1d 1h"]);
    }
}
