//! Looks, orders and ticks, without any run.

use domain::run::TaskState::{self, *};

use super::look::{Look, STATES};
use super::order::{StarPlaces, rank};
use super::rows::BLOCK;
use super::view::MatrixView;
use super::*;

const WIDTH: usize = 2;

fn row(states: [TaskState; WIDTH]) -> [u8; WIDTH] {
    states.map(|state| (state as u8) << 4 | 1)
}

/// A view after a look at these rows at a moment.
fn look(view: &mut MatrixView, rows: &[[u8; WIDTH]], places: Option<&StarPlaces>, now: i64) {
    let mut look = Look::new(rows.len() as u32, WIDTH);
    for (block, rows) in rows.chunks(BLOCK as usize).enumerate() {
        look.take(block as u32 * BLOCK, rows.as_flattened(), places);
    }
    view.take(look, WIDTH, now);
}

#[test]
fn counts_of_any_lines_are_those_of_their_rows() {
    let states = [Succeeded, Failed, Blocked, Queued, Skipped];
    let rows: Vec<_> = (0..10_000_usize).map(|star| row([states[star % 5], states[star / 100 % 5]])).collect();
    let mut view = MatrixView::new(StarOrder::Arrival);
    look(&mut view, &rows, None, 5);
    for (range, stars_per_line) in [(0..10_000, 64), (640..1280, 128), (0..10_000, BLOCK), (9984..10_000, 64)] {
        let bytes = view.counts(range.clone(), stars_per_line);
        let found: Vec<u16> = bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
        let mut expected = Vec::new();
        for from in range.clone().step_by(stars_per_line as usize) {
            let mut line = vec![0; WIDTH * STATES];
            for star in from..(from + stars_per_line).min(range.end) {
                for (module, byte) in rows[star as usize].iter().enumerate() {
                    line[module * STATES + usize::from(byte >> 4)] += 1;
                }
            }
            expected.extend(line);
        }
        assert_eq!(found, expected, "{range:?} by {stars_per_line}");
    }
}

#[test]
fn only_what_changed_since_is_told_and_nothing_is_missed() {
    let mut rows = vec![row([Blocked, Blocked]); 3 * BLOCK as usize + 10];
    let all = 0..rows.len() as u32;
    let mut view = MatrixView::new(StarOrder::Arrival);
    look(&mut view, &rows, None, 1000);
    let told = |view: &MatrixView, since, stars| view.changed_lines(all.clone(), since, stars).ranges;
    assert_eq!(told(&view, 0, 1), vec![all.clone()], "whoever knows nothing gets everything");
    assert!(told(&view, 1000, 1).is_empty());
    rows[5000][1] = row([Blocked, Queued])[1];
    rows[3 * BLOCK as usize][0] = row([Queued, Blocked])[0];
    look(&mut view, &rows, None, 900);
    assert_eq!(view.changed(0..1, 0).tick, 1001, "a clock that goes back makes no tick of the past");
    assert_eq!(told(&view, 1000, 1), [BLOCK..2 * BLOCK, 3 * BLOCK..all.end]);
    assert_eq!(told(&view, 1000, 4096), [BLOCK..2 * BLOCK, 3 * BLOCK..all.end]);
    // Lines that lie in two blocks change with either.
    assert_eq!(told(&view, 1000, 3 * 1024), [3072..9216, 12288..all.end]);
    assert_eq!(view.changed(5000..5001, 1000).ranges, vec![5000..5001]);
    assert!(view.changed(0..BLOCK, 1000).ranges.is_empty());
    look(&mut view, &rows, None, 3000);
    assert!(told(&view, 1001, 1).is_empty(), "nothing changed");
    // Of two rows that change places both count, and so do two equal changes of one block.
    rows.swap(4096, 5000);
    look(&mut view, &rows, None, 4000);
    assert_eq!(told(&view, 3000, 1), vec![BLOCK..2 * BLOCK]);
}

#[test]
fn orders_put_what_failed_or_is_furthest_first() {
    let rows = [
        [Blocked, Blocked],
        [Succeeded, Succeeded],
        [Succeeded, Queued],
        [Succeeded, Failed],
        [Cancelled, Succeeded],
        [Errored, UpstreamFailed],
        [Queued, Blocked],
        [Skipped, Skipped],
    ];
    for (order, expected) in
        [(StarOrder::State, [5, 3, 4, 2, 6, 1, 7, 0]), (StarOrder::Progress, [1, 3, 4, 5, 7, 2, 0, 6])]
    {
        let ranks: Vec<u16> = rows.iter().map(|states| rank(order, &row(*states))).collect();
        let places = StarPlaces::by_rank(&ranks);
        assert_eq!(places.stars, expected, "{order}");
        assert!((0..8).all(|star| places.star(places.place(star)) == star));
    }
    // Counts follow the order.
    let ranks: Vec<u16> = (0..128).map(|star| if star % 2 == 0 { 1 } else { 0 }).collect();
    let rows: Vec<_> = (0..128).map(|star| row([if star % 2 == 0 { Succeeded } else { Failed }, Blocked])).collect();
    let mut view = MatrixView::new(StarOrder::State);
    look(&mut view, &rows, Some(&StarPlaces::by_rank(&ranks)), 1);
    let bytes = view.counts(0..128, 64);
    let count = |line: usize, state: TaskState| bytes[(line * WIDTH * STATES + state as usize) * 2];
    assert_eq!([count(0, Failed), count(0, Succeeded), count(1, Failed), count(1, Succeeded)], [64, 0, 0, 64]);
}
