//! The few commands by which a comparison prepares servers and asks how they are: one at a time, over RESP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

/// No server takes so long for a command of these, busy or not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to one server.
#[derive(Debug)]
pub struct Control {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// When the connection breaks, the reply is an error (the text says which) or no RESP.
    pub fn command(&mut self, words: &[&str]) -> io::Result<OwnedFrame> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.stream.write_all(&request)?;
        loop {
            let decoded = decode(&self.received).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some((frame, length)) = decoded {
                self.received.drain(..length);
                return match frame {
                    OwnedFrame::Error(text) => Err(io::Error::other(text)),
                    frame => Ok(frame),
                };
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.received.extend_from_slice(&part[..length]),
            }
        }
    }

    /// The number that a command answers.
    ///
    /// # Errors
    /// As [`Control::command`], and when it answers no number.
    pub fn number(&mut self, words: &[&str]) -> io::Result<i64> {
        match self.command(words)? {
            OwnedFrame::Integer(number) => Ok(number),
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{words:?} answers {other:?}"))),
        }
    }

    /// The text that a command answers.
    ///
    /// # Errors
    /// As [`Control::command`], and when it answers no text.
    pub fn text(&mut self, words: &[&str]) -> io::Result<String> {
        match self.command(words)? {
            OwnedFrame::SimpleString(bytes) | OwnedFrame::BulkString(bytes) => {
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{words:?} answers {other:?}"))),
        }
    }
}
