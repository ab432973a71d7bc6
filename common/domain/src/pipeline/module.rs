//! One module: names resolved, conditions compiled, everything checked that one module can get wrong.

use std::collections::{BTreeMap, BTreeSet};

use strum::VariantArray;

use super::definition;
use super::names::{LEAST_MEMORY, NOBODY, Names, parse};
use super::{ConditionalInput, ConditionalOutput, Inputs, Module, Outputs};
use crate::expression::{Expression, Scope};
use crate::id::{ClassName, ImageName, ModuleIndex, ModuleName, ProductName};
use crate::product::{Origin, Source};
use crate::run::{Retry, TriggerRule};

/// What follows a product's name when the quarter before is meant.
const PREVIOUS: &str = "@previous";

/// What every container finds in its environment besides `SAS_…`.
const GIVEN: [&str; 3] = ["HOME", "HDF5_USE_FILE_LOCKING", "TRACEPARENT"];

/// Checks every module; those that come back are complete, but their number is that of the definition only where there
/// were no mistakes.
pub(super) fn check_all(
    modules: &BTreeMap<ModuleName, &definition::RawModule>,
    names: &Names,
    mistakes: &mut Vec<String>,
) -> Vec<Module> {
    let check = |(name, raw): (&ModuleName, &&definition::RawModule)| {
        ModuleCheck { name, raw, names, mistakes: Vec::new() }.run()
    };
    let mut checked = Vec::new();
    for (module, found) in modules.iter().map(check) {
        checked.extend(module);
        mistakes.extend(found);
    }
    checked
}

/// Everything that a module's inputs and conditions name.
pub(super) fn sources<'a>(
    inputs: &'a Inputs,
    run_if: Option<&'a Expression>,
) -> impl Iterator<Item = &'a Source> + use<'a> {
    let conditions = run_if.into_iter().chain(inputs.conditional.iter().map(|input| &input.when));
    inputs.all().chain(conditions.flat_map(Expression::reads).map(|read| &read.source))
}

/// The modules that make what a module cannot do without: mandatory and conditional inputs, and what its conditions name.
/// An early trigger rule waits for them, too.
pub(super) fn needed<'a>(
    inputs: &'a Inputs,
    run_if: Option<&'a Expression>,
) -> impl Iterator<Item = ModuleIndex> + use<'a> {
    let conditional = &inputs.conditional;
    let conditions = run_if.into_iter().chain(conditional.iter().map(|input| &input.when));
    let read = conditions.flat_map(Expression::reads).map(|read| &read.source);
    let staged = inputs.mandatory.iter().chain(conditional.iter().map(|input| &input.source));
    staged.chain(read).filter_map(Source::producer)
}

struct ModuleCheck<'a> {
    name: &'a ModuleName,
    raw: &'a definition::RawModule,
    names: &'a Names,
    mistakes: Vec<String>,
}

