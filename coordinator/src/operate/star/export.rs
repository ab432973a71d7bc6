//! One file of a generation and everything that it links to, for machines that have no store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use domain::id::{Generation, Quarter, StarId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::agent::Export;
use store::paths;

use super::{FoundQuarter, OneGeneration};
use crate::operate::{Context, ErrorKind, OperateError};

/// A generation to take along.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportStar {
    /// Which.
    pub which: OneGeneration,
    /// The file to write; it must not be there.
    pub to: PathBuf,
}

/// A generation that was taken along.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The generation.
    pub generation: Generation,
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Writes a generation with everything that it links to into one file.
pub async fn export(context: &Context, asked: ExportStar) -> Result<Exported, OperateError> {
    let ExportStar { which, to } = asked;
    if to.symlink_metadata().is_ok() {
        let reason = format!("`{}` is there already: name a file that is not, or remove it", to.display());
        return Err(OperateError::refused(reason));
    }
    let found = FoundQuarter::find(context, which.place()).await?;
    let mut agent = context.readers.lend().await?;
    let (generation, manifest) = found.read(context, &mut agent, which.generation).await?;
    let view = found.place(context).look(&mut **agent).await?;
    let choice = view.map(|view| view.choice).ok_or_else(|| OperateError::not_found("its generations are gone"))?;
    let entries = manifest.products.values().chain(manifest.externals.values());
    let files: BTreeSet<PathBuf> =
        entries.filter_map(|entry| paths::of_star(found.star, entry.file.as_deref()?)).collect();
    let source = paths::generation(found.star, found.quarter, generation);
    let from = context.store.at(&source).display().to_string();
    let dest = agent.options().writable.join(format!("{}.h5", uuid::Uuid::new_v4()));
    let order = Export {
        store: context.store.root().to_owned(),
        star: found.star,
        generation: context.store.at(&source),
        newest: context.store.at(paths::generation(found.star, found.quarter, choice.newest)),
        last_complete: choice.last_complete,
        reads: files.into_iter().map(|file| context.store.at(file)).collect(),
        attributes: BTreeMap::from([
            ("EXPORTED_FROM".to_owned(), from),
            ("EXPORTED_AT".to_owned(), Timestamp::now().to_string()),
            ("EXPORTED_BY".to_owned(), context.operator.clone()),
        ]),
        dest: dest.clone(),
    };
    let exported = agent.export(order).await;
    let taken = exported.map_err(OperateError::from).and_then(|()| take(&dest, &to));
    let _ = tokio::fs::remove_file(&dest).await;
    Ok(Exported { star: found.star, quarter: found.quarter, generation, file: to, bytes: taken? })
}

/// Takes the file to where it is wanted; it is whole there or not at all.
fn take(made: &Path, to: &Path) -> Result<u64, OperateError> {
    let failed = |source: std::io::Error| {
        OperateError::new(ErrorKind::Failed, format!("failed to write `{}`: {source}", to.display()))
    };
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", uuid::Uuid::new_v4()));
    let part = to.with_file_name(name);
    let taken = std::fs::copy(made, &part).and_then(|bytes| std::fs::rename(&part, to).map(|()| bytes));
    if taken.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    taken.map_err(failed)
}
