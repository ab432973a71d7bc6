//! Asking an HTTP server, in the plainest way.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The whole answer to `GET path`, with its head.
pub async fn ask(address: &str, path: &str) -> Result<String> {
    Ok(String::from_utf8(answer(address, path).await?)?)
}

/// Head and body of the answer to `GET path`, whatever bytes the body has.
pub async fn ask_bytes(address: &str, path: &str) -> Result<(String, Vec<u8>)> {
    let answer = answer(address, path).await?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("an answer has a head")? + 4;
    Ok((String::from_utf8(answer[..end].to_vec())?, answer[end..].to_vec()))
}

/// Reads what is sent in answer to `GET path` until it ends, and forgets it.
pub async fn follow(address: &str, path: &str) -> Result<()> {
    let mut stream = asked(address, path).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

async fn answer(address: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = asked(address, path).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(!answer.is_empty(), "nothing was answered");
    Ok(answer)
}

/// A connection on which `GET path` was sent.
async fn asked(address: &str, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}
