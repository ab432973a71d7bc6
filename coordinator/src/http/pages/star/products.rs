//! What a star ended with in numbers: products, those that there are not, generations.

use domain::id::{Generation, StarId};
use domain::run::TaskState;
use maud::{Markup, html};
use store::agent::{ColumnFacts, Scalar};

use super::task_anchor;
use crate::http::pages::parts::{badge, digits, run_link, table, text, time_or};
use crate::http::pages::states;
use crate::operate::star::{GenerationSummary, ProductSummary, StarGenerations, StarProducts};

/// Characters of a text in a column that are shown.
const LONGEST: usize = 60;

/// Its products with their columns.
pub(super) fn made(star: &StarProducts) -> Markup {
    let heads = html! { th { "Product" } th { "Column" } th { "Value" } th { "Unit" } th { "Type" } th { "Module" } };
    let rows = html! { @for product in &star.products { (product_rows(star, product)) } };
    html! {
        h2 #products { "Products of generation " (star.generation) @if let Some(status) = star.status { ", " (status) } }
        @if star.products.is_empty() { p.empty { "It has none." } } @else { div.long { (table("Products", heads, rows)) } }
    }
}

fn product_rows(star: &StarProducts, product: &ProductSummary) -> Markup {
    let lines = product.columns.len().max(1);
    let quarter: u32 = star.quarter.into();
    let name = html! {
        th scope="rowgroup" rowspan=(lines) {
            a href=(format!("/stars/{}/lineage/{}?quarter={quarter}&generation={}", star.star, encoded(product.product.as_str()), star.generation))
                title="what it was made from" { (text(product.product.as_str())) }
            div.soft { (digits(product.bytes)) " bytes" }
        }
    };
    let module = html! { td rowspan=(lines) { @if let Some(module) = &product.module { a href=(task_anchor(module)) { (module) } } } };
    html! {
        @if let Some(reason) = &product.not_produced {
            tr { (name) td colspan="4" { "not produced: " (text(reason)) } (module) }
        } @else if product.columns.is_empty() {
            tr { (name) td colspan="4" { span.nothing { "no columns" } } (module) }
        }
        @for (at, (column, facts)) in product.columns.iter().enumerate() {
            tr {
                @if at == 0 { (name) }
                td { (text(column)) } td.values { (value(facts)) } td { (text(facts.unit.as_deref().unwrap_or_default())) } td.soft { (facts.dtype) (shape(facts)) }
                @if at == 0 { (module) }
            }
        }
    }
}

/// A name as a part of an address.
fn encoded(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A scalar, or the first values of a list.
fn value(facts: &ColumnFacts) -> Markup {
    let first: Vec<String> = facts.first.iter().map(scalar).collect();
    html! {
        @match &facts.value {
            Some(value) => (text(&scalar(value))),
            None if !first.is_empty() => span.soft { (text(&first.join(", "))) @if facts.shape.first().is_some_and(|all| *all > first.len() as u64) { ", …" } },
            None => span.nothing { "…" },
        }
    }
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Float(0.0) => "0".to_owned(),
        Scalar::Float(number) if (1e-3..1e6).contains(&number.abs()) => {
            let digits = (5 - number.abs().log10().floor() as i32).clamp(0, 8) as usize;
            format!("{number:.digits$}")
        }
        Scalar::Float(number) => format!("{number:.5e}"),
        Scalar::Text(said) if said.chars().count() > LONGEST => said.chars().take(LONGEST).chain(['…']).collect(),
        Scalar::Text(said) => said.clone(),
        Scalar::Bool(_) | Scalar::Int(_) => value.to_string(),
    }
}

fn shape(facts: &ColumnFacts) -> Markup {
    let dims: Vec<String> = facts.shape.iter().map(|dim| digits(*dim)).collect();
    html! { @if !dims.is_empty() { " × " (dims.join(" × ")) } }
}

/// What modules of the pipeline could have made and did not.
pub(super) fn missing(star: &StarProducts) -> Markup {
    if star.missing.is_empty() {
        return html! {};
    }
    let heads = html! { th { "Product" } th { "Module" } th { "State" } th { "Why" } };
    let rows = html! {
        @for none in &star.missing {
            tr {
                td { @match &none.product { Some(product) => (text(product.as_str())), None => span.nothing { "–" } } }
                td { a href=(task_anchor(&none.module)) { (none.module) } }
                td { (badge(states::of_task(none.state))) }
                td.wide { @if none.state != TaskState::Blocked { (text(&none.reason)) } }
            }
        }
    };
    html! { h2 { "Products that there are not" } div.long { (table("Products that there are not", heads, rows)) } }
}

/// What the star ended with, run by run.
pub(super) fn generations(star: &StarGenerations, shown: Generation) -> Markup {
    let heads = html! { th { "Generation" } th { "Status" } th { "Run" } th { "Pipeline" } th.n { "Products" } th { "Lost modules" } th { "Made" } };
    html! {
        h2 #generations { "Generations" }
        p.soft { "The star file shows generation " (star.open) ". To show another: " code { "sas star rollback " (star.star) " --to N" } }
        (table("Generations", heads, html! { @for one in &star.generations { (generation(star.star, star.quarter.into(), one, shown)) } }))
        @if star.left_out > 0 { p.soft { (star.left_out) " older ones are not listed." } }
    }
}

fn generation(star: StarId, quarter: u32, one: &GenerationSummary, shown: Generation) -> Markup {
    let run = one.run.map(|run| format!("&run={run}")).unwrap_or_default();
    html! {
        tr {
            th scope="row" {
                a href=(format!("/stars/{star}?quarter={quarter}&generation={}{run}", one.generation)) { (one.generation) }
                @if one.is_open { " " span.tag { "star file" } }
                @if one.generation == shown { " " span.tag { "this page" } }
            }
            td { @match (&one.damage, one.status) { (Some(damage), _) => (text(damage)), (None, Some(status)) => (status), (None, None) => span.nothing { "not said" } } }
            td { @if let Some(run) = one.run { (run_link(run)) } }
            td { @if let Some(pipeline) = &one.pipeline { (text(pipeline.as_str())) " " (text(one.version.as_deref().unwrap_or_default())) } }
            td.n { (one.products) }
            td.wide { @for (at, module) in one.lost_modules.iter().enumerate() { @if at > 0 { ", " } (module) } }
            td { (time_or(one.made, "–")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_say_something() {
        let shown = |number: f64| scalar(&Scalar::Float(number));
        assert_eq!(
            [shown(3021.5), shown(0.05), shown(0.0), shown(1.25e-9)],
            ["3021.50", "0.0500000", "0", "1.25000e-9"]
        );
        assert_eq!(shown(f64::NAN), "NaN");
        assert_eq!(scalar(&Scalar::Text("ü".repeat(61))).chars().count(), 61);
        assert_eq!(encoded("IDP_SAS_[FE_H]_SAPP"), "IDP_SAS_%5BFE_H%5D_SAPP");
    }
}
