//! Where log records go: stderr, for people or as JSON. Set up once, in `main`.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, ParseError};

use crate::config::{LogConfig, LogFormat};

/// Starts logging. `RUST_LOG` wins over the configured filter; a filter that does not parse is an error that says where.
pub fn start(config: &LogConfig) -> Result<(), ParseError> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) if !text.is_empty() => text.parse()?,
        Ok(_) | Err(_) => config.filter.parse::<EnvFilter>()?,
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as tests make, changes nothing.
    let _ = match config.format {
        LogFormat::Human => subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(true).try_init(),
    };
    Ok(())
}
