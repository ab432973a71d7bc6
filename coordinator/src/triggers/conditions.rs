//! Conditions of triggers: whether a dataset is asked for of a star, by what was delivered for it.

use std::collections::BTreeMap;

use domain::error::chain;
use domain::expression::{Expression, Known, Scalar};
use domain::id::{ProductName, Quarter, Sequence, StarId};
use domain::pipeline::Pipeline;
use domain::product::Source;
use store::agent::{Agent, AgentError, At};
use store::{Store, paths};

use crate::trouble::Trouble;

/// Whether a condition over what was delivered for a star holds. One that cannot be evaluated does: its dataset is waited for.
pub(super) async fn holds(
    store: &Store,
    agent: &mut Agent,
    pipeline: &Pipeline,
    condition: &Expression,
    (star, quarter): (StarId, Quarter),
) -> Result<bool, Trouble> {
    let everything = Sequence(u64::MAX);
    let names = store.ask(move |store| store.externals(star, quarter, everything)).await?;
    let mut known: BTreeMap<&Source, BTreeMap<String, Scalar>> = BTreeMap::new();
    for name in names.iter().filter(|name| !paths::is_shared(name)) {
        let Some(file) = paths::of_star(star, name) else { continue };
        let file = store.at(file);
        let found = columns(agent, pipeline, condition, &file, &mut known).await;
        match found {
            Ok(()) => {}
            Err(error @ AgentError::Start { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%star, %quarter, error = chain(&error), "what a trigger asks cannot be read");
                return Ok(true);
            }
        }
    }
    let value = condition.evaluate(&|source| known.get(source).map_or(Known::Absent, Known::Made));
    Ok(value.unwrap_or_else(|error| {
        tracing::warn!(%star, %quarter, %error, condition = condition.text(), "a trigger's condition cannot be evaluated");
        true
    }))
}

/// Reads what a condition looks at from one file, where no file before had it.
async fn columns<'a>(
    agent: &mut Agent,
    pipeline: &Pipeline,
    condition: &'a Expression,
    file: &std::path::Path,
    known: &mut BTreeMap<&'a Source, BTreeMap<String, Scalar>>,
) -> Result<(), AgentError> {
    let manifest = agent.manifest(file).await?;
    for source in condition.reads().iter().map(|read| &read.source) {
        let spelled = spellings(pipeline, &source.product).find(|name| manifest.externals.contains_key(*name));
        if let (Some(spelled), false) = (spelled, known.contains_key(source)) {
            let at = At { file: file.to_owned(), path: format!("/EXTERNALS/{spelled}") };
            let columns = agent.scalars(vec![at]).await?;
            known.insert(source, columns.into_iter().flatten().collect());
        }
    }
    Ok(())
}

/// The names under which a product may have been delivered.
fn spellings<'a>(pipeline: &'a Pipeline, product: &'a ProductName) -> impl Iterator<Item = &'a ProductName> {
    let aliases = pipeline.aliases.iter().filter(move |(_, name)| *name == product).map(|(alias, _)| alias);
    std::iter::once(product).chain(aliases)
}
