//! A blocking RESP client with a deadline on every operation.

use super::value::{Value, decode, oracle_disagreement};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, target: &mut [u8], timeout: Duration) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(timeout)).and_then(|()| stream.read(target)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(timeout)).and_then(|()| stream.read(target)),
        }
    }

    fn write(&mut self, source: &[u8], timeout: Duration) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(timeout)).and_then(|()| stream.write(source)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(timeout)).and_then(|()| stream.write(source)),
        }
    }
}

/// A connection to a server. Operations panic with what they waited for when their deadline passes; those named
/// `try_` return an error instead.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    received: Vec<u8>,
    /// Where in `received` the next reply starts.
    start: usize,
    deadline: Duration,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, Client::DEADLINE)?;
        stream.set_nodelay(true)?;
        Ok(Client::over(Stream::Tcp(stream)))
    }

    pub fn connect_unix(path: impl AsRef<Path>) -> Client {
        let path = path.as_ref();
        let stream =
            UnixStream::connect(path).unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        Client::over(Stream::Unix(stream))
    }

    const DEADLINE: Duration = Duration::from_secs(20);

    fn over(stream: Stream) -> Client {
        Client { stream, received: Vec::new(), start: 0, deadline: Client::DEADLINE }
    }

    /// How long each following operation may take.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Sends one command and does not wait for its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        self.raw_write(&encode(arguments));
    }

    /// Sends one command and returns its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        self.send(arguments);
        self.read_value()
    }

    /// A number that INFO tells.
    pub fn info_number(&mut self, section: &str, name: &str) -> u64 {
        let info = self.command(&["INFO", section]).text();
        let text = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        text.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
    }

    /// Whether all that has changed is on disk, and counts are exact.
    pub fn is_merged(&mut self) -> bool {
        ["dirty_keys", "merge_in_progress"].iter().all(|name| self.info_number("tiering", name) == 0)
    }

    /// Sends all commands in one write, then reads as many replies.
    pub fn pipeline<C: AsRef<[A]>, A: AsRef<[u8]>>(&mut self, commands: &[C]) -> Vec<Value> {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command.as_ref())).collect();
        self.raw_write(&bytes);
        commands.iter().map(|_| self.read_value()).collect()
    }

    pub fn raw_write(&mut self, bytes: &[u8]) {
        self.try_raw_write(bytes).unwrap_or_else(|error| panic!("cannot write to the server: {error}"));
    }

    /// Like [`Client::raw_write`], for bytes that the server may refuse by closing the connection.
    pub fn try_raw_write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let end = Instant::now() + self.deadline;
        while !bytes.is_empty() {
            match self.stream.write(bytes, remaining(end)?) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next reply, or out-of-band push.
    pub fn read_value(&mut self) -> Value {
        self.try_read_value().unwrap_or_else(|error| {
            panic!("no reply: {error}; received so far: \"{}\"", self.received[self.start..].escape_ascii())
        })
    }

    /// `UnexpectedEof` when the server has closed, `WouldBlock` or `TimedOut` at the deadline, `InvalidData` when the
    /// bytes are no RESP.
    pub fn try_read_value(&mut self) -> io::Result<Value> {
        self.try_read_reply().map(|(value, _)| value)
    }

    /// The next reply together with its bytes on the wire.
    pub fn try_read_reply(&mut self) -> io::Result<(Value, Vec<u8>)> {
        let end = Instant::now() + self.deadline;
        // The frame is looked at again only when what was received has doubled: no quadratic scans of large replies.
        let mut worth_a_look = 1;
        loop {
            let pending = &self.received[self.start..];
            if pending.len() >= worth_a_look || pending.ends_with(b"\r\n") {
                worth_a_look = pending.len() * 2;
                let decoded = decode(pending).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
                if let Some((value, length)) = decoded {
                    let bytes = pending[..length].to_vec();
                    if let Some(difference) = oracle_disagreement(&bytes, &value) {
                        return Err(io::Error::new(ErrorKind::InvalidData, difference));
                    }
                    self.start += length;
                    if self.start == self.received.len() {
                        self.received.clear();
                        self.start = 0;
                    }
                    return Ok((value, bytes));
                }
            }
            if self.receive(end)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// `length` bytes as they come, for protocols that are not RESP.
    pub fn read_bytes(&mut self, length: usize) -> Vec<u8> {
        let end = Instant::now() + self.deadline;
        while self.received.len() - self.start < length {
            match self.receive(end) {
                Ok(0) => panic!("closed before {length} bytes; got {:?}", self.received[self.start..].escape_ascii()),
                Ok(_) => {}
                Err(error) => panic!("{error} before {length} bytes"),
            }
        }
        let bytes = self.received[self.start..self.start + length].to_vec();
        self.start += length;
        bytes
    }

    /// Waits for the server to close this connection: true when it does with nothing left to read, false when there
    /// is something to read or the deadline passes.
    pub fn at_end(&mut self) -> bool {
        let end = Instant::now() + self.deadline;
        if self.start < self.received.len() {
            return false;
        }
        match self.receive(end) {
            Ok(count) => count == 0,
            Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        }
    }

    fn receive(&mut self, end: Instant) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut piece, remaining(end)?) {
                Ok(count) => {
                    self.received.extend_from_slice(&piece[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn remaining(end: Instant) -> io::Result<Duration> {
    let remaining = end.saturating_duration_since(Instant::now());
    if remaining.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(remaining) }
}

/// A command as RESP: an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
