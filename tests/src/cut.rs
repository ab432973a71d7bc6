//! A container engine whose connections can be cut, as its restart does it: a socket of our own before the real one.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// The socket of this host's engine.
const ENGINE: &str = "/var/run/docker.sock";

/// A socket before the engine's, as long as its runtime lives.
pub struct Cut(Mutex<CancellationToken>);

impl Cut {
    /// Listens at `path`.
    pub fn at(path: &Path) -> Result<&'static Self> {
        let listener = UnixListener::bind(path).context("failed to listen in the engine's place")?;
        let cut: &'static Self = Box::leak(Box::new(Self(Mutex::default())));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let until = cut.lock().clone();
                tokio::spawn(until.run_until_cancelled_owned(pass(client)));
            }
        });
        Ok(cut)
    }

    /// Cuts all connections; new ones are as good as the first.
    pub fn all(&self) {
        std::mem::take(&mut *self.lock()).cancel();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(mut client: UnixStream) {
    if let Ok(mut engine) = UnixStream::connect(ENGINE).await {
        // One that ends is as good as one that is cut.
        _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
    }
}
