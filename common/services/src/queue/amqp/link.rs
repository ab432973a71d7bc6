//! One connection to RabbitMQ, made anew when it breaks; and what lapin's errors mean.

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::queue::QueueError;

/// Longest wait for any answer of the broker but the confirm of a message.
const ANSWER: Duration = Duration::from_secs(10);

/// After a failed attempt to connect, callers get its error for this long.
const PAUSE: Duration = Duration::from_millis(100);

/// Seconds between heartbeats: a host that vanished is noticed after two.
const HEARTBEAT: u16 = 10;

/// Most bytes of a frame; a longer message is several. lapin keeps 32 frames for each direction: 8 MB for a connection at the
/// 128 KiB that RabbitMQ proposes, 1 MB at this.
const FRAME: u32 = 16 * 1024;

/// A connection that is made when it is needed.
pub(super) struct AmqpLink {
    uri: AMQPUri,
    name: String,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    failed: Option<(Instant, String)>,
}

impl AmqpLink {
    /// A link that is not connected yet.
    pub(super) fn new(mut uri: AMQPUri, name: &str) -> Self {
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        uri.query.frame_max.get_or_insert(FRAME);
        Self { uri, name: name.to_owned(), slot: Mutex::default() }
    }

    /// Host, port and virtual host, without the password.
    pub(super) fn address(&self) -> String {
        format!("{}:{}/{}", self.uri.authority.host, self.uri.authority.port, self.uri.vhost)
    }

    /// The virtual host.
    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// The connection; connects where there is none that works.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, QueueError> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(connection.clone());
        }
        slot.connection = None;
        if let Some((at, reason)) = &slot.failed
            && at.elapsed() < PAUSE
        {
            return Err(QueueError::Unreachable(reason.clone()));
        }
        let properties = ConnectionProperties::default().with_connection_name(self.name.clone().into());
        let connecting = Connection::connect_uri(self.uri.clone(), properties);
        match timed("connect", connecting).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *slot = Slot { connection: Some(connection.clone()), failed: None };
                Ok(connection)
            }
            Err(error) => {
                let error = self.at_address(error);
                if let QueueError::Unreachable(reason) = &error {
                    slot.failed = Some((Instant::now(), reason.clone()));
                }
                Err(error)
            }
        }
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, QueueError> {
        let connection = self.connection().await?;
        match timed("open a channel", connection.create_channel()).await {
            Ok(channel) => Ok(channel),
            Err(error) => {
                // It says that it is connected and does not answer: the next caller makes a new one.
                let mut slot = self.slot.lock().await;
                if slot.connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                    slot.connection = None;
                }
                Err(self.at_address(error))
            }
        }
    }

    /// Lets go of the connection: the next caller makes a new one.
    pub(super) async fn forget(&self) {
        self.slot.lock().await.connection = None;
    }

    /// Whether the broker said that it takes nothing on the connection for now, as with a full disk.
    pub(super) async fn is_blocked(&self) -> bool {
        let slot = self.slot.lock().await;
        slot.connection
            .as_ref()
            .is_some_and(|connection| connection.status().connected() && connection.status().blocked())
    }

    /// A link of its own to the same broker.
    pub(super) fn another(&self, name: &str) -> Self {
        Self::new(self.uri.clone(), &format!("{} ({name})", self.name))
    }

    fn at_address(&self, error: QueueError) -> QueueError {
        match error {
            QueueError::Unreachable(reason) => {
                QueueError::Unreachable(format!("RabbitMQ at {}: {reason}", self.address()))
            }
            QueueError::Refused(reason) => QueueError::Refused(format!(
                "RabbitMQ at {} as user {}: {reason}",
                self.address(),
                self.uri.authority.userinfo.username
            )),
            QueueError::Unconfirmed { .. } | QueueError::Silent { .. } => error,
        }
    }
}

