//! What is there under this system's names and is declared otherwise. Nothing is made: only what is there is declared, which the
//! broker takes without changing anything, or refuses.

use super::link::{AmqpLink, close};
use super::{AmqpConfig, topology};
use crate::queue::{QueueError, QueueName};

/// What is there and is not as this system declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which queue; `None` for the exchange of dead letters.
    pub queue: Option<QueueName>,
    /// Why the broker refuses it, with what differs, and what to do about it.
    pub reason: String,
}

/// What differs: of the exchange of dead letters, and of those of these queues that are there.
pub async fn differences(config: &AmqpConfig, queues: &[QueueName]) -> Result<Vec<Difference>, QueueError> {
    let link = AmqpLink::new(config.uri()?, "sas (differences)");
    let things = std::iter::once(None).chain(queues.iter().map(Some));
    let mut differences = Vec::new();
    for thing in things {
        // What is not there, and what is refused, closes the channel.
        let channel = link.channel().await?;
        let is_there = match thing {
            None => topology::has_exchange(&channel).await?,
            Some(queue) => topology::look(&channel, queue).await?.is_some(),
        };
        let declared = match thing {
            _ if !is_there => Ok(()),
            None => topology::declare_exchange(&channel).await,
            Some(queue) => topology::declare_queue(&channel, queue).await,
        };
        match declared {
            Ok(()) => {}
            Err(QueueError::Refused(reason)) => differences.push(Difference { queue: thing.cloned(), reason }),
            Err(error) => return Err(error),
        }
        close(&channel).await;
    }
    Ok(differences)
}
