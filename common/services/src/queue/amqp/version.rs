//! What the broker says of itself before anybody logs in: product and version, in the first frame of a connection. lapin
//! reads it and keeps it to itself.

use std::time::Duration;

use lapin::uri::AMQPScheme;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::AmqpConfig;
use crate::queue::QueueError;

/// How long the broker may take to introduce itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How clients of AMQP 0-9-1 begin.
const HELLO: &[u8] = b"AMQP\0\0\x09\x01";

/// Bytes of the first frame that are read at most.
const MOST: u64 = 8192;

/// The broker's version, as in `3.10.8`; `None` where it does not say, or the connection is encrypted.
pub async fn server_version(config: &AmqpConfig) -> Result<Option<String>, QueueError> {
    let uri = config.uri()?;
    if uri.scheme == AMQPScheme::AMQPS {
        return Ok(None);
    }
    let (host, port) = (uri.authority.host, uri.authority.port);
    let unreachable = |reason: String| QueueError::Unreachable(format!("RabbitMQ at {host}:{port}: {reason}"));
    let ask = async {
        let mut stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.write_all(HELLO).await?;
        // The frame's head: type, channel, size of what follows.
        let mut head = [0; 7];
        stream.read_exact(&mut head).await?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut frame = Vec::new();
        stream.take(u64::from(size).min(MOST)).read_to_end(&mut frame).await?;
        std::io::Result::Ok(frame)
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(frame)) => Ok(version_in(&frame)),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no answer for {PATIENCE:?}"))),
    }
}

/// The property `version`, a long string, of the table in a first frame.
fn version_in(frame: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\x07versionS";
    let at = frame.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let size = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?);
    let text = frame.get(at + 4..at + 4 + usize::try_from(size).ok()?)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_a_long_string_of_the_table() {
        assert_eq!(version_in(b"..\x07versionS\0\0\0\x063.10.8\x08platformS"), Some("3.10.8".to_owned()));
        assert_eq!(version_in(b"..\x07versionS\0\0\0\xff3.10.8"), None);
        assert_eq!(version_in(b"nothing"), None);
    }
}
