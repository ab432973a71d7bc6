//! Reading a pipeline file and the data model beside it: the only file access of this module.

use std::path::{Path, PathBuf};

use super::load::{Mistakes, data_model_name};
use super::{Pipeline, load};

/// Why a pipeline file gave no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("failed to read `{}`: {reason}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not. Named in the message, which stands alone in lists of mistakes, and so not its source.
        reason: std::io::Error,
    },
    /// It has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

impl LoadError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Read { reason, .. } => reason.kind() == std::io::ErrorKind::NotFound,
            Self::Mistakes(_) => false,
        }
    }
}

/// A pipeline with the texts that it was read from, as a run keeps them.
#[derive(Debug, Clone)]
pub struct DefinitionFile {
    /// What the texts say.
    pub pipeline: Pipeline,
    /// Text of the pipeline file.
    pub text: String,
    /// Text of the data model; empty when the pipeline has none.
    pub data_model: String,
}

/// Reads and checks a pipeline file with the data model that it names.
pub fn load_file(path: &Path) -> Result<Pipeline, LoadError> {
    load_definition(path).map(|definition| definition.pipeline)
}

/// Reads and checks a pipeline file with the data model that it names; keeps both texts.
pub fn load_definition(path: &Path) -> Result<DefinitionFile, LoadError> {
    let read = |path: &Path| std::fs::read_to_string(path);
    let failed = |path: &Path, reason| LoadError::Read { path: path.to_owned(), reason };
    let text = read(path).map_err(|error| failed(path, error))?;
    let data_model = match data_model_name(&text).map(|name| path.parent().unwrap_or(Path::new("")).join(name)) {
        Some(beside) => match read(&beside) {
            Ok(model) => Some(model),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&beside, error)),
        },
        None => None,
    };
    let pipeline = load(&path.display().to_string(), &text, data_model.as_deref())?;
    Ok(DefinitionFile { pipeline, text, data_model: data_model.unwrap_or_default() })
}
