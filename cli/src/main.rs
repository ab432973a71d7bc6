//! `sas`: what operators and module teams type. Parses, calls one command, turns its end into an exit code.

mod command;
mod connect;
mod embedded;
mod exit;
mod installation;
mod output;
mod progress;
mod selection;
mod top;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::connect::SiteArgs;
use crate::exit::ErrorAnswer;
use crate::output::{ColourWhen, Format, note};

/// Operate the stellar analysis cluster, or run a pipeline on this machine.
///
/// Exit codes: 0 all well, 1 failure, 2 usage, 3 not found, 6 a service out of reach, 7 timed out waiting,
/// 8 not all is complete: tasks failed, inputs were missing, files were wrong.
///
/// With `-o json` standard output has the answer alone, and every line of standard error is an object: a log record, `{"note": …}`, or
/// at last `{"error": {"kind", "code", "message", "mistakes"}}`.
#[derive(Debug, Parser)]
#[command(name = "sas", version)]
struct Cli {
    #[command(flatten)]
    site: SiteArgs,
    /// Form of the answer.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
    /// When words are coloured by what they mean.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", visible_alias = "colour")]
    color: ColourWhen,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(command::init::Init),
    Status(command::status::StatusCommand),
    Top(command::status::TopCommand),
    Doctor(command::init::Doctor),
    /// Check and draw pipeline definitions.
    #[command(subcommand)]
    Pipeline(command::pipeline::PipelineCommand),
    /// Take star files into the store.
    Ingest(command::ingest::Ingest),
    /// Dataset events.
    #[command(subcommand)]
    Event(command::event::EventCommand),
    /// Runs: one pipeline over the stars of one event.
    #[command(subcommand)]
    Run(command::run::RunCommand),
    /// Replays: run again what changed, and nothing else; planned in numbers before.
    #[command(subcommand)]
    Replay(command::replay::ReplayCommand),
    /// Tasks: one module for one star in one run.
    #[command(subcommand)]
    Task(command::task::TaskCommand),
    /// Modules of a pipeline: hold them back, in all of its runs, and release them; what a new definition breaks.
    #[command(subcommand)]
    Module(command::module::ModuleCommand),
    /// One star: its tasks, and why they ended as they did.
    #[command(subcommand)]
    Star(command::star::StarCommand),
    /// Workers and their hosts: what they do, which stand out; drain a host, resume it.
    #[command(subcommand)]
    Worker(command::worker::WorkerCommand),
    Export(command::export::ExportTable),
    /// The store: look at every file of it, and make again what is damaged; remove what nobody refers to.
    #[command(subcommand)]
    Store(command::store::StoreCommand),
    /// Queues of the message broker.
    #[command(subcommand)]
    Queue(command::queue::QueueCommand),
    Audit(command::audit::Audit),
    /// Tokens of those who ask a coordinator over HTTP.
    #[command(subcommand)]
    Token(command::token::TokenCommand),
    /// Run a pipeline on this machine in one process: no broker, no Redis.
    Local(command::local::LocalCommand),
    /// Print what a shell needs to complete these commands, as in `source <(sas completions bash)`.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages, one for each command.
    Man {
        /// The directory for them, as in `~/.local/share/man/man1`.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    store::agent::serve_if_asked();
    store::modes::fit_umask();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    output::set_up(cli.output, cli.color);
    let end = start(cli);
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let answer = ErrorAnswer::of(&error);
            output::error(&answer, &answer.message);
            answer.exit_code()
        }
    }
}

/// A command line that makes no sense, or asks for help.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let asks_json = words.windows(2).any(|two| matches!(two[0].as_str(), "-o" | "--output") && two[1] == "json")
        || words.iter().any(|word| matches!(word.as_str(), "-ojson" | "-o=json" | "--output=json"));
    if !error.use_stderr() || !asks_json {
        error.exit();
    }
    output::set_up(Format::Json, ColourWhen::Never);
    let words = error.to_string();
    let answer = ErrorAnswer::usage(words.strip_prefix("error: ").unwrap_or(&words).trim_end().to_owned());
    output::error(&answer, &answer.message);
    answer.exit_code()
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start")?;
    let end = runtime.block_on(run(cli));
    runtime.shutdown_background();
    end
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let (site, format) = (&cli.site, cli.output);
    match cli.command {
        Command::Init(command) => command.run(site, format).await,
        Command::Status(command) => command.run(site, format).await,
        Command::Top(command) => command.run(site).await,
        Command::Doctor(command) => command.run(site, format).await,
        Command::Pipeline(command) => command.run(format),
        Command::Ingest(command) => command.run(site, format).await,
        Command::Event(command) => command.run(site, format).await,
        Command::Run(command) => command.run(site, format).await,
        Command::Replay(command) => command.run(site, format).await,
        Command::Task(command) => command.run(site, format).await,
        Command::Module(command) => command.run(site, format).await,
        Command::Star(command) => command.run(site, format).await,
        Command::Worker(command) => command.run(site, format).await,
        Command::Export(command) => command.run(site, format).await,
        Command::Store(command) => command.run(site, format).await,
        Command::Queue(command) => command.run(site, format).await,
        Command::Audit(command) => command.run(site, format).await,
        Command::Token(command) => command.run(format),
        Command::Local(command) => command.run(site, format).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sas", &mut script);
            output::line(&String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Man { folder } => {
            let wrong = || format!("failed to write manual pages into `{}`", folder.display());
            std::fs::create_dir_all(&folder).with_context(wrong)?;
            clap_mangen::generate_to(Cli::command(), &folder).with_context(wrong)?;
            note(&format!("the manual pages are in `{}`", folder.display()));
            Ok(())
        }
    }
}
