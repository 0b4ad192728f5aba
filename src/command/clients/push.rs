//! What clients are told out of band, and where it lies until their connections take it.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::base::chunks::{BytesRef, Chunks};
use crate::base::gather::Gather;
use crate::protocol::resp::{ReplyWriter, Version};
use crate::reply::Sink;

/// A message for any number of clients: encoded once for each version of the protocol that one of them speaks, and shared.
pub struct Push<D> {
    describe: D,
    resp2: OnceCell<Chunks>,
    resp3: OnceCell<Chunks>,
}

impl<D: Fn(&mut dyn Sink)> Push<D> {
    /// Creates the message that `describe` describes.
    pub fn new(describe: D) -> Push<D> {
        Push { describe, resp2: OnceCell::new(), resp3: OnceCell::new() }
    }

    /// Its bytes in a version of the protocol.
    pub(super) fn encoded(&self, version: Version) -> &Chunks {
        let encoded = if version == Version::Resp3 { &self.resp3 } else { &self.resp2 };
        encoded.get_or_init(|| {
            let mut output = Gather::default();
            (self.describe)(&mut ReplyWriter::new(&mut output, version));
            Chunks::from(&output.to_vec()[..])
        })
    }
}

/// Messages for one client that its connection has not taken.
#[derive(Default)]
pub(super) struct Outbox {
    messages: Mutex<VecDeque<Chunks>>,
    /// Their length.
    bytes: AtomicUsize,
}

impl Outbox {
    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds a message, unless `hard_bytes` or more would wait then, with `unsent_bytes` that wait elsewhere (0: no limit).
    /// Returns whether it did.
    pub fn add(&self, message: &Chunks, unsent_bytes: usize, hard_bytes: u64) -> bool {
        let mut messages = self.messages.lock();
        let bytes = self.len() + message.len();
        if hard_bytes > 0 && (unsent_bytes + bytes) as u64 >= hard_bytes {
            return false;
        }
        messages.push_back(message.clone());
        self.bytes.store(bytes, Ordering::Relaxed);
        true
    }

    /// Moves messages to the end of `output`, until that has `until_bytes` or more.
    #[cold]
    pub fn take(&self, output: &mut Gather, until_bytes: usize) {
        let mut messages = self.messages.lock();
        while output.len() < until_bytes
            && let Some(message) = messages.pop_front()
        {
            output.put(BytesRef::Chunks(&message));
            self.bytes.store(self.len() - message.len(), Ordering::Relaxed);
        }
        if messages.is_empty() {
            messages.shrink_to(KEPT_MESSAGES);
        }
    }
}

/// An empty outbox keeps room for so many messages.
const KEPT_MESSAGES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chunks::LARGE_BYTES;
    use crate::command::clients::{Client, Peer};
    use std::cell::Cell;

    fn clients(version: Version) -> Vec<Client> {
        let create = |id| {
            let client = Client::new(id, Peer::default(), 0, true);
            client.set_version(version);
            client
        };
        (1..=100).map(create).collect()
    }

    /// What waits for a client, without a copy.
    fn waiting(client: &Client) -> Vec<*const u8> {
        let messages = client.outbox.messages.lock();
        messages.iter().flat_map(Chunks::parts).map(<[u8]>::as_ptr).collect()
    }

    #[test]
    fn a_message_is_encoded_once_for_each_version_and_shared_by_all() {
        for text in ["message".to_owned(), "m".repeat(3 * LARGE_BYTES)] {
            let described = Cell::new(0);
            let push = Push::new(|sink| {
                described.set(described.get() + 1);
                sink.push(2);
                sink.bulk(text.as_bytes());
                sink.null();
            });
            let length = text.len();
            for (version, bytes) in [
                (Version::Resp2, format!("*2\r\n${length}\r\n{text}\r\n$-1\r\n")),
                (Version::Resp3, format!(">2\r\n${length}\r\n{text}\r\n_\r\n")),
            ] {
                let clients = clients(version);
                described.set(0);
                assert!(clients.iter().all(|client| client.push(&push, 0)));
                assert_eq!(described.get(), 1, "for all of {}", clients.len());
                let shared = waiting(&clients[0]);
                assert!(!shared.is_empty() && clients.iter().all(|client| waiting(client) == shared), "the same bytes");
                for client in &clients {
                    let mut output = Gather::default();
                    client.take_pushes(&mut output, usize::MAX);
                    assert_eq!(
                        output.plain().is_none(),
                        length >= LARGE_BYTES,
                        "a long one is sent from where it lies"
                    );
                    assert!(output.to_vec() == bytes.as_bytes());
                    assert_eq!(client.output_bytes(), 0);
                }
            }
        }
    }

    #[test]
    fn messages_are_taken_once_in_order_and_no_more_than_are_wanted() {
        let client = Client::new(1, Peer::default(), 0, true);
        for number in 0..10 {
            assert!(client.push(&Push::new(|sink| sink.integer(number)), 0));
        }
        let mut output = Gather::default();
        output.bytes().extend_from_slice(b"+OK\r\n");
        client.take_pushes(&mut output, 5);
        assert_eq!(output.len(), 5, "that is enough");
        client.take_pushes(&mut output, 12);
        assert_eq!((output.to_vec(), client.output_bytes()), (b"+OK\r\n:0\r\n:1\r\n".to_vec(), 32));
        client.take_pushes(&mut output, usize::MAX);
        client.take_pushes(&mut output, usize::MAX);
        let all: String = (0..10).map(|number| format!(":{number}\r\n")).collect();
        assert_eq!((output.to_vec(), client.output_bytes()), (format!("+OK\r\n{all}").into_bytes(), 0));
    }
}
