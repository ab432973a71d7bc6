//! Reads a pipeline file and the data model beside it.

use std::path::{Path, PathBuf};

use domain::pipeline::{Mistakes, Pipeline, data_model_name, load_after};

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

/// Reads and checks a pipeline file with the data model that it names.
pub fn load_file(path: &Path) -> Result<Pipeline, LoadError> {
    load_file_after(path, None)
}

/// The same of one that is only compared with the definition before.
pub fn load_file_after(path: &Path, before: Option<&Pipeline>) -> Result<Pipeline, LoadError> {
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
    Ok(load_after(&path.display().to_string(), &text, data_model.as_deref(), before)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_definitions_are_right() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/pipelines");
        let seismic = load_file(&directory.join("seismic.toml")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(seismic.modules.len(), 11);
        let whole = load_file(&directory.join("sas-pip.toml")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(whole.modules.len(), 34);
        assert_eq!(whole.modules.iter().filter(|module| !module.enabled).count(), 4);
        // What comes before it starts it, and it starts what comes after it.
        let [before, after] = ["sas-pdx.toml", "sas-post.toml"]
            .map(|file| load_file(&directory.join(file)).unwrap_or_else(|error| panic!("{error}")));
        let published = |pipeline: &Pipeline| pipeline.publishes.as_ref().map(|publishes| publishes.dataset.clone());
        assert_eq!(published(&before).as_ref(), whole.trigger.plain());
        assert_eq!(published(&whole).as_ref(), after.trigger.plain());
        assert!(!before.star_file && !after.star_file && published(&after).is_none());
        let given = whole.publishes.as_ref().map(|publishes| publishes.products.clone());
        assert_eq!(given.as_ref(), Some(&after.star_externals));
        let frozen = before.publishes.as_ref().map(|publishes| publishes.products.clone());
        assert_eq!(frozen.as_ref(), Some(&whole.star_externals));
        assert!(domain::pipeline::circles(&[before, whole, after, seismic]).is_empty());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load_file(Path::new("/nowhere/p.toml")).unwrap_err().to_string();
        assert!(error.starts_with("failed to read `/nowhere/p.toml`: No such file"), "{error}");
    }
}
