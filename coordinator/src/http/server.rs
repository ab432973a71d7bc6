//! The server: bounded in connections and in the time that a client may take, so that none uses up descriptors by doing nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most connections at a time; more wait until one ends.
const CONNECTIONS: usize = 512;

/// Clients that wait to be let in, first come first served; who finds no place among them tries again ever more seldom.
const WAITING: u32 = 4_096;

/// How long a client may take to say what it wants, the first time and every other.
const HEAD: Duration = Duration::from_secs(5);

/// How long answers may take to end at shutdown; streams never do.
const GRACE: Duration = Duration::from_secs(2);

/// How long it waits when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(500);

/// Connections at a time: half of the descriptors that this process may have are kept for the work.
pub(super) fn connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    CONNECTIONS.min(descriptors.unwrap_or(usize::MAX) / 2).max(1)
}

/// Listens on an address, or on the first one that a name has and that can be listened on.
pub(super) async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in lookup_host(address).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A coordinator that starts in place of another need not wait for the last of its connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// Answers until `shutdown`.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let free = Arc::new(Semaphore::new(connections()));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    while let Some((stream, permit)) = shutdown.run_until_cancelled(next(&listener, &free)).await {
        while connections.try_join_next().is_some() {}
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke off");
            }
        });
    }
    drop(listener);
    _ = tokio::time::timeout(GRACE, pin!(graceful.shutdown())).await;
}

/// The next connection, when there is room for one.
async fn next(listener: &TcpListener, free: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => {
                _ = stream.set_nodelay(true);
                return (stream, permit);
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