/// Waits for lapin, but not for ever: it may never wake when a connection dies at the wrong moment.
pub(super) async fn timed<T>(what: &str, answer: impl Future<Output = lapin::Result<T>>) -> Result<T, QueueError> {
    timed_within(ANSWER, what, answer).await
}

/// The same for what may take longer than any other answer.
pub(super) async fn timed_within<T>(
    most: Duration,
    what: &str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, QueueError> {
    match tokio::time::timeout(most, answer).await {
        Ok(answer) => answer.map_err(|error| meaning(what, &error)),
        Err(_) => Err(QueueError::Unreachable(format!("failed to {what}: no answer for {most:?}"))),
    }
}

/// Closes a channel that has done its work; what is unanswered on it goes back to its queue.
pub(super) async fn close(channel: &Channel) {
    if channel.status().connected()
        && let Err(error) = timed("close a channel", channel.close(200, "done".into())).await
    {
        tracing::debug!(%error, "a channel was not closed in order");
    }
}

/// What an error means: replies of AMQP that will be the same next time are refusals.
fn meaning(what: &str, error: &lapin::Error) -> QueueError {
    let text = format!("failed to {what}: {error}");
    if let ErrorKind::ProtocolError(reply) = error.kind()
        && REFUSALS.contains(&reply.get_id())
    {
        let advice = advice(&text);
        return QueueError::Refused(format!("{text}; {advice}"));
    }
    QueueError::Unreachable(text)
}

/// What to do about a refusal with this text.
fn advice(text: &str) -> String {
    if !text.contains(DIFFERS) {
        return "see `[queue] url` and the user's permissions".to_owned();
    }
    let named = |kind: &str| {
        let (_, rest) = text.split_once(format!(" for {kind} '").as_str())?;
        let (name, rest) = rest.split_once("' in vhost '")?;
        rest.split_once('\'').map(|(vhost, _)| (name, vhost))
    };
    let (when, command) = match (named("exchange"), named("queue")) {
        (Some((name, vhost)), _) => (
            "once nobody publishes to it",
            format!(
                "`rabbitmqctl eval 'rabbit_exchange:delete(rabbit_misc:r(<<\"{vhost}\">>, exchange, <<\"{name}\">>), false, \
                 <<\"sas\">>).'`, or "
            ),
        ),
        (None, Some((name, vhost))) => {
            ("once nobody needs what it holds", format!("`rabbitmqctl delete_queue -p {vhost} {name}`, or "))
        }
        (None, None) => ("once nobody needs it", String::new()),
    };
    format!(
        "it is there already, made by something else than this system, and other than it must be; {when}, delete it ({command}on \
         the management pages) and run `sas init`"
    )
}

/// ACCESS-REFUSED (credentials, permissions), PRECONDITION-FAILED (a queue or exchange is declared otherwise), NOT-ALLOWED (virtual
/// host).
const REFUSALS: [u16; 3] = [403, 406, 530];

/// What the broker says of a queue or exchange that has other arguments; which one, and both its values, it says behind that.
const DIFFERS: &str = "inequivalent arg";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_otherwise_is_deleted_as_what_it_is() {
        let of = |thing: &str| advice(&format!("inequivalent arg 'type' for {thing}: received 'a' but current is 'b'"));
        let queue = of("queue 'sas.completions' in vhost '/'");
        let expected = "(`rabbitmqctl delete_queue -p / sas.completions`, or on the management pages)";
        assert!(queue.contains(expected), "{queue}");
        let exchange = of("exchange 'sas.dead' in vhost 'test0'");
        let expected = r#"(rabbit_misc:r(<<"test0">>, exchange, <<"sas.dead">>), false, <<"sas">>).'"#;
        assert!(exchange.contains(expected) && !exchange.contains("delete_queue"), "{exchange}");
        let cut = of("queue 'sas.tasks.…");
        assert!(cut.contains("delete it (on the management pages) and run `sas init`"), "{cut}");
        assert!(advice("ACCESS_REFUSED").contains("permissions"));
    }
}
