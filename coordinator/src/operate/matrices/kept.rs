//! The views that somebody looks at now.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::id::RunId;
use tokio::sync::Mutex as AsyncMutex;

use super::StarOrder;
use super::rows::MatrixRows;
use super::view::MatrixView;

/// How many views are in memory: one of 300,000 stars and 34 modules has 2 MB, with an order of its own 4 MB.
const MOST: usize = 4;

/// How long one is kept that nobody asks for.
const IDLE: Duration = Duration::from_secs(60);

/// A view, for one who asks at a time: whoever comes meanwhile finds it fresh.
pub(in crate::operate) type SharedView = Arc<AsyncMutex<MatrixView>>;

/// The matrices that somebody looks at; clones are the same.
#[derive(Clone, Default)]
pub struct Matrices(Arc<Mutex<Vec<Kept>>>);

struct Kept {
    run: RunId,
    order: StarOrder,
    asked: Instant,
    view: SharedView,
}

impl Matrices {
    /// The view of a run in this order; those that nobody asks for any more are forgotten.
    pub(in crate::operate) fn find(&self, rows: &MatrixRows, order: StarOrder) -> SharedView {
        let (run, now) = (rows.run(), Instant::now());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| now - kept.asked < IDLE);
        if let Some(known) = kept.iter_mut().find(|kept| (kept.run, kept.order) == (run, order)) {
            known.asked = now;
            return known.view.clone();
        }
        if kept.len() >= MOST {
            let oldest = (0..kept.len()).min_by_key(|at| kept[*at].asked);
            oldest.map(|at| kept.swap_remove(at));
        }
        let view = SharedView::new(AsyncMutex::new(MatrixView::new(order)));
        kept.push(Kept { run, order, asked: now, view: view.clone() });
        drop(kept);
        self.forget_later();
        view
    }

    /// Forgets, some time after the last question, what nobody asks for.
    fn forget_later(&self) {
        let kept = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE).await;
                let Some(kept) = kept.upgrade() else { return };
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.retain(|kept| kept.asked.elapsed() < IDLE);
                if kept.is_empty() {
                    return;
                }
            }
        });
    }
}
