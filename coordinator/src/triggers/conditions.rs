//! Conditions of triggers: whether a dataset is asked for of a star, by what was delivered for it.

use std::collections::BTreeMap;

use domain::error::chain;
use domain::expression::{EvaluationError, Expression, Known};
use domain::id::{ProductName, Quarter, Sequence, StarId};
use domain::pipeline::Pipeline;
use domain::product::Source;
use store::agent::{Agent, AgentError, At, ReadScalars, WantedScalars};
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
    let mut known: BTreeMap<&Source, ReadScalars> = BTreeMap::new();
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
    Ok(value_of(condition, &known).unwrap_or_else(|error| {
        tracing::warn!(%star, %quarter, %error, condition = condition.text(), "a trigger's condition cannot be evaluated");
        true
    }))
}

/// The value of a condition by what was read.
fn value_of(condition: &Expression, read: &BTreeMap<&Source, ReadScalars>) -> Result<bool, EvaluationError> {
    let known = |source: &Source| read.get(source).map_or(Known::Absent, |read| Known::Made(&read.scalars));
    condition.evaluate_or_say(&known, &|source| read.get(source).map(|read| &read.others))
}

/// Reads what a condition looks at from one file, where no file before had it.
async fn columns<'a>(
    agent: &mut Agent,
    pipeline: &Pipeline,
    condition: &'a Expression,
    file: &std::path::Path,
    known: &mut BTreeMap<&'a Source, ReadScalars>,
) -> Result<(), AgentError> {
    let manifest = agent.manifest(file).await?;
    for source in condition.reads().iter().map(|read| &read.source) {
        let spelled = spellings(pipeline, &source.product).find(|name| manifest.externals.contains_key(*name));
        if let (Some(spelled), false) = (spelled, known.contains_key(source)) {
            let at = At { file: file.to_owned(), path: format!("/EXTERNALS/{spelled}") };
            let wants = vec![WantedScalars { at, columns: condition.columns_of(source) }];
            let read = agent.scalars(wants).await?.into_iter().next().unwrap_or_default();
            known.insert(source, read);
        }
    }
    Ok(())
}

/// The names under which a product may have been delivered.
fn spellings<'a>(pipeline: &'a Pipeline, product: &'a ProductName) -> impl Iterator<Item = &'a ProductName> {
    let aliases = pipeline.aliases.iter().filter(move |(_, name)| *name == product).map(|(alias, _)| alias);
    std::iter::once(product).chain(aliases)
}

#[cfg(test)]
mod tests {
    use domain::pipeline::load;

    use super::*;

    #[test]
    fn of_a_column_that_is_no_scalar_the_shape_is_said() {
        let text = "name = 'P'\nversion = '1'\n[externals]\nstar = ['FLAG']\n[trigger]\non = 'l1/lc & exo/kit'\n\
                    only_if = { 'exo/kit' = 'P.FLAG.flag' }\n[classes.default]\ncpus = 1\nmemory = '1GB'\n[modules.A]\n\
                    image = 'i'\nclass = 'default'\ntime_limit = '1m'\noutputs.mandatory = ['PA']\n";
        let pipeline = load("p.toml", text, None).unwrap();
        let condition = pipeline.trigger.only_if.values().next().unwrap();
        let others = BTreeMap::from([("flag".to_owned(), "int8 of shape [2]".to_owned())]);
        let read = BTreeMap::from([(&condition.reads()[0].source, ReadScalars { scalars: BTreeMap::new(), others })]);
        let error = value_of(condition, &read).unwrap_err().to_string();
        assert_eq!(error, "FLAG has no scalar column `flag`; FLAG has `flag` (int8 of shape [2])");
    }
}
