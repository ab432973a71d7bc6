//! Whether store, state and broker can be *used*: something is written to each, so that one that only reads is seen.
//!
//! One look at a time, whoever asks, and its answer serves all who ask within a second: no number of askers costs more.

use std::sync::Arc;
use std::time::Duration;

use domain::error::chain;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use crate::running::Services;

/// How long a service has to take what is written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer serves.
const FRESH: Duration = Duration::from_secs(1);

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceState {
    /// Its name, as operators call it.
    pub(crate) name: &'static str,
    /// Why it cannot be used; `None` where it can.
    pub(crate) trouble: Option<String>,
}

/// The last look at the services.
pub(crate) struct Readiness {
    last: Mutex<Option<(Instant, Vec<ServiceState>)>>,
    /// A file system that hangs holds the thread that asked it: no second one is lost to it.
    store: Arc<Semaphore>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { last: Mutex::default(), store: Arc::new(Semaphore::new(1)) }
    }
}

impl Readiness {
    /// How the services are now, or were a second ago.
    pub(crate) async fn look(&self, services: &Services) -> Vec<ServiceState> {
        let mut last = self.last.lock().await;
        if let Some((at, states)) = &*last
            && at.elapsed() < FRESH
        {
            return states.clone();
        }
        let redis = async { services.state.probe().await.map_err(|error| chain(&error)) };
        let broker = async { services.queue.probe().await.map_err(|error| chain(&error)) };
        let (store, redis, broker) =
            tokio::join!(state("store", self.store(services)), state("redis", redis), state("rabbitmq", broker));
        let states = vec![store, redis, broker];
        *last = Some((Instant::now(), states.clone()));
        states
    }

    async fn store(&self, services: &Services) -> Result<(), String> {
        let Ok(permit) = self.store.clone().try_acquire_owned() else {
            return Err("an earlier attempt to write to it has not come to an end".to_owned());
        };
        let store = services.store.clone();
        let probe = tokio::spawn(async move {
            let probed = store.ask(|store| store.probe()).await.map_err(|error| chain(&error));
            drop(permit);
            probed
        });
        probe.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

async fn state(name: &'static str, probe: impl Future<Output = Result<(), String>>) -> ServiceState {
    let trouble = match timeout(PATIENCE, probe).await {
        Ok(probed) => probed.err(),
        Err(_) => Some(format!("it took nothing within {} s", PATIENCE.as_secs())),
    };
    ServiceState { name, trouble }
}
