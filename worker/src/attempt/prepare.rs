//! Prepare: all that an attempt needs of the file system before it stages, in one visit: whether its result is there, or that it
//! failed is on record; then its directories, with links to the files that it reads.

use std::path::PathBuf;
use std::sync::Arc;

use store::crash::CrashPoint;
use store::failures::FailureRecord;
use store::{StoreError, durable};
use tokio_util::sync::CancellationToken;

use super::committed::await_file;
use super::desk::{Desk, Order};
use super::ending::Ending;
use super::layout::{self, Made};
use super::on_record;
use super::resolve::{Plan, product_path};

/// What was found.
pub(super) enum Prepared {
    /// A key that exists is a result that exists, unless the file is damaged.
    There { file: PathBuf, inode: u64 },
    /// It failed for good before.
    Failed(Box<FailureRecord>),
    /// It is to be made here.
    Made(Made),
}

/// Prepares what a plan says.
pub(super) async fn prepare(
    desk: &Desk,
    order: &Order,
    plan: &Plan,
    cancel: &CancellationToken,
) -> Result<Prepared, Ending> {
    loop {
        match visit(desk, order, plan).await? {
            Visited::Done(prepared) => return Ok(prepared),
            Visited::Waits(input) => drop(await_file(desk, &input, cancel).await?),
        }
    }
}

enum Visited {
    Done(Prepared),
    /// An input cannot be seen on this host yet.
    Waits(PathBuf),
}

async fn visit(desk: &Desk, order: &Order, plan: &Plan) -> Result<Visited, StoreError> {
    let (mut made, layout) = layout::layout(desk, order, plan);
    let (run, star, key, task, attempt) = (Arc::clone(&order.run), order.star, plan.key, order.task, order.attempt);
    let file = desk.store.at(product_path(order, &key));
    let visit = desk.store.ask(move |store| {
        if let Some(inode) = durable::inode(&file)? {
            return Ok(Visited::Done(Prepared::There { file, inode }));
        }
        if let Some(known) = on_record::failure(store, &run, star, key, (task.module, attempt))? {
            return Ok(Visited::Done(Prepared::Failed(Box::new(known))));
        }
        for input in layout.files() {
            let Some(inode) = durable::inode(input)? else { return Ok(Visited::Waits(input.clone())) };
            made.inodes.insert(input.clone(), inode);
        }
        layout.make()?;
        CrashPoint::DirectoriesMade.reached();
        Ok(Visited::Done(Prepared::Made(made)))
    });
    visit.await
}
