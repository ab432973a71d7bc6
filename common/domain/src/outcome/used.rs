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
    /// Whether this is what it had used when it was last looked at while it ran, so that what came after is not in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

impl UsedResources {
    /// Whether nothing was measured.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}
