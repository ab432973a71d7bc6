//! Star files: everything that a star ended with in one run, in one file that h5py and h5dump read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::describe::{Described, describe};
use super::pack::json;
use super::read::{Rooted, whole};
use super::show::say_standing;
use super::{AgentResult, damaged, set_root, unwritable};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::h5::{File, Group, H5Error};
use crate::paths;
use domain::id::{Key, ModuleName, ProductName};
use domain::outcome::{Outcome, StandsFor};

/// Writes the file; returns its manifest.
pub(super) fn assemble(star: &Assemble) -> AgentResult<Manifest> {
    let failed = unwritable(&star.dest);
    let file = File::create(&star.dest).map_err(&failed)?;
    let root = file.root().map_err(&failed)?;
    let mut built = Built { star, externals: BTreeMap::new(), products: BTreeMap::new(), observed: None };
    built.add_externals(&root.create_group("EXTERNALS").map_err(&failed)?)?;
    built.add_products(&root)?;
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        kind: FileKind::Generation,
        star: Some(star.star),
        quarter: Some(star.quarter),
        observed: built.observed,
        products: built.products,
        externals: built.externals,
        provenance: None,
        generation: Some(Box::new(star.generation.clone())),
        modules: star.modules.clone(),
    };
    set_root(&root, manifest.star, manifest.quarter, manifest.observed).map_err(&failed)?;
    say_standing(&root, &manifest, &manifest, star.generation.last_complete, None).map_err(&failed)?;
    root.create_text("MANIFEST", &json(&manifest)).map_err(&failed)?;
    drop(root);
    file.close().map_err(&failed)?;
    Ok(manifest)
}

struct Built<'a> {
    star: &'a Assemble,
    externals: BTreeMap<ProductName, ProductEntry>,
    products: BTreeMap<ProductName, ProductEntry>,
    observed: Option<[f64; 2]>,
}

