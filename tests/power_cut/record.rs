//! The record that the shim writes, read back.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Opened { inode: u64, path: String, truncates: bool, is_directory: bool },
    Written { inode: u64, offset: u64, data: Vec<u8>, is_synced: bool },
    Truncated { inode: u64, length: u64 },
    Allocated { inode: u64, end: u64 },
    Zeroed { inode: u64, offset: u64, length: u64 },
    SyncBegun { inode: Option<u64>, number: u64 },
    SyncEnded { number: u64 },
    Renamed { from: Option<String>, to: Option<String> },
    Unlinked { path: String },
    MadeDirectory { path: String },
    RemovedDirectory { path: String },
    Linked { from: Option<String>, to: String },
}

const HEAD_BYTES: usize = 40;
const O_TRUNC: u64 = 0o1000;

/// The events in `bytes`, with paths relative to `root`. The last may have been cut off by the end of the process, and
/// then has not happened.
pub fn read(bytes: &[u8], root: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_at_checked(HEAD_BYTES) {
        let number = |index: usize| u64::from_le_bytes(head[index * 8..][..8].try_into().expect("8 bytes"));
        let (kind, inode, first, second) = (number(0), number(1), number(2), number(3));
        let Some((data, after)) = after.split_at_checked(usize::try_from(number(4)).expect("a length")) else { break };
        rest = after;
        let relative = |path: &[u8]| {
            let path = PathBuf::from(String::from_utf8(path.to_vec()).expect("paths of text"));
            path.strip_prefix(root).ok().map(|path| path.to_str().expect("text").to_owned())
        };
        let path = || relative(data).expect("a path below the directory");
        let paths = || {
            let end = data.iter().position(|&byte| byte == 0).expect("two paths");
            (relative(&data[..end]), relative(&data[end + 1..]))
        };
        events.push(match kind {
            1 => Event::Opened { inode, path: path(), truncates: first & O_TRUNC != 0, is_directory: second != 0 },
            2 => Event::Written { inode, offset: first, data: data.to_vec(), is_synced: second != 0 },
            3 => Event::Truncated { inode, length: first },
            4 => Event::Allocated { inode, end: first + second },
            5 => Event::Zeroed { inode, offset: first, length: second },
            6 => Event::SyncBegun { inode: (inode != 0).then_some(inode), number: first },
            7 => Event::SyncEnded { number: first },
            8 => {
                assert_eq!(first, 0, "an exchange of two names is not followed");
                let (from, to) = paths();
                Event::Renamed { from, to }
            }
            9 => Event::Unlinked { path: path() },
            10 => Event::MadeDirectory { path: path() },
            11 => Event::RemovedDirectory { path: path() },
            12 => {
                let (from, to) = paths();
                Event::Linked { from, to: to.expect("a path below the directory") }
            }
            13 => panic!("files are changed by {}, which is not followed", String::from_utf8_lossy(data)),
            _ => panic!("an event of kind {kind}: the record is broken"),
        });
    }
    events
}
