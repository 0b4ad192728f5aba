//! What reaches the device for each byte of new values, so that no more of it creeps in unseen.

mod support;

use std::time::{Duration, Instant};

use support::{Client, Engine, Server, Value, eventually};

const VALUE_BYTES: usize = 4096;
const KEYS: usize = 16_384;
/// How much may be written for each byte of value: to the journal and a spare of its, to RocksDB's log, to a blob file; a compaction
/// that comes in time adds a part.
const WRITTEN_MAX: f64 = 5.5;
/// Less than once cannot be: then what was counted is not the device.
const WRITTEN_MIN: f64 = 1.0;
/// How long rounds, flushes and compactions may go on after the last value.
const REST_DEADLINE: Duration = Duration::from_secs(60);
/// They are over when all is merged and nothing was written for so long.
const QUIET: Duration = Duration::from_secs(1);

/// Bytes that the process has had written to a device, or will have: pages that it has made dirty count at once.
fn written_bytes(server: &Server) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/io", server.pid())).expect("the server's own figures");
    let count = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    count.expect("a count of bytes")
}

/// Waits until nothing more is written.
fn written_at_rest(server: &Server, client: &mut Client) -> u64 {
    let (mut last, mut since) = (written_bytes(server), Instant::now());
    let is_at_rest = eventually(REST_DEADLINE, || {
        let now = written_bytes(server);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= QUIET && client.is_merged()
    });
    assert!(is_at_rest, "it goes on writing for {REST_DEADLINE:?}");
    last
}

/// Values that no compression makes smaller.
fn set_all(client: &mut Client) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = vec![0; VALUE_BYTES];
    for first in (0..KEYS).step_by(64) {
        let keys: Vec<String> = (first..first + 64).map(|number| format!("key:{number:012}")).collect();
        for key in &keys {
            for word in value.chunks_mut(8) {
                // Marsaglia's xorshift.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            client.send(&["SET".as_bytes(), key.as_bytes(), &value]);
        }
        for key in &keys {
            assert_eq!(client.read_value(), Value::ok(), "{key}");
        }
    }
}

#[test]
fn a_byte_of_value_is_written_a_few_times_at_most() {
    // On the file system of the build, since one in memory has no device.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on a disk");
    let server = Server::options(Engine::Rocksdb).directory(directory.path()).start();
    let mut client = server.client();
    let before = written_at_rest(&server, &mut client);
    set_all(&mut client);
    let after = written_at_rest(&server, &mut client);
    let written = (after - before) as f64 / (KEYS * VALUE_BYTES) as f64;
    println!("{written:.2} bytes written for each byte of value");
    assert!((WRITTEN_MIN..=WRITTEN_MAX).contains(&written), "{written:.2} bytes for each byte of value");
}
