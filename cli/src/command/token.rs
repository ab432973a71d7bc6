//! `sas token`: tokens of those who ask a coordinator over HTTP.

use clap::builder::TypedValueParser;
use clap::{Subcommand, builder::PossibleValuesParser};
use coordinator::tokens::{NewToken, Role, issue};

use crate::exit::usage;
use crate::output::Format;

/// What they may do.
const ROLES: [&str; 3] = ["viewer", "ingestion", "operator"];

/// Tokens of those who ask a coordinator over HTTP.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token. It is shown once; the file that `[http] tokens` names gets a line with its hash.
    New {
        /// Who gets it; goes on record with what is done with it.
        name: String,
        /// What it is good for: to look; also to publish events; everything.
        #[arg(long, value_parser = PossibleValuesParser::new(ROLES).try_map(|role| role.parse::<Role>()))]
        role: Role,
    },
}

impl TokenCommand {
    pub(crate) fn run(self, format: Format) -> anyhow::Result<()> {
        let Self::New { name, role } = self;
        let made = issue(&name, role).map_err(|error| usage(error.to_string()))?;
        format.print(&made, words);
        Ok(())
    }
}

fn words(NewToken { token, line }: &NewToken) -> String {
    format!(
        "{token}\n\nis the token; it is shown this once. Append this line to the file that `[http] tokens` names:\n\n{line}"
    )
}
