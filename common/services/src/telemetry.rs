//! Where log records go: stderr, for people or as JSON. Set up once, in `main`.
//!
//! What records say of files, modules and messages is from outside: it is escaped before it reaches a terminal.

use std::fmt::Debug;
use std::io::{self, IsTerminal, Write};

use domain::text::{shown, shown_json};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::config::{LogConfig, LogFormat};

/// Starts logging. `RUST_LOG` wins over the configured filter; a filter that does not parse is an error that says where.
pub fn start(config: &LogConfig) -> Result<(), ParseError> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) if !text.is_empty() => text.parse()?,
        Ok(_) | Err(_) => config.filter.parse::<EnvFilter>()?,
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    // A second call, as tests make, changes nothing.
    let _ = match config.format {
        LogFormat::Human => subscriber
            .with_writer(io::stderr)
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => subscriber
            .with_writer(|| JsonWriter(io::stderr()))
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .try_init(),
    };
    Ok(())
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", shown(&value)),
        name => write!(writer, "{name}={}", shown(&value)),
    }
}

/// Writes JSON with what a terminal could obey as escapes of JSON.
struct JsonWriter<W>(W);

impl<W: Write> Write for JsonWriter<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.write_all(shown_json(&String::from_utf8_lossy(record)).as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
