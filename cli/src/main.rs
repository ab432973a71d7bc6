//! `sas`: what operators and module teams type. Parses, calls one command, turns its end into an exit code.

mod command;
mod connect;
mod embedded;
mod exit;
mod installation;
mod output;
mod progress;
mod selection;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::connect::Site;
use crate::output::{Format, note};

/// Operate the stellar analysis cluster, or run a pipeline on this machine.
///
/// Exit codes: 0 all well, 1 failure, 2 usage, 3 not found, 6 a service out of reach, 7 timed out waiting,
/// 8 not all is complete: tasks failed, inputs were missing, files were wrong.
#[derive(Debug, Parser)]
#[command(name = "sas", version)]
struct Cli {
    #[command(flatten)]
    site: Site,
    /// Form of the answer.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prepare an installation, or look whether it is well: store, queues, services, pipelines, images.
    Init(command::init::Init),
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
    /// Tasks: one module for one star in one run.
    #[command(subcommand)]
    Task(command::task::TaskCommand),
    /// Modules of a pipeline: hold them back, in all of its runs, and release them.
    #[command(subcommand)]
    Module(command::module::ModuleCommand),
    /// One star: its tasks, and why they ended as they did.
    #[command(subcommand)]
    Star(command::star::StarCommand),
    /// Workers and their hosts: what they do, which stand out; drain a host, resume it.
    #[command(subcommand)]
    Worker(command::worker::WorkerCommand),
    Export(command::export::ExportTable),
    /// Queues of the message broker.
    #[command(subcommand)]
    Queue(command::queue::QueueCommand),
    /// Run a pipeline on this machine in one process: no broker, no Redis.
    Local(command::local::LocalCommand),
}

fn main() -> ExitCode {
    store::agent::serve_if_asked();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(&format!("error: failed to start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let end = runtime.block_on(run(cli));
    runtime.shutdown_background();
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {error:#}"));
            exit::code(&error)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let (site, format) = (&cli.site, cli.output);
    match cli.command {
        Command::Init(command) => command.run(site, format).await,
        Command::Pipeline(command) => command.run(format),
        Command::Ingest(command) => command.run(site, format).await,
        Command::Event(command) => command.run(site, format).await,
        Command::Run(command) => command.run(site, format).await,
        Command::Task(command) => command.run(site, format).await,
        Command::Module(command) => command.run(site, format).await,
        Command::Star(command) => command.run(site, format).await,
        Command::Worker(command) => command.run(site, format).await,
        Command::Export(command) => command.run(site, format).await,
        Command::Queue(command) => command.run(site, format).await,
        Command::Local(command) => command.run(site, format).await,
    }
}
