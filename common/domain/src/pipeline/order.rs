//! Positions of modules: a topological order that is the same everywhere, or the circles that forbid one.
//!
//! A star's row has one byte per position and outlives this program, so the order is part of the format: of the modules
//! whose upstream has its positions, the one with the smallest name is next.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::ModuleName;

/// What each module waits for.
pub(super) type Upstream = BTreeMap<ModuleName, BTreeSet<ModuleName>>;

/// All modules in order; `Err` lists circles, each as the modules in the order in which they depend on the next.
pub(super) fn order(upstream: &Upstream) -> Result<Vec<ModuleName>, Vec<Vec<ModuleName>>> {
    let mut upstream = upstream.clone();
    let mut circles = Vec::new();
    loop {
        let order = layers(&upstream);
        let left: BTreeSet<&ModuleName> = upstream.keys().filter(|name| !order.contains(name)).collect();
        let Some(circle) = circle(&upstream, &left) else {
            return if circles.is_empty() { Ok(order) } else { Err(circles) };
        };
        // Without this edge the next circle shows.
        if let (Some(last), Some(first)) = (circle.last(), circle.first())
            && let Some(edges) = upstream.get_mut(last)
        {
            edges.remove(first);
        }
        circles.push(circle);
    }
}

/// As many modules as can be ordered.
fn layers(upstream: &Upstream) -> Vec<ModuleName> {
    let mut waits: BTreeMap<&ModuleName, usize> = upstream.iter().map(|(name, up)| (name, up.len())).collect();
    let mut below: BTreeMap<&ModuleName, Vec<&ModuleName>> = BTreeMap::new();
    for (name, up) in upstream {
        for up in up {
            below.entry(up).or_default().push(name);
        }
    }
    let mut ready: BTreeSet<&ModuleName> =
        waits.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    let mut order = Vec::new();
    while let Some(name) = ready.pop_first() {
        order.push(name.clone());
        for next in below.get(name).into_iter().flatten() {
            if let Some(count) = waits.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(next);
                }
            }
        }
    }
    order
}

/// A circle among the modules that are left, each of which waits for another one of them.
fn circle(upstream: &Upstream, left: &BTreeSet<&ModuleName>) -> Option<Vec<ModuleName>> {
    let mut path: Vec<&ModuleName> = Vec::new();
    let mut next = *left.first()?;
    while !path.contains(&next) {
        path.push(next);
        next = upstream.get(next)?.iter().find(|up| left.contains(up))?;
    }
    let start = path.iter().position(|name| *name == next)?;
    Some(path[start..].iter().map(|name| (*name).clone()).collect())
}
