//! How things stood when somebody last looked: asked once a second at most, however many look.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::operate::status::{Level, Light, Status, status};
use crate::operate::{Context, OperateError};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// What was seen last; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Glance {
    seen: Arc<RwLock<Option<LastLook>>>,
    asking: Arc<Mutex<()>>,
}

#[derive(Clone)]
struct LastLook {
    at: Instant,
    status: Result<Arc<Status>, OperateError>,
}

impl Glance {
    /// How things stand, a second ago or now. While one asks, others get what is known.
    pub(crate) async fn status(&self, context: &Context) -> Result<Arc<Status>, OperateError> {
        let known = self.seen();
        if let Some(seen) = known.as_ref().filter(|seen| seen.at.elapsed() < FRESH) {
            return seen.status.clone();
        }
        let _asking = match (self.asking.try_lock(), known) {
            (Ok(asking), _) => asking,
            (Err(_), Some(seen)) => return seen.status,
            (Err(_), None) => self.asking.lock().await,
        };
        if let Some(seen) = self.seen().filter(|seen| seen.at.elapsed() < FRESH) {
            return seen.status;
        }
        let status = status(context).await.map(Arc::new);
        let seen = LastLook { at: Instant::now(), status: status.clone() };
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        status
    }

    /// The lights; where not even that can be told, one that says why.
    pub(crate) async fn lights(&self, context: &Context) -> Vec<Light> {
        match self.status(context).await {
            Ok(status) => status.lights.clone(),
            Err(error) => vec![Light { name: "store", level: Level::Bad, words: error.message }],
        }
    }

    fn seen(&self) -> Option<LastLook> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
