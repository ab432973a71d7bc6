//! `sas pipeline`: checks and draws definitions. Needs no service.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use coordinator::operate::OperateError;
use domain::pipeline::{Mistake, Pipeline, circles, draw};
use domain::text::shown;
use serde::Serialize;
use services::definition::{LoadError, load_file};

use crate::output::{Format, line, note, table};

/// Pipeline definitions.
#[derive(Debug, Subcommand)]
pub(crate) enum PipelineCommand {
    /// Check definitions: every mistake at once, by file, module and product.
    Check {
        /// Pipeline files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Draw the graph that follows from the contracts.
    Graph {
        /// Pipeline file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Language of the drawing.
        #[arg(long, value_enum, default_value_t)]
        format: Language,
    },
}

/// Languages of drawings.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Language {
    /// For Graphviz.
    #[default]
    Dot,
    /// For Mermaid.
    Mermaid,
}

#[derive(Debug, Serialize)]
struct CheckedFile {
    file: PathBuf,
    pipeline: Option<String>,
    version: Option<String>,
    /// What starts it.
    trigger: Option<String>,
    /// The dataset that its results are, if they start others.
    publishes: Option<String>,
    modules: usize,
    mistakes: Vec<Mistake>,
    /// What is odd but allowed.
    warnings: Vec<String>,
    #[serde(skip)]
    is_missing: bool,
}

impl PipelineCommand {
    pub(crate) fn run(self, output: Format) -> anyhow::Result<()> {
        match self {
            Self::Check { files } => check(&files, output),
            Self::Graph { file, format } => {
                let pipeline = load_file(&file)?;
                let drawing = match format {
                    Language::Dot => draw::dot(&pipeline),
                    Language::Mermaid => draw::mermaid(&pipeline),
                };
                line(drawing.trim_end());
                Ok(())
            }
        }
    }
}

fn check(files: &[PathBuf], output: Format) -> anyhow::Result<()> {
    let mut loaded = Vec::new();
    let mut answers: Vec<CheckedFile> = files.iter().map(|file| check_one(file, &mut loaded)).collect();
    // What is wrong with several of them together, or with one that starts itself.
    let together = circles(&loaded).into_iter().map(|message| Mistake { place: None, message });
    if let Some(last) = answers.last_mut() {
        last.mistakes.extend(together);
    }
    output.print_list(&answers, |answers| {
        let mut table = table(["FILE", "PIPELINE", "MODULES", "MISTAKES", "STARTED BY"]);
        for checked in answers {
            let name = [checked.pipeline.as_deref().unwrap_or("-"), checked.version.as_deref().unwrap_or("")].join(" ");
            let counts = [checked.modules.to_string(), checked.mistakes.len().to_string()];
            let trigger = checked.trigger.clone().unwrap_or_default();
            table.add_row([checked.file.display().to_string(), name].into_iter().chain(counts).chain([trigger]));
        }
        table
    });
    for CheckedFile { file, mistakes, warnings, .. } in &answers {
        let file = shown(&file.display().to_string()).into_owned();
        warnings.iter().for_each(|warning| note(&format!("warning: {file}: {warning}")));
        for Mistake { place, message } in mistakes {
            let place = place.map(|place| format!("{place}:")).unwrap_or_default();
            note(&format!("{file}:{place} {message}"));
        }
    }
    let wrong = answers.iter().filter(|checked| !checked.mistakes.is_empty()).count();
    let missing = answers.iter().filter(|checked| checked.is_missing).count();
    if missing > 0 && missing == wrong {
        return Err(OperateError::not_found(format!("{missing} of {} definitions are not there", answers.len())).into());
    }
    anyhow::ensure!(wrong == 0, "{wrong} of {} definitions have mistakes", answers.len());
    Ok(())
}

/// Checks a file; a pipeline without mistakes joins `loaded`.
fn check_one(file: &Path, loaded: &mut Vec<Pipeline>) -> CheckedFile {
    let file = file.to_owned();
    match load_file(&file) {
        Ok(pipeline) => {
            let checked = CheckedFile {
                file,
                pipeline: Some(pipeline.name.to_string()),
                trigger: Some(pipeline.trigger.to_string()),
                publishes: pipeline.publishes.as_ref().map(|publishes| publishes.dataset.to_string()),
                modules: pipeline.modules.len(),
                mistakes: Vec::new(),
                warnings: pipeline.odd_units(),
                version: Some(pipeline.version.clone()),
                is_missing: false,
            };
            loaded.push(pipeline);
            checked
        }
        Err(error) => {
            let is_missing = error.is_missing();
            let mistakes = match error {
                LoadError::Mistakes(found) => found.mistakes,
                LoadError::Read { .. } => vec![Mistake { place: None, message: error.to_string() }],
            };
            CheckedFile {
                file,
                pipeline: None,
                version: None,
                trigger: None,
                publishes: None,
                modules: 0,
                mistakes,
                warnings: Vec::new(),
                is_missing,
            }
        }
    }
}
