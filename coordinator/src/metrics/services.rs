//! Whether services can be used, and how much room the store has.

use std::time::Duration;

use tokio::time::timeout;

use crate::metrics::list::List;
use crate::readiness::ServiceState;
use crate::running::Coordinator;

/// How long a file system has to say how much room it has.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn add(list: &mut List, ready: &[ServiceState], running: &Coordinator) {
    let up = ready.iter().map(|service| ([("service", service.name)], f64::from(u8::from(service.trouble.is_none()))));
    list.gauges("service_up", "1 where the service can be written to, else 0", up);
    // One that hangs is not asked once more.
    let is_up = ready.iter().any(|service| service.name == "store" && service.trouble.is_none());
    let space = async { running.services.store.ask(|store| store.space()).await.ok() };
    let space = if is_up { timeout(PATIENCE, space).await.ok().flatten() } else { None };
    list.gauge("store_free_bytes", "Room that is left for the store", space.map(|space| space.free as f64));
    list.gauge("store_size_bytes", "Size of the file system of the store", space.map(|space| space.total as f64));
}
