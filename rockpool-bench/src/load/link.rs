//! A connection with requests under way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;

use super::requests::{KeyNames, Request};
use super::schedule::nanoseconds;
use super::values::Values;
use crate::wire::{ASKING, Codec, Kind, Reply, mget, mset};

/// The time of a run, in nanoseconds since its start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When the run began.
    pub start: Instant,
}

impl Clock {
    /// Nanoseconds since the start.
    pub fn now(self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// What was asked.
    pub request: Request,
    /// When it was sent, or due: its latency counts from there.
    pub since: u64,
    /// Redirections that it has followed.
    pub hops: u8,
    /// It is an ASKING that goes before another request, and no request of the plan.
    pub is_asking: bool,
}

/// What every request needs to become bytes.
#[derive(Debug)]
pub struct Writer<'a> {
    /// The protocol.
    pub codec: &'a Codec,
    /// The values that are set.
    pub values: &'a Values,
    /// The names of the keys of MGET and MSET.
    pub names: &'a KeyNames,
}

/// A connection that never blocks.
#[derive(Debug)]
pub struct Link {
    /// The socket, for the poll.
    pub stream: TcpStream,
    /// Bytes to be sent, of which the first `sent` are.
    output: Vec<u8>,
    sent: usize,
    /// The beginning of a reply whose rest is to come.
    partial: Vec<u8>,
    in_flight: VecDeque<Flight>,
    /// Since when the server owes something: the last reply, or the first request after it.
    waiting_since: u64,
}

impl Link {
    /// Takes a connection that does not block and has nothing under way.
    pub fn new(stream: TcpStream) -> Link {
        Link { stream, output: Vec::new(), sent: 0, partial: Vec::new(), in_flight: VecDeque::new(), waiting_since: 0 }
    }

    /// Appends a request to what is to be sent.
    #[inline]
    pub fn push(&mut self, flight: Flight, key: &[u8], writer: &Writer, now: u64) {
        if self.in_flight.is_empty() {
            self.waiting_since = now;
        }
        let Request { kind, key: number, bytes, ttl_ms } = flight.request;
        let (output, values) = (&mut self.output, writer.values);
        match kind {
            Kind::Get => writer.codec.get(output, key),
            Kind::Set => writer.codec.set(output, key, bytes, ttl_ms, |output| values.append(key, bytes, output)),
            Kind::Delete => writer.codec.delete(output, key),
            Kind::GetMany => mget(output, writer.names.of_many(number), |key, name| writer.names.write(key, name)),
            Kind::SetMany => {
                let keys = writer.names.of_many(number);
                let write = |key, name: &mut Vec<u8>| writer.names.write(key, name);
                mset(output, keys, write, bytes, |key, output| values.append(key, bytes, output));
            }
        }
        self.in_flight.push_back(flight);
    }

    /// Appends ASKING, which goes before a request that a cluster's node sent here.
    pub fn push_asking(&mut self, flight: Flight, now: u64) {
        if self.in_flight.is_empty() {
            self.waiting_since = now;
        }
        self.output.extend_from_slice(ASKING);
        self.in_flight.push_back(Flight { is_asking: true, ..flight });
    }

    /// Lets everything that is under way count from `now`.
    pub fn stamp(&mut self, now: u64) {
        self.in_flight.iter_mut().for_each(|flight| flight.since = now);
        self.waiting_since = now;
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads all that there is, and gives each reply to `complete`, with its request and the time it was read at.
    /// `piece` is where bytes are read to; `is_closed` tells that the server sends no more, of which there is no further event.
    pub fn receive(
        &mut self,
        piece: &mut [u8],
        is_closed: bool,
        codec: &Codec,
        clock: Clock,
        mut complete: impl FnMut(Flight, Reply, u64),
    ) -> io::Result<()> {
        loop {
            let count = match self.stream.read(piece) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let now = clock.now();
            self.waiting_since = now;
            let mut complete = |flight, reply: Reply| complete(flight, reply, now);
            if self.partial.is_empty() {
                let used = complete_all(&mut self.in_flight, codec, &piece[..count], &mut complete)?;
                self.partial.extend_from_slice(&piece[used..count]);
            } else {
                self.partial.extend_from_slice(&piece[..count]);
                let used = complete_all(&mut self.in_flight, codec, &self.partial, &mut complete)?;
                self.partial.drain(..used);
            }
            // A short read has emptied the socket: what comes later is an event of its own.
            if count < piece.len() && !is_closed {
                return Ok(());
            }
        }
    }

    /// Whether the server has owed something since before `time`.
    pub fn is_overdue(&self, time: u64) -> bool {
        !self.in_flight.is_empty() && self.waiting_since < time
    }

    /// The plan's requests that are under way.
    pub fn into_unanswered(self) -> impl Iterator<Item = Flight> {
        self.in_flight.into_iter().filter(|flight| !flight.is_asking)
    }
}

/// How much of `input` is replies.
#[inline]
fn complete_all(
    in_flight: &mut VecDeque<Flight>,
    codec: &Codec,
    input: &[u8],
    complete: &mut impl FnMut(Flight, Reply),
) -> io::Result<usize> {
    let invalid = |reason: String| io::Error::new(ErrorKind::InvalidData, reason);
    let mut used = 0;
    while used < input.len() {
        let Some(flight) = in_flight.front().copied() else {
            let rest = &input[used..input.len().min(used + 40)];
            return Err(invalid(format!("a reply to no request: \"{}\"", rest.escape_ascii())));
        };
        match codec.reply(flight.request.kind, &input[used..]) {
            Ok(Some((reply, length))) => {
                in_flight.pop_front();
                used += length;
                complete(flight, reply);
            }
            Ok(None) => break,
            Err(error) => return Err(invalid(error.to_string())),
        }
    }
    Ok(used)
}
