//! What a product of a star was made from, down to what ingestion delivered.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::id::{Digest, ProductName};
use maud::{Markup, html};

use super::AskStar;
use crate::http::Site;
use crate::http::caller::Caller;
use crate::http::pages::assets::address;
use crate::http::pages::layout::{Topic, answer};
use crate::http::pages::parts::{command, run_link, star_link, text, time};
use crate::http::pages::query::Query;
use crate::operate::called::{CalledStar, find_star};
use crate::operate::star::{AskLineage, LineageNode, LineageOrigin, OneGeneration, lineage};
use crate::operate::{Context, ErrorKind, OperateError};

pub(in crate::http::pages) async fn show(
    State(site): State<Site>,
    caller: Caller,
    Path((star, product)): Path<(String, String)>,
    query: Query,
) -> Response {
    let content = content(&site.context(&caller), &star, &product, &query).await;
    answer(&site, &caller, (Topic::Runs, "Where a product came from"), content).await
}

async fn content(context: &Context, star: &str, product: &str, query: &Query) -> Result<Markup, OperateError> {
    let called: CalledStar = star.parse()?;
    let asked = AskStar::read(query)?;
    let star = find_star(context, &called, None).await?.star;
    let product: ProductName = product
        .parse()
        .map_err(|error| OperateError::new(ErrorKind::Invalid, format!("{product:?} names no product: {error}")))?;
    let which = OneGeneration { star, quarter: asked.quarter, generation: asked.generation };
    let found = lineage(context, AskLineage { which, product }).await?;
    let quarter: u32 = found.quarter.into();
    Ok(html! {
        link rel="stylesheet" href=(address("star.css"));
        div data-still {
            p { (star_link(star, None)) ", " (found.quarter) ", generation " (found.generation) }
            ul.lineage { (node(&found.product)) }
            @if found.left_out > 0 { p.note { (found.left_out) " results were not looked at, for there are too many." } }
            (command(&format!("sas star lineage {star} --quarter {quarter} --generation {} {}", found.generation, found.product.product)))
        }
    })
}

/// A product, and below it what it was made from.
fn node(node: &LineageNode) -> Markup {
    html! {
        li {
            b { (text(node.product.as_str())) @if node.quarter.is_some() { "@previous" } } " "
            @if let Some(quarter) = node.quarter { "(" (quarter) ") " }
            @if let Some(digest) = &node.digest { code.soft title=(digest) { (short(digest)) } " " }
            @match &node.origin {
                LineageOrigin::Made { module, image, run, made, inputs, .. } => {
                    "made by " b { (module) } " of image " code { (text(image.as_str())) } " in run " (run_link(*run)) ", " (time(*made))
                    @if !inputs.is_empty() { ul { @for input in inputs { (self::node(input)) } } }
                },
                LineageOrigin::Above { module, .. } => { "made by " b { (module) } ", as above" },
                LineageOrigin::Delivered { dataset, sequence } => { "delivered in " (text(dataset)) ", version " (sequence) },
                LineageOrigin::Absent { why } => span.soft { "was not there: " (text(&why.replace('_', " "))) },
                LineageOrigin::Unknown { why } => span.soft { "not known: " (text(why)) },
            }
        }
    }
}

fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(10).collect()
}
