//! A client of the servers: one connection that is kept.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    /// Sent with each request; empty for none.
    token: String,
}

impl Client {
    /// Connects to `address`, which is a host and a port.
    ///
    /// # Errors
    /// Returns an error if nobody listens there.
    pub fn open(address: &str, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), token: token.to_owned() })
    }

    /// Sends JSON and returns the status and the JSON of the answer.
    ///
    /// # Errors
    /// Returns an error if the connection breaks or the answer is not one of known length with JSON.
    pub fn post(&mut self, path: &str, body: &str) -> io::Result<(u16, Value)> {
        let (status, answer) = self.post_raw(path, body)?;
        Ok((status, serde_json::from_slice(&answer)?))
    }

    /// Sends JSON and returns the status and the body of the answer.
    ///
    /// # Errors
    /// Returns an error if the connection breaks or the answer is not one of known length.
    pub fn post_raw(&mut self, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        let authorization = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("expected a status line"))?;
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok();
                }
                Some(_) => {}
                None => break,
            }
        }
        let length: usize = length.ok_or_else(|| io::Error::other("expected a content-length"))?;
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}
