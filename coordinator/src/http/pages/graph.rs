//! Where the boxes of a DAG stand and how its edges run. Pure.
//!
//! From top to bottom: a module stands below everything that it needs. Groups whose layers overlap stand side by side, others
//! below each other, so that 34 modules need no more width than their fullest layer.

use std::collections::{BTreeMap, BTreeSet};

/// Size of a box, and room between boxes, in pixels.
pub(super) const WIDTH: i32 = 172;
pub(super) const HEIGHT: i32 = 66;
const GAP: i32 = 14;
const RISE: i32 = 44;
/// Room around a group, and for its name.
const PADDING: i32 = 12;
const LABEL: i32 = 18;
/// Most boxes side by side in one group.
const ABREAST: usize = 6;

/// A module to place.
#[derive(Debug, Clone, Default)]
pub(super) struct GraphNode {
    /// The group that it is drawn in; empty where it has none.
    pub(super) group: String,
    /// What it needs, by position; all of it stands before the module.
    pub(super) upstream: Vec<usize>,
}

/// A place: left and upper edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Spot {
    pub(super) x: i32,
    pub(super) y: i32,
}

/// The frame of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupFrame {
    pub(super) group: String,
    pub(super) at: Spot,
    pub(super) width: i32,
    pub(super) height: i32,
}

/// Where everything is.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub(super) width: i32,
    pub(super) height: i32,
    /// Of each module, in the order of the nodes.
    pub(super) boxes: Vec<Spot>,
    pub(super) frames: Vec<GroupFrame>,
}

impl Layout {
    /// Places modules.
    pub(super) fn of(nodes: &[GraphNode]) -> Self {
        let layers = layers(nodes);
        let rows = rows(nodes, &layers);
        let mut layout = Self { boxes: vec![Spot::default(); nodes.len()], ..Self::default() };
        for cluster in clusters(nodes, &layers) {
            layout.place(nodes, &rows, &cluster);
        }
        let width = layout.frames.iter().map(|frame| frame.at.x + frame.width).max().unwrap_or(0);
        layout.center(nodes, width);
        layout.width = width + GAP;
        layout.height += GAP;
        layout
    }

    /// Places groups side by side, below what is placed.
    fn place(&mut self, nodes: &[GraphNode], rows: &[usize], groups: &[String]) {
        let members = |group: &String| (0..nodes.len()).filter(|at| nodes[*at].group == *group).collect::<Vec<usize>>();
        let all: Vec<usize> = groups.iter().flat_map(members).collect();
        let (Some(first), Some(last)) = (all.iter().map(|at| rows[*at]).min(), all.iter().map(|at| rows[*at]).max())
        else {
            return;
        };
        let top = self.height + GAP;
        let y = |row: usize| top + LABEL + PADDING + (row - first) as i32 * (HEIGHT + RISE);
        let bottom = y(last) + HEIGHT + PADDING;
        let mut left = GAP;
        for group in groups {
            let mut by_row: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            members(group).into_iter().for_each(|at| by_row.entry(rows[at]).or_default().push(at));
            let abreast = by_row.values().map(Vec::len).max().unwrap_or(1) as i32;
            let width = abreast * WIDTH + (abreast - 1) * GAP + 2 * PADDING;
            for (row, mut boxes) in by_row {
                boxes.sort_by_key(|at| (self.pull(&nodes[*at]), *at));
                let taken = boxes.len() as i32 * (WIDTH + GAP) - GAP;
                for (number, at) in boxes.into_iter().enumerate() {
                    let x = left + (width - taken) / 2 + number as i32 * (WIDTH + GAP);
                    self.boxes[at] = Spot { x, y: y(row) };
                }
            }
            let at = Spot { x: left, y: top };
            self.frames.push(GroupFrame { group: group.clone(), at, width, height: bottom - top });
            left += width + GAP;
        }
        self.height = bottom;
    }

    /// Where what a module needs stands on average, so that edges cross less.
    fn pull(&self, node: &GraphNode) -> i32 {
        let above = node.upstream.iter().filter_map(|at| self.boxes.get(*at)).map(|spot| spot.x);
        above.sum::<i32>() / node.upstream.len().max(1) as i32
    }

    /// Moves groups that stand beside each other to the middle.
    fn center(&mut self, nodes: &[GraphNode], width: i32) {
        let mut right: BTreeMap<i32, i32> = BTreeMap::new();
        for frame in &self.frames {
            let edge = right.entry(frame.at.y).or_default();
            *edge = (*edge).max(frame.at.x + frame.width);
        }
        let mut moved: BTreeMap<String, i32> = BTreeMap::new();
        for frame in &mut self.frames {
            let by = (width - right[&frame.at.y]) / 2;
            frame.at.x += by;
            moved.insert(frame.group.clone(), by);
        }
        for (node, spot) in nodes.iter().zip(&mut self.boxes) {
            spot.x += moved.get(&node.group).copied().unwrap_or(0);
        }
    }

    /// How an edge runs, as the data of an SVG path; `lane` tells several into one box apart, from 0 to 1.
    pub(super) fn path(&self, from: usize, to: usize, lane: f64) -> String {
        let (from, to) = (self.boxes[from], self.boxes[to]);
        let (x1, y1) = (from.x + WIDTH / 2, from.y + HEIGHT);
        let (x2, y2) = (to.x + (f64::from(WIDTH) * (0.2 + 0.6 * lane)) as i32, to.y);
        let bend = ((y2 - y1) / 2).clamp(RISE / 2, 3 * RISE);
        format!("M{x1} {y1}C{x1} {} {x2} {} {x2} {y2}", y1 + bend, y2 - bend)
    }
}