impl ModuleCheck<'_> {
    fn run(mut self) -> (Option<Module>, Vec<String>) {
        let module = self.module();
        let prefix = |mistake: String| format!("module {}: {mistake}", self.name);
        (module, self.mistakes.into_iter().map(prefix).collect())
    }

    fn module(&mut self) -> Option<Module> {
        let raw = self.raw;
        let inputs = self.inputs();
        let outputs = self.outputs();
        let run_if = raw.run_if.as_ref().and_then(|text| self.compile("run_if", text, None));
        let after = self.after();
        let class: Option<ClassName> = parse(&raw.class, "class", &mut self.mistakes);
        let memory = self.memory(class.as_ref());
        let is_grouped = !raw.group.is_empty();
        let group = is_grouped.then(|| parse(&raw.group, "group", &mut self.mistakes)).flatten();
        let image = self.image();
        self.plain_fields();
        let upstream = self.upstream(&inputs, run_if.as_ref(), &after);
        let trigger_rule = self.trigger_rule(&inputs, run_if.as_ref(), &upstream);
        Some(Module {
            name: self.name.clone(),
            group,
            doc: raw.doc.clone(),
            image: image?,
            command: raw.command.clone(),
            environment: raw.environment.clone(),
            parameters: raw.parameters.clone(),
            class: class?,
            memory,
            time_limit: raw.time_limit,
            mode: raw.mode,
            enabled: raw.enabled,
            outside_of: None,
            run_if,
            after,
            trigger_rule,
            retry: Retry { max_attempts: raw.retry.max_attempts, backoff: raw.retry.backoff },
            retry_on: raw.retry.retry_on.iter().copied().collect(),
            inputs,
            outputs,
            upstream,
        })
    }

    fn image(&mut self) -> Option<ImageName> {
        let image = &self.raw.image;
        if image.trim().is_empty() {
            self.mistakes.push("image: must not be empty".to_owned());
            return None;
        }
        parse(image, "image", &mut self.mistakes)
    }

    fn plain_fields(&mut self) {
        let raw = self.raw;
        if raw.retry.max_attempts == 0 {
            self.mistakes.push("retry.max_attempts: must be 1 or more".to_owned());
        }
        for code in raw.retry.retry_on.iter().filter(|code| !(1..=255).contains(*code)) {
            self.mistakes.push(format!("retry.retry_on: {code} is no exit code of a failure, expected 1 to 255"));
        }
        if raw.time_limit.is_zero() {
            self.mistakes.push("time_limit: must be more than zero".to_owned());
        }
        for (name, value) in &raw.environment {
            let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
            if !is_name(name) || value.contains('\0') {
                self.mistakes.push(format!("environment: {name:?} cannot be set: `=` and NUL are not allowed"));
            } else if name.starts_with("SAS_") || GIVEN.contains(&name.as_str()) {
                self.mistakes.push(format!("environment: `{name}` belongs to the contract with the container"));
            }
        }
        if raw.command.iter().any(|word| word.contains('\0')) {
            self.mistakes.push("command: NUL is not allowed".to_owned());
        }
    }

    fn inputs(&mut self) -> Inputs {
        let raw = &self.raw.inputs;
        let mandatory = self.sources(&raw.mandatory, "inputs.mandatory");
        let optional = self.sources(&raw.optional, "inputs.optional");
        let mut one_of = Vec::new();
        for list in &raw.one_of {
            if list.is_empty() {
                self.mistakes.push("inputs.one_of: a list has no alternatives".to_owned());
            }
            one_of.push(self.sources(list, "inputs.one_of"));
        }
        let mut conditional = Vec::new();
        for input in &raw.conditional {
            let field = format!("inputs.conditional: {}", input.product);
            let source = self.source(&input.product, "inputs.conditional");
            let when = self.compile(&field, &input.when, None);
            conditional.extend(source.zip(when).map(|(source, when)| ConditionalInput { source, when }));
        }
        // A list of alternatives may name what another one names too.
        let single: Vec<&Source> =
            mandatory.iter().chain(&optional).chain(conditional.iter().map(|input| &input.source)).collect();
        self.refuse_repeats("inputs", single);
        for list in &one_of {
            self.refuse_repeats("inputs.one_of", list.iter().collect());
        }
        Inputs { mandatory, optional, one_of, conditional }
    }

    fn refuse_repeats(&mut self, field: &str, sources: Vec<&Source>) {
        let mut seen = BTreeSet::new();
        let repeated = sources.into_iter().filter(|source| !seen.insert(*source));
        self.mistakes.extend(repeated.map(|source| format!("{field}: product `{source}` is declared twice")));
    }

    fn outputs(&mut self) -> Outputs {
        let raw = &self.raw.outputs;
        let mandatory = self.products(&raw.mandatory, "outputs.mandatory");
        let optional = self.products(&raw.optional, "outputs.optional");
        let nullable = self.products(&raw.nullable, "outputs.nullable");
        let own = raw.names().filter_map(|name| name.parse().ok()).map(|name| self.names.canonical(name)).collect();
        let mut conditional = Vec::new();
        for output in &raw.conditional {
            let field = format!("outputs.conditional: {}", output.product);
            let product = self.product(&output.product, "outputs.conditional");
            let when = self.compile(&field, &output.when, Some(&own));
            conditional.extend(product.zip(when).map(|(product, when)| ConditionalOutput { product, when }));
        }
        Outputs { mandatory, optional, nullable, conditional }
    }

    fn product(&mut self, name: &str, field: &str) -> Option<ProductName> {
        parse(name, field, &mut self.mistakes).map(|product| self.names.canonical(product))
    }

    fn products(&mut self, names: &[String], field: &str) -> Vec<ProductName> {
        names.iter().filter_map(|name| self.product(name, field)).collect()
    }

    fn sources(&mut self, names: &[String], field: &str) -> Vec<Source> {
        names.iter().filter_map(|name| self.source(name, field)).collect()
    }

    fn source(&mut self, text: &str, field: &str) -> Option<Source> {
        let (name, previous) = match text.strip_suffix(PREVIOUS) {
            Some(name) => (name, true),
            None => (text, false),
        };
        let product = self.product(name, field)?;
        let origin = if previous {
            self.names.has_previous(&product).then_some(Origin::Previous)
        } else {
            self.names.origin(&product)
        };
        if origin.is_none() && !self.names.orphans.contains(&product) {
            let missing = if previous {
                "not made by any module, so no quarter before has it"
            } else {
                "neither made by a module nor an external"
            };
            self.mistakes.push(format!("{field}: product `{product}` is {missing}"));
        }
        Some(Source { product, origin: origin? })
    }

    /// Compiles a condition; over the module's own outputs where `own` is given.
    fn compile(&mut self, field: &str, text: &str, own: Option<&BTreeSet<ProductName>>) -> Option<Expression> {
        let names = self.names;
        let this = names.order.get(self.name).copied()?;
        let products = |product: &ProductName| match own {
            Some(own) => own.contains(product).then_some(Origin::Module(this)),
            None => names.origin(product),
        };
        let previous = |product: &ProductName| own.is_none() && names.has_previous(product);
        let unknown = match own {
            Some(_) => "not an output of this module",
            None => "neither made by a module nor an external",
        };
        let scope = Scope {
            products: &products,
            previous: &previous,
            params: &names.params,
            model: &names.model,
            aliases: &names.aliases,
            unknown,
        };
        let compiled = Expression::compile(text, &scope);
        compiled.map_err(|errors| self.mistakes.extend(errors.iter().map(|error| format!("{field}: {error}")))).ok()
    }

    fn after(&mut self) -> Vec<ModuleIndex> {
        let mut after = Vec::new();
        for name in &self.raw.after {
            let Some(module) = parse::<ModuleName>(name, "after", &mut self.mistakes) else { continue };
            match self.names.order.get(&module) {
                Some(index) => after.push(*index),
                None => self.mistakes.push(format!("after: the pipeline has no module `{module}`")),
            }
        }
        after
    }

    /// The rule, where it is not `contract`. An early one may run the module while an upstream module is not settled: whether
    /// an optional input is there would then depend on timing.
    fn trigger_rule(
        &mut self,
        inputs: &Inputs,
        run_if: Option<&Expression>,
        upstream: &[ModuleIndex],
    ) -> Option<TriggerRule> {
        let text = self.raw.trigger_rule.as_str();
        if text == "contract" {
            return None;
        }
        let Ok(rule) = text.parse::<TriggerRule>() else {
            let rules = TriggerRule::VARIANTS.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            self.mistakes.push(format!("trigger_rule: `{text}` is no rule; expected contract, {rules}"));
            return None;
        };
        if rule == TriggerRule::Always || rule.is_early() && upstream.len() > 1 {
            let unsettled = |module: ModuleIndex| {
                upstream.contains(&module) && !needed(inputs, run_if).any(|needed| needed == module)
            };
            let may_lack = inputs.optional.iter().chain(inputs.one_of.iter().flatten());
            let odd: BTreeSet<String> = may_lack
                .filter(|source| source.producer().is_some_and(unsettled))
                .map(|source| format!("`{source}`"))
                .collect();
            if !odd.is_empty() {
                self.mistakes.push(format!(
                    "trigger_rule: `{rule}` may run the module before the producers of {} are settled; timing must not \
                     enter a result, so inputs from such modules must be mandatory here",
                    odd.into_iter().collect::<Vec<_>>().join(", ")
                ));
            }
        }
        Some(rule)
    }

    /// The module's memory: its own, or all that its class has.
    fn memory(&mut self, class: Option<&ClassName>) -> u64 {
        let Some(class_name) = class else { return 0 };
        let Some(class) = self.names.classes.get(class_name) else {
            self.mistakes.push(format!("class: `{class_name}` is not in [classes]"));
            return 0;
        };
        let memory = self.raw.memory.unwrap_or(class.memory);
        // What is wrong with the class is told of the class.
        if self.raw.memory.is_some() && !(LEAST_MEMORY..=class.memory).contains(&memory) {
            let [memory, least, most] = [memory, LEAST_MEMORY, class.memory].map(bytesize::ByteSize);
            self.mistakes.push(format!("memory: {memory} is not from {least} to the {most} of class {class_name}"));
        }
        memory
    }

    /// Modules that must be settled first, without those that are switched off.
    fn upstream(&self, inputs: &Inputs, run_if: Option<&Expression>, after: &[ModuleIndex]) -> Vec<ModuleIndex> {
        let producers = sources(inputs, run_if).filter_map(Source::producer).filter(|producer| *producer != NOBODY);
        let all: BTreeSet<ModuleIndex> = producers.chain(after.iter().copied()).collect();
        let order = &self.names.order;
        let disabled: BTreeSet<ModuleIndex> =
            self.names.disabled.iter().filter_map(|name| order.get(name).copied()).collect();
        all.difference(&disabled).copied().collect()
    }
}
