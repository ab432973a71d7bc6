//! Who decides: the name that goes on record with a decision.

use worker::config::WorkerConfig;

/// The person at the terminal, as far as the environment says, and the host.
pub(crate) fn operator() -> String {
    let named = ["SAS_OPERATOR", "SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = named.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", WorkerConfig::default().host())
}
