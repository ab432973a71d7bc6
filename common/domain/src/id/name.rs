//! Names that people give: parsed once, safe in paths, keys and messages afterwards.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InvalidName;

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $pattern:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = $pattern))]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName::new($what, $expected, text))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

text_name!(
    /// A module of a pipeline (`MSAP3_04`).
    ModuleName,
    "module name",
    "1 to 64 letters, digits, `_` or `-`",
    r"^[A-Za-z0-9_-]{1,64}$",
    is_word
);
text_name!(
    /// A resource class (`default`, `heavy`); part of a queue's name.
    ClassName,
    "class name",
    "1 to 64 letters, digits, `_` or `-`",
    r"^[A-Za-z0-9_-]{1,64}$",
    is_word
);
text_name!(
    /// A pipeline (`SAS-PIP`).
    PipelineName,
    "pipeline name",
    "1 to 64 letters, digits, `_` or `-`",
    r"^[A-Za-z0-9_-]{1,64}$",
    is_word
);
text_name!(
    /// A dataset (`l1/lightcurve`): words joined by slashes.
    DatasetName,
    "dataset name",
    "words of letters, digits, `_` or `-`, joined by slashes, 100 characters at most",
    r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64})*$",
    |text| text.len() <= 100 && text.split('/').all(is_word)
);
text_name!(
    /// A product or external. As messy as in real life (brackets, spaces, a trailing space), but one HDF5 link name.
    ProductName,
    "product name",
    "1 to 200 bytes without `/`, `@` or control characters, not `.` or `..`",
    r"^[^/@\x00-\x1f\x7f-\x9f]+$",
    |text| {
        (1..=200).contains(&text.len())
            && text != "."
            && text != ".."
            && !text.contains(|c: char| c == '/' || c == '@' || c.is_control())
    }
);

text_name!(
    /// A group of modules (`MSAP3`); what a run can be limited to, and how drawings are divided.
    GroupName,
    "group name",
    "printable characters, at least one",
    r"^[^\x00-\x1f\x7f-\x9f]+$",
    is_line
);
text_name!(
    /// A host that workers run on, as they are configured to call it.
    HostName,
    "host name",
    "1 to 253 letters, digits, `.`, `_` or `-`, not beginning with `.`",
    r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}$",
    |text| {
        (1..=253).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }
);
text_name!(
    /// A worker: its host's name and a random part, so that no other has the same.
    WorkerName,
    "worker name",
    "printable characters, at least one",
    r"^[^\x00-\x1f\x7f-\x9f]+$",
    is_line
);
text_name!(
    /// An image as a pipeline names it (`registry.example/sas/msap3_04:2.1`).
    ImageName,
    "image name",
    "printable characters, at least one",
    r"^[^\x00-\x1f\x7f-\x9f]+$",
    is_line
);
text_name!(
    /// What an image's name stands for in a run: its repository digest if it has one, else its image id.
    ImageIdentity,
    "image identity",
    "printable characters, at least one",
    r"^[^\x00-\x1f\x7f-\x9f]+$",
    is_line
);

impl WorkerName {
    /// The host that it runs on: the name without its random part.
    pub fn host(&self) -> &str {
        let is_random = |part: &str| part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.0.rsplit_once('-').filter(|(_, part)| is_random(part)).map_or(&self.0, |(host, _)| host)
    }
}

impl DatasetName {
    /// The name with its slashes as dots, for use in a file name; no dataset name contains a dot.
    pub fn in_file_name(&self) -> String {
        self.0.replace('/', ".")
    }
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}
