//! Contracts in image labels: what an image says of the modules that it plays, put in the place of what a pipeline file says.
//!
//! Pure. A label holds TOML: `[modules.NAME]` as in a pipeline file and, if it likes, `[products.NAME.columns]` as in a data model.

use toml::{Table, Value};

use super::{Mistakes, Pipeline, load_after};
use crate::id::ImageName;

/// The label of an image that holds the contract of the modules that it plays.
pub const CONTRACT_LABEL: &str = "sas.contract";

/// What the contract alone says of a module: what it does not name is not there, whatever the pipeline file says. Of all else the
/// pipeline file's word stands where the contract has none.
const CONTRACT: [&str; 4] = ["command", "inputs", "outputs", "run_if"];

/// Why a contract does not fit into a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The label is not what it must be.
    #[error("label {CONTRACT_LABEL} of image `{image}`: {reason}")]
    Label {
        /// The image.
        image: ImageName,
        /// Why, in words.
        reason: String,
    },
    /// The pipeline has mistakes with it.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

impl Pipeline {
    /// The same with those of its modules that the contract of an image describes, made by that image. Where it is only compared,
    /// modules may still read what there was `before`.
    pub fn with_contract(
        &self,
        image: &ImageName,
        contract: &str,
        before: Option<&Pipeline>,
    ) -> Result<Self, ContractError> {
        let wrong = |reason: String| ContractError::Label { image: image.clone(), reason };
        let mut contract: Table = contract.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        let [modules, products] = ["modules", "products"].map(|name| contract.remove(name));
        if let Some(name) = contract.keys().next() {
            return Err(wrong(format!("{name}: expected `[modules.NAME]` and `[products.NAME.columns]` only")));
        }
        let Some(Value::Table(modules)) = modules else {
            return Err(wrong("modules: expected at least one `[modules.NAME]`, as in a pipeline file".to_owned()));
        };
        // Both were read before.
        let mut definition: Table = self.definition.parse().unwrap_or_default();
        let mut model: Table = self.data_model.parse().unwrap_or_default();
        let known = definition.get_mut("modules").and_then(Value::as_table_mut);
        let mut known = known.map(|known| known.iter_mut()).into_iter().flatten();
        let mut is_used = false;
        while let Some((name, Value::Table(module))) = known.next() {
            let Some(Value::Table(of_image)) = modules.get(name) else { continue };
            is_used = true;
            CONTRACT.iter().for_each(|key| drop(module.remove(*key)));
            module.extend(of_image.clone());
            module.insert("image".to_owned(), Value::from(image.as_str()));
        }
        if !is_used {
            let names: Vec<&str> = modules.keys().map(String::as_str).collect();
            let (name, version) = (&self.name, &self.version);
            return Err(wrong(format!("pipeline {name} {version} has no module {}", names.join(", "))));
        }
        if let Some(Value::Table(products)) = products {
            let all = model.entry("products").or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(all) = all {
                all.extend(products);
            }
            definition.entry("data_model").or_insert_with(|| Value::from("products.toml"));
        }
        let file = format!("{} with the contract of image `{image}`", self.name);
        let model = model.to_string();
        let model = Some(model.as_str()).filter(|model| !model.is_empty());
        Ok(load_after(&file, &definition.to_string(), model, before)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::compare;
    use crate::pipeline::load;

    const PIPELINE: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\n[externals]\nstar = ['LC']\n\
        [classes.heavy]\ncpus = 1\nmemory = '1GB'\n\
        [modules.A]\nimage = 'a:1'\nclass = 'heavy'\ninputs.mandatory = ['LC']\noutputs.mandatory = ['X', 'Y']\n\
        [modules.B]\nimage = 'b:1'\nclass = 'heavy'\ninputs.mandatory = ['Y']\noutputs.mandatory = ['Z']\n";

    fn check(contract: &str) -> Result<Pipeline, String> {
        let pipeline = load("p.toml", PIPELINE, None).unwrap();
        pipeline.with_contract(&"a:2".parse().unwrap(), contract, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_module_is_what_its_image_says_and_runs_as_the_pipeline_says() {
        let old = load("p.toml", PIPELINE, None).unwrap();
        let new = check(
            "[modules.A]\ninputs.mandatory = ['LC']\noutputs.mandatory = ['X']\noutputs.optional = ['Y']\n\
             [modules.OTHER]\noutputs.mandatory = ['Q']\n[products.X.columns]\nvalue = { type = 'float', ndim = 0 }\n",
        )
        .unwrap();
        let names: Vec<&str> = new.modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
        assert_eq!((new.modules[0].image.as_str(), new.modules[0].class.as_str()), ("a:2", "heavy"));
        let breaks = compare(&old, &new).breaks;
        assert_eq!((breaks.len(), breaks[0].module.as_str()), (1, "B"), "{breaks:?}");
        assert_eq!(breaks[0].reads.product.as_str(), "Y");
    }

    #[test]
    fn what_is_no_contract_is_refused_with_the_image() {
        for (contract, word) in [
            ("nothing", "label sas.contract of image `a:2`"),
            ("[modules]", "pipeline P 1 has no module"),
            ("[modules.C]\noutputs.mandatory = ['X']", "pipeline P 1 has no module C"),
            ("name = 'P'\n[modules.A]", "name: expected `[modules.NAME]`"),
            ("[modules.A]\noutputs.mandatory = ['X']\ninputs.mandatory = ['LC']", "module B: "),
        ] {
            let error = check(contract).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