impl Built<'_> {
    fn add_externals(&mut self, to: &Group) -> AgentResult<()> {
        for name in &self.star.externals {
            let path = self.path(name)?;
            let (manifest, from) = whole(&path)?;
            self.observed = self.observed.or(manifest.observed);
            for (product, entry) in &manifest.externals {
                if self.externals.contains_key(product) {
                    continue;
                }
                self.place(&from, "EXTERNALS", product, entry, name, to)?;
                self.externals.insert(product.clone(), ProductEntry { file: Some(name.clone()), ..entry.clone() });
            }
        }
        Ok(())
    }

    fn add_products(&mut self, root: &Group) -> AgentResult<()> {
        let failed = unwritable(&self.star.dest);
        let to = root.create_group("PRODUCTS").map_err(&failed)?;
        for module in &self.star.modules {
            let group = root.create_group(&self.group_of(&module.module)).map_err(&failed)?;
            let result = self.add_result(module, &to)?;
            describe(&group, &self.described(module, result.as_ref())).map_err(&failed)?;
            if let Some(provenance) = result.as_ref().and_then(|result| result.provenance.as_deref()) {
                self.describe_inputs(&group, provenance).map_err(&failed)?;
            }
        }
        Ok(())
    }

    /// The group of a module.
    fn group_of(&self, module: &ModuleName) -> String {
        let GenerationInfo { number, pipeline, .. } = &self.star.generation;
        format!("{pipeline}-{module}_{number}")
    }

    /// Where a product came from, as the documents spell it: a module by its group and its own name. Those of the quarter before
    /// are not in this file.
    fn spelled(&self, source: &InputSource) -> String {
        let pipeline = &self.star.generation.pipeline;
        match source {
            InputSource::External => "EXTERNALS".to_owned(),
            InputSource::Shared => "PDP".to_owned(),
            InputSource::Previous => "PREVIOUS".to_owned(),
            InputSource::Module { group, module } => {
                // Since the result was made the pipeline may have moved the module to another group.
                let now = self.star.modules.iter().find(|entry| entry.module == *module);
                match now.map_or(group, |entry| &entry.group).as_str() {
                    "" => format!("{pipeline}-{module}"),
                    group => format!("{pipeline}-{group}/{pipeline}-{module}"),
                }
            }
        }
    }

    /// Writes the products that a module read, by where they came from.
    fn describe_inputs(&self, group: &Group, provenance: &Provenance) -> Result<(), H5Error> {
        let mut sources: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for input in provenance.inputs.iter().filter(|input| input.digest.is_some()) {
            let products = sources.entry(self.spelled(&input.source)).or_default();
            if !products.contains(&input.product.as_str()) {
                products.push(input.product.as_str());
            }
        }
        let Some(inputs) = group.subgroup("inputs")? else { return Ok(()) };
        sources.iter().try_for_each(|(source, products)| inputs.set_texts(source, products))
    }

    /// Adds what a module made, if it succeeded; returns the manifest of its committed file.
    fn add_result(&mut self, module: &ModuleEntry, to: &Group) -> AgentResult<Option<Manifest>> {
        let Some(Outcome::Succeeded(success)) = &module.outcome else { return Ok(None) };
        let name = format!("{}/products/{}-{}.h5", self.star.quarter, module.module, success.key);
        let path = self.path(&name)?;
        let (mut manifest, from) = whole(&path)?;
        for (product, entry) in &mut manifest.products {
            self.place(&from, "PRODUCTS", product, entry, &name, to)?;
            entry.stands_for = self.counting(success.stands_for.get(product));
            let entry = ProductEntry { file: Some(name.clone()), module: Some(module.module.clone()), ..entry.clone() };
            self.products.insert(product.clone(), entry);
        }
        Ok(Some(manifest))
    }

    /// What counted in this run in the place of a product: whoever read it was given that, if it is there. The result itself may
    /// have been made under another tolerance.
    fn counting(&self, stands_for: Option<&StandsFor>) -> Option<StandsFor> {
        let is_there = |before: &&StandsFor| self.path(&before.file).is_ok_and(|file| file.is_file());
        stands_for.filter(is_there).cloned()
    }

    /// Copies a product, or links to it when it is large.
    fn place(
        &self,
        from: &Rooted,
        below: &str,
        product: &ProductName,
        entry: &ProductEntry,
        name: &str,
        to: &Group,
    ) -> AgentResult<()> {
        let product = product.as_str();
        if entry.is_linked() {
            let (file, path) = (self.link(name), format!("/{below}/{product}"));
            return to.link_external(product, &file, &path).map_err(unwritable(&self.star.dest));
        }
        let path = self.path(name)?;
        let source = from.group.subgroup(below).map_err(damaged(&path))?;
        match source {
            Some(source) => to.copy_from(&source, product, product).map_err(damaged(&path)),
            None => Err(super::refuse(RefusalKind::Damaged, format!("`{}` has no /{below}", path.display()))),
        }
    }

    /// What is to be said of a module, and where the log of its last words is.
    fn described<'a>(&self, module: &'a ModuleEntry, result: Option<&'a Manifest>) -> Described<'a> {
        let log = match &module.outcome {
            Some(Outcome::Succeeded(success)) => Some(format!("products/{}-{}.h5:/LOG", module.module, success.key)),
            Some(Outcome::Failed(_)) => self.failure_of(module).map(|name| format!("failures/{name}")),
            Some(Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Errored(_)) | None => None,
        };
        Described { module, result, log }
    }

    /// The file with what a module failed with: of this attempt, or of an earlier one that is on record.
    fn failure_of(&self, module: &ModuleEntry) -> Option<String> {
        let folder = self.star.store.join(paths::failures(self.star.star, self.star.quarter));
        let this = format!("-{}-{}.json", self.star.generation.run, module.attempt);
        let files = std::fs::read_dir(folder).ok()?.flatten().filter_map(|file| {
            let (name, made) = (file.file_name().into_string().ok()?, file.metadata().ok()?.modified().ok()?);
            let key = name.strip_prefix(&format!("{}-", module.module))?.split('-').next()?;
            (key == "nokey" || key.parse::<Key>().is_ok()).then_some((name.ends_with(&this), made, name))
        });
        files.max().map(|(_, _, name)| name)
    }

    /// Where a file of the star is now.
    fn path(&self, name: &str) -> AgentResult<PathBuf> {
        let relative = paths::of_star(self.star.star, name);
        relative.map(|relative| self.star.store.join(relative)).ok_or_else(|| {
            super::refuse(RefusalKind::Missing, format!("{name:?} is not the name of a file of {}", self.star.star))
        })
    }

    /// How a star file names another file of the store; see [`crate::generations`]. The star's name is in it, so
    /// that a copy of the star file elsewhere can never find another star's data.
    fn link(&self, name: &str) -> String {
        if name.starts_with("shared/") {
            return format!("externals/../../../../../{name}");
        }
        format!("externals/../../../{}/{name}", self.star.star)
    }
}
