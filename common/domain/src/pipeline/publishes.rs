//! What a pipeline's results are to others: a dataset, whose events start the pipelines that name it.
//!
//! Pure. Pipelines that start each other in a circle are found by [`circles`].

use std::collections::BTreeSet;

use super::definition::RawPublishes;
use super::names::{Names, parse, parse_all};
use super::{Pipeline, PublishTime};
use crate::id::{DatasetName, PipelineName, ProductName};

/// The dataset that a pipeline's results are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishes {
    /// The dataset.
    pub dataset: DatasetName,
    /// When its stars are announced.
    pub when: PublishTime,
    /// Products that become a version of the dataset: externals to whoever reads them. None: an event alone.
    pub products: BTreeSet<ProductName>,
}

/// Checks what a definition publishes; every mistake begins with the field.
pub(super) fn check(raw: &RawPublishes, names: &Names, mistakes: &mut Vec<String>) -> Option<Publishes> {
    let dataset = parse(&raw.dataset, "publishes.dataset", mistakes);
    let listed: BTreeSet<ProductName> = parse_all(&raw.products, "publishes.products", mistakes);
    let products: BTreeSet<ProductName> = listed.into_iter().map(|product| names.canonical(product)).collect();
    for product in products.iter().filter(|product| !names.producers.contains_key(*product)) {
        mistakes.push(format!("publishes.products: `{product}` is not made by any module"));
    }
    Some(Publishes { dataset: dataset?, when: raw.when, products })
}

/// The pipelines that start each other in circles by what they publish, a line for each circle.
pub fn circles(pipelines: &[Pipeline]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for pipeline in pipelines {
        let mut path = vec![pipeline];
        walk(pipelines, &mut path, &mut found);
    }
    found.into_iter().map(|circle| worded(pipelines, &circle)).collect()
}

/// Pipelines in the order in which each starts the next, and the last the first.
type Circle = Vec<PipelineName>;

fn walk<'a>(pipelines: &'a [Pipeline], path: &mut Vec<&'a Pipeline>, found: &mut BTreeSet<Circle>) {
    let Some(published) = path.last().and_then(|last| last.publishes.as_ref()) else { return };
    for next in pipelines.iter().filter(|next| next.trigger.on.datasets().any(|dataset| *dataset == published.dataset))
    {
        match path.iter().position(|passed| passed.name == next.name) {
            Some(at) => {
                let mut circle: Circle = path[at..].iter().map(|passed| passed.name.clone()).collect();
                // The same circle is found from each of its pipelines.
                let least = (0..circle.len()).min_by_key(|at| &circle[*at]).unwrap_or(0);
                circle.rotate_left(least);
                found.insert(circle);
            }
            None => {
                path.push(next);
                walk(pipelines, path, found);
                path.pop();
            }
        }
    }
}

fn worded(pipelines: &[Pipeline], circle: &Circle) -> String {
    let published = |name: &PipelineName| {
        let dataset =
            pipelines.iter().find(|pipeline| pipeline.name == *name).and_then(|found| found.publishes.as_ref());
        dataset.map(|publishes| publishes.dataset.to_string()).unwrap_or_default()
    };
    let next = circle.iter().cycle().skip(1);
    let links: Vec<String> = circle
        .iter()
        .zip(next)
        .map(|(name, next)| format!("{name} publishes {}, which starts {next}", published(name)))
        .collect();
    format!("pipelines start each other without end: {}", links.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::load;

    fn pipeline(name: &str, trigger: &str, publishes: &str) -> Pipeline {
        let text = format!(
            "name = '{name}'\nversion = '1'\ntrigger = '{trigger}'\n{publishes}\n[modules.M]\nimage = 'i'\n\
             outputs.mandatory = ['X']\n"
        );
        load("p.toml", &text, None).unwrap()
    }

    #[test]
    fn pipelines_that_start_each_other_are_found_once() {
        let publishes = |dataset: &str| format!("publishes = {{ dataset = '{dataset}' }}");
        let chain = [
            pipeline("A", "l1/lc", &publishes("a/out")),
            pipeline("B", "a/out & l1/lc", &publishes("b/out")),
            pipeline("C", "b/out", ""),
        ];
        assert!(circles(&chain).is_empty());
        let [a, b, _] = chain;
        let round =
            [a, b, pipeline("C", "b/out", &publishes("c/out")), pipeline("D", "c/out | x", &publishes("a/out"))];
        let found = circles(&round);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("B publishes b/out, which starts C, C publishes c/out"), "{found:?}");
        let own = [pipeline("A", "a/out", &publishes("a/out"))];
        assert!(circles(&own)[0].contains("A publishes a/out, which starts A"));
    }

    #[test]
    fn what_is_published_must_be_made() {
        let text = "name = 'P'\nversion = '1'\ntrigger = 'a'\n[publishes]\ndataset = 'p/out'\nwhen = 'star'\n\
                    products = ['X', 'Y']\n[modules.M]\nimage = 'i'\noutputs.mandatory = ['X']\n";
        let error = load("p.toml", text, None).unwrap_err().to_string();
        assert!(error.contains("7:18: publishes.products: `Y` is not made by any module"), "{error}");
        let loaded = load("p.toml", &text.replace(", 'Y'", ""), None).unwrap();
        let publishes = loaded.publishes.unwrap();
        assert_eq!((publishes.when, publishes.products.len()), (PublishTime::Star, 1));
    }
}