/// The edges that do not follow from others, as positions: a module that is reached over another one needs no line of its own.
pub(super) fn direct(nodes: &[GraphNode]) -> BTreeSet<(usize, usize)> {
    let mut above: Vec<BTreeSet<usize>> = Vec::with_capacity(nodes.len());
    let mut direct = BTreeSet::new();
    for (to, node) in nodes.iter().enumerate() {
        let before = || node.upstream.iter().copied().filter(|from| *from < to);
        let over: BTreeSet<usize> = before().flat_map(|from| &above[from]).copied().collect();
        direct.extend(before().filter(|from| !over.contains(from)).map(|from| (from, to)));
        above.push(before().chain(over.iter().copied()).collect());
    }
    direct
}

/// How many modules stand above each at most, one needing the other.
fn layers(nodes: &[GraphNode]) -> Vec<usize> {
    let mut layers: Vec<usize> = vec![0; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        layers[at] = node.upstream.iter().filter(|up| **up < at).map(|up| layers[*up] + 1).max().unwrap_or(0);
    }
    layers
}

/// The row of each module: a layer with too many of one group takes several.
fn rows(nodes: &[GraphNode], layers: &[usize]) -> Vec<usize> {
    let mut cells: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        cells.entry((layers[at], &node.group)).or_default().push(at);
    }
    let mut rows = vec![0; nodes.len()];
    let mut first = 0;
    for layer in 0..=layers.iter().copied().max().unwrap_or(0) {
        let of_layer = || cells.iter().filter(|((of, _), _)| *of == layer).map(|(_, members)| members);
        let needed = of_layer().map(|members| members.len().div_ceil(ABREAST)).max().unwrap_or(0);
        for members in of_layer() {
            let abreast = members.len().div_ceil(members.len().div_ceil(ABREAST).max(1));
            for (number, at) in members.iter().enumerate() {
                rows[*at] = first + number / abreast.max(1);
            }
        }
        first += needed;
    }
    rows
}

/// Groups by where they begin; those that share layers, by however many steps, are together.
fn clusters(nodes: &[GraphNode], layers: &[usize]) -> Vec<Vec<String>> {
    let mut spans: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (node, layer) in nodes.iter().zip(layers) {
        let span = spans.entry(&node.group).or_insert((*layer, *layer));
        *span = (span.0.min(*layer), span.1.max(*layer));
    }
    let mut sorted: Vec<(&str, (usize, usize))> = spans.into_iter().collect();
    sorted.sort_by_key(|(group, span)| (*span, *group));
    let (mut clusters, mut end): (Vec<Vec<String>>, usize) = (Vec::new(), 0);
    for (group, (from, to)) in sorted {
        match clusters.last_mut() {
            Some(cluster) if from <= end => cluster.push(group.to_owned()),
            _ => clusters.push(vec![group.to_owned()]),
        }
        end = end.max(to);
    }
    clusters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(group: &str, upstream: &[usize]) -> GraphNode {
        GraphNode { group: group.to_owned(), upstream: upstream.to_vec() }
    }

    /// A ─▶ B ─▶ D, A ─▶ C ─▶ D, and thirteen below D.
    fn wide() -> Vec<GraphNode> {
        let mut nodes = vec![node("one", &[]), node("two", &[0]), node("three", &[0]), node("four", &[1, 2])];
        nodes.extend((0..13).map(|_| node("four", &[3])));
        nodes
    }

    #[test]
    fn every_box_is_below_what_it_needs_inside_its_group_and_on_no_other() {
        let nodes = wide();
        let layout = Layout::of(&nodes);
        for (at, node) in nodes.iter().enumerate() {
            let spot = layout.boxes[at];
            assert!(node.upstream.iter().all(|up| layout.boxes[*up].y + HEIGHT < spot.y), "{at}");
            let frame = layout.frames.iter().find(|frame| frame.group == node.group).unwrap();
            assert!(spot.x >= frame.at.x && spot.x + WIDTH <= frame.at.x + frame.width, "{at} {spot:?} {frame:?}");
            assert!(spot.y >= frame.at.y && spot.y + HEIGHT <= frame.at.y + frame.height, "{at} {spot:?} {frame:?}");
            for other in &layout.boxes[..at] {
                assert!((other.x - spot.x).abs() >= WIDTH || (other.y - spot.y).abs() >= HEIGHT, "{at} covers another");
            }
        }
        let right = layout.frames.iter().map(|frame| frame.at.x + frame.width).max().unwrap();
        assert!(right <= layout.width && layout.width < 7 * (WIDTH + GAP), "{}", layout.width);
    }

    #[test]
    fn an_edge_that_follows_from_others_is_not_drawn() {
        let nodes = [node("", &[]), node("", &[0]), node("", &[0, 1]), node("", &[0, 2])];
        assert_eq!(direct(&nodes), BTreeSet::from([(0, 1), (1, 2), (2, 3)]));
    }

    #[test]
    fn groups_that_share_layers_stand_side_by_side() {
        let layout = Layout::of(&wide());
        let top = |group: &str| layout.frames.iter().find(|frame| frame.group == group).unwrap().at;
        assert_eq!(top("two").y, top("three").y);
        assert!(top("one").y < top("two").y && top("three").y < top("four").y && top("two").x != top("three").x);
        assert!(Layout::of(&[]).boxes.is_empty());
    }
}
