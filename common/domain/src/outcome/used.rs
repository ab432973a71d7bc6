//! What a program used of its host. Pure data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a program used, as far as it was measured: `None` is not measured, never nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct UsedResources {
    /// Milliseconds of CPU, those of processes that it started and waited for included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Most bytes of memory at one time: of its largest process, or of its whole container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// Bytes read from disks; what the kernel had in memory is not read from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written to disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// Whether it was looked at while it ran, so that what came after, or what other processes did for it, is not in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

impl UsedResources {
    /// Whether nothing was measured.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// What a program that goes on used since it was looked at `before`; how much memory at one time since then nobody can tell.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let more = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before.unwrap_or(0)));
        Self {
            cpu_ms: more(self.cpu_ms, before.cpu_ms),
            peak_memory: None,
            read: more(self.read, before.read),
            written: more(self.written, before.written),
            at_least: self.at_least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_looks_is_the_difference_and_what_is_not_told_stays_unknown() {
        let look =
            |cpu_ms, written, peak_memory| UsedResources { cpu_ms, written, peak_memory, ..UsedResources::default() };
        let since = look(Some(150), Some(7), Some(9)).since(look(Some(100), None, Some(8)));
        assert_eq!(since, look(Some(50), Some(7), None), "what was not told before had not begun");
        assert!(UsedResources::default().since(look(Some(100), Some(1), None)).is_unknown(), "it is gone");
    }
}
