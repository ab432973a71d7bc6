//! The store from async code: every call blocks on a disk, which may be on another host and hang.

use crate::{Asks, Store, StoreError};

impl Store {
    /// The same store, asked on the thread of whoever asks: for simulations, in which nothing may depend on how fast another
    /// thread is.
    pub fn asked_here(self) -> Self {
        Self { asks: Asks::Here, ..self }
    }

    /// Asks the store where it disturbs no async thread: the one way to do so.
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.asks == Asks::Here {
            return work(self);
        }
        let store = self.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends: so does whoever waits here.
            Err(_) => std::future::pending().await,
        }
    }
}
