//! What the child does for each request. No state is kept from one to the next.

mod assemble;
mod check;
mod compare;
mod curve;
mod describe;
mod export;
mod import;
mod output;
mod pack;
mod read;
mod said;
mod seal;
mod show;
mod stage;
mod within;

use std::path::Path;

use serde_json::Value;

use super::record::*;
use super::wire::Request;
use super::wire::*;
use crate::budget;
use crate::digest::{ProductProblem, Walked};
use crate::h5::{File, Group, H5Error, Object};
use domain::id::{ProductName, Quarter, StarId};

type AgentResult<T> = Result<T, Refusal>;

/// Does what is asked, within what it may cost.
pub(super) fn perform(request: Request) -> AgentResult<Value> {
    budget::begin(request.is_of_strangers().then(|| sizes(&request.files())));
    match request {
        Request::Manifest { file } => reply(read::manifest(&file)),
        Request::Scalars { wants } => reply(wants.iter().map(read::scalars).collect::<AgentResult<Vec<_>>>()),
        Request::Stage(stage) => reply(stage::stage(&stage)),
        Request::Seal(seal) => reply(seal::seal(*seal)),
        Request::Assemble(star) => reply(assemble::assemble(&star)),
        Request::Import(import) => reply(import::import(&import)),
        Request::Inspect { file } => reply(read::inspect(&file)),
        Request::Digest { at } => reply(read::digest(&at)),
        Request::Show(order) => reply(show::show(&order)),
        Request::Columns { wants } => reply(wants.iter().map(compare::columns).collect::<AgentResult<Vec<_>>>()),
        Request::Compare { pairs } => reply(pairs.iter().map(compare::compare).collect::<AgentResult<Vec<_>>>()),
        Request::Within(ask) => reply(within::within(&ask)),
        Request::Mark(order) => reply(within::mark(&order)),
        Request::Curve(ask) => reply(curve::curve(&ask)),
        Request::Export(order) => reply(export::export(&order)),
        Request::Recorded { file } => reply(describe::recorded(&file)),
    }
}

/// Bytes of these files together.
fn sizes(files: &[std::path::PathBuf]) -> u64 {
    files.iter().filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
}

fn reply(result: AgentResult<impl serde::Serialize>) -> AgentResult<Value> {
    result.map(|value| serde_json::to_value(value).expect("replies have string keys"))
}

fn refuse(kind: RefusalKind, message: String) -> Refusal {
    Refusal { kind, message }
}

/// A file of ours, or a delivered one, cannot be read.
fn damaged(file: &Path) -> impl Fn(H5Error) -> Refusal {
    move |error| refuse(RefusalKind::Damaged, format!("`{}`: {error}", file.display()))
}

/// A file cannot be written.
fn unwritable(file: &Path) -> impl Fn(H5Error) -> Refusal {
    move |error| refuse(RefusalKind::Write, format!("`{}`: {error}", file.display()))
}

/// What the walk over a delivered or committed product ran into.
fn problem(file: &Path) -> impl Fn(ProductProblem) -> Refusal {
    move |problem| {
        let kind = match &problem {
            ProductProblem::Unreadable { .. } | ProductProblem::Forbidden { .. } => RefusalKind::Damaged,
            ProductProblem::Unsupported { .. } => RefusalKind::Unsupported,
            ProductProblem::TooLarge { .. } => RefusalKind::TooLarge,
        };
        refuse(kind, format!("`{}`: {problem}", file.display()))
    }
}

/// Files of so many bytes at most are read at once, where they are read as a whole.
const SMALL: u64 = 1 << 20;

/// Opens a file, telling one that is missing from one that is damaged.
fn open(file: &Path) -> AgentResult<File> {
    open_with(file, |_| File::open(file))
}

/// The same; a small one is read at once, and what it links to cannot be found.
fn open_at_once(file: &Path) -> AgentResult<File> {
    open_with(file, |size| {
        let bytes = if size <= SMALL { std::fs::read(file).ok() } else { None };
        bytes.map_or_else(|| File::open(file), |mut bytes| File::of_bytes(&mut bytes, file))
    })
}

fn open_with(file: &Path, open: impl FnOnce(u64) -> Result<File, H5Error>) -> AgentResult<File> {
    match std::fs::metadata(file) {
        Ok(facts) if facts.is_file() => open(facts.len()).map_err(|error| {
            if error.is_no_hdf5() {
                let size = facts.len();
                return refuse(RefusalKind::Damaged, format!("`{}` is no HDF5 file ({size} bytes)", file.display()));
            }
            damaged(file)(error)
        }),
        Ok(_) => Err(refuse(RefusalKind::Damaged, format!("`{}` is not a regular file", file.display()))),
        Err(error) => Err(refuse(RefusalKind::Missing, format!("`{}`: {error}", file.display()))),
    }
}

/// The group that holds the last name of `path`, and that name.
fn parent_of<'a>(root: Group, path: &'a str, file: &Path) -> AgentResult<(Group, &'a str)> {
    let missing = || refuse(RefusalKind::Missing, format!("`{}` has no {path}", file.display()));
    let mut names = path.trim_start_matches('/').split('/').filter(|name| !name.is_empty());
    let last = names.next_back().ok_or_else(missing)?;
    let mut group = root;
    for name in names {
        if !group.has(name).map_err(damaged(file))? {
            return Err(missing());
        }
        match group.open(name).map_err(damaged(file))? {
            Object::Group(next) => group = next,
            Object::Dataset(_) | Object::Other => return Err(missing()),
        }
    }
    if group.has(last).map_err(damaged(file))? { Ok((group, last)) } else { Err(missing()) }
}

/// The entry that a manifest has for a product that was walked.
fn entry(walked: &Walked) -> ProductEntry {
    ProductEntry {
        digest: walked.digest,
        bytes: walked.bytes,
        not_produced: walked.not_produced.clone(),
        stands_for: None,
        file: None,
        module: None,
    }
}

/// Limits for files that ingestion delivers, which are trusted more than a module's output.
fn delivered() -> OutputLimits {
    OutputLimits { bytes: 64 << 30, objects: 1_000_000, depth: 32 }
}

/// Writes the root attributes that star files, externals and inputs have.
fn set_root(
    root: &Group,
    star: Option<StarId>,
    quarter: Option<Quarter>,
    observed: Option<[f64; 2]>,
) -> Result<(), H5Error> {
    if let Some(star) = star {
        root.set_text("PLATO_ID", &star.to_string())?;
    }
    if let Some(quarter) = quarter {
        root.set_int("QUARTER_NUMBER", u32::from(quarter).into())?;
    }
    if let Some([start, end]) = observed {
        root.set_floats("OBS_START_DATE", &[start])?;
        root.set_floats("OBS_END_DATE", &[end])?;
    }
    Ok(())
}

/// Names of a group that are no product names, which no file of ours may have.
fn product_name(name: &str) -> Result<ProductName, String> {
    name.parse::<ProductName>().map_err(|error| error.to_string())
}
