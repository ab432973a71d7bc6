//! Values of SHA-256 that name contents.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{InvalidName, as_text};

macro_rules! hash_value {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        as_text!($name, "^[0-9a-fA-F]{64}$");

        impl $name {
            /// The value with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(&self.0[..6]))
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| InvalidName::new(stringify!($name), "64 hexadecimal digits", text))?;
                Ok(Self(bytes))
            }
        }
    };
}

hash_value!(
    /// SHA-256 over the canonical walk of a product: equal values have equal digests, whatever file they lie in.
    Digest
);
hash_value!(
    /// Content address of a committed result: SHA-256 over everything that determined it.
    Key
);
hash_value!(
    /// What somebody ordered a replay to run: SHA-256 over the order.
    ReplayId
);
hash_value!(
    /// What determined a star's results in a run: SHA-256 over definitions and inputs. Equal fingerprints, equal results.
    Fingerprint
);
