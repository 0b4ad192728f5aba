//! What a disk may hold after a power cut.
//!
//! A [`Disk`] follows the events of a process: what of each file is safely on the device, and what was done since.
//! [`Disk::cut`] makes up one of the states that the device may be left in: synced data are there; of unsynced writes any
//! 512 bytes may be, in any order; names that were made, changed and removed are so if they were synced (their directory,
//! or the file itself), and up to some point in time otherwise.

use super::record::Event;
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;
use std::path::Path;

const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: u64 = 512;

/// A sparse file.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
    length: u64,
}

impl Content {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut data = data;
        let mut at = offset;
        while !data.is_empty() {
            let within = (at % PAGE_BYTES as u64) as usize;
            let count = data.len().min(PAGE_BYTES - within);
            let page = self.pages.entry(at / PAGE_BYTES as u64).or_insert_with(|| Box::new([0; PAGE_BYTES]));
            page[within..within + count].copy_from_slice(&data[..count]);
            data = &data[count..];
            at += count as u64;
        }
        self.length = self.length.max(at);
    }

    fn zero(&mut self, from: u64, to: u64) {
        let first = from / PAGE_BYTES as u64;
        let pages: Vec<u64> = self.pages.range(first..to.div_ceil(PAGE_BYTES as u64)).map(|(&page, _)| page).collect();
        for page in pages {
            let start = page * PAGE_BYTES as u64;
            let (from, to) = (from.max(start) - start, (to - start).min(PAGE_BYTES as u64));
            self.pages.get_mut(&page).expect("it is there")[from as usize..to as usize].fill(0);
        }
    }

    fn truncate(&mut self, length: u64) {
        if length < self.length {
            self.zero(length, self.length);
            self.pages.split_off(&length.div_ceil(PAGE_BYTES as u64));
        }
        self.length = length;
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.length).expect("it fits")];
        for (page, data) in &self.pages {
            let start = *page as usize * PAGE_BYTES;
            let count = PAGE_BYTES.min(bytes.len() - start);
            bytes[start..start + count].copy_from_slice(&data[..count]);
        }
        bytes
    }

    fn save(&self, path: &Path) -> std::io::Result<()> {
        let file = std::fs::File::create(path)?;
        file.set_len(self.length)?;
        for (page, data) in &self.pages {
            let start = page * PAGE_BYTES as u64;
            let count = (self.length - start).min(PAGE_BYTES as u64) as usize;
            file.write_all_at(&data[..count], start)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Change {
    /// One that is synced by itself is there in any case.
    Write {
        offset: u64,
        data: Vec<u8>,
        is_synced: bool,
    },
    Truncate(u64),
    Allocate(u64),
    Zero {
        from: u64,
        to: u64,
    },
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match self {
            Change::Write { offset, data, .. } => content.write(*offset, data),
            Change::Truncate(length) => content.truncate(*length),
            Change::Allocate(end) => content.length = content.length.max(*end),
            Change::Zero { from, to } => content.zero(*from, *to),
        }
    }
}

/// What a cut leaves of the unsynced changes of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    Everything,
    Nothing,
    /// The last ones, in the order in which they were made.
    Tail,
    /// Some, in any order, and of each some sectors; so many of a hundred are there.
    Sectors {
        kept: u32,
        grows_first: bool,
    },
}

#[derive(Clone, Debug, Default)]
struct File {
    synced: Content,
    /// With the time of each, which is the number of its event.
    since: Vec<(usize, Change)>,
}

impl File {
    fn sync(&mut self, before: usize) {
        let count = self.since.partition_point(|(time, _)| *time < before);
        for (_, change) in self.since.drain(..count) {
            change.apply(&mut self.synced);
        }
    }

    fn after(&self, loss: Loss, random: &mut impl Rng) -> Content {
        let mut content = self.synced.clone();
        let whole = match loss {
            Loss::Everything => 0,
            Loss::Nothing => self.since.len(),
            Loss::Tail => random.random_range(0..=self.since.len()),
            Loss::Sectors { kept, .. } => self.since.len() * kept as usize / 100,
        };
        for (index, (_, change)) in self.since.iter().enumerate() {
            match (loss, change) {
                (_, Change::Write { is_synced: true, .. }) => change.apply(&mut content),
                (Loss::Sectors { kept, grows_first }, Change::Write { offset, data, .. }) => {
                    let end = offset + data.len() as u64;
                    if grows_first {
                        content.length = content.length.max(end);
                    }
                    let mut from = *offset;
                    while from < end {
                        let to = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
                        if random.random_ratio(kept, 100) {
                            content.write(from, &data[(from - offset) as usize..(to - offset) as usize]);
                        }
                        from = to;
                    }
                }
                (_, change) if index < whole => change.apply(&mut content),
                // The first one that is not there whole may be there in part.
                (Loss::Tail, Change::Write { offset, data, .. }) if index == whole => {
                    let sectors = data.len() as u64 / SECTOR_BYTES;
                    let torn = random.random_range(0..=sectors) * SECTOR_BYTES;
                    content.write(*offset, &data[..torn as usize]);
                }
                _ => {}
            }
        }
        content
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

type Names = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
enum NameChange {
    Add { path: String, node: Node },
    Remove { path: String, node: Node },
    Rename { from: String, to: String, node: Node },
}

impl NameChange {
    /// Where what it depends on is not there either, it is not.
    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Add { path, node } => {
                if parent(path).is_none_or(|parent| names.contains_key(parent)) {
                    names.insert(path.clone(), *node);
                }
            }
            NameChange::Remove { path, node } => {
                if names.get(path) == Some(node) {
                    names.retain(|name, _| name != path && !is_below(name, path));
                }
            }
            NameChange::Rename { from, to, node } => {
                if names.get(from) == Some(node) && parent(to).is_none_or(|parent| names.contains_key(parent)) {
                    let moved: Vec<(String, Node)> = names
                        .iter()
                        .filter(|(name, _)| *name == from || is_below(name, from))
                        .map(|(name, node)| (name.clone(), *node))
                        .collect();
                    for (name, node) in moved {
                        names.remove(&name);
                        names.insert(format!("{to}{}", &name[from.len()..]), node);
                    }
                }
            }
        }
    }

    fn concerns(&self, directory: &str) -> bool {
        let in_directory = |path: &str| parent(path).unwrap_or("") == directory;
        match self {
            NameChange::Add { path, .. } | NameChange::Remove { path, .. } => in_directory(path),
            NameChange::Rename { from, to, .. } => in_directory(from) || in_directory(to),
        }
    }

    /// Whether it gave a file, or a directory above it, the name `path`.
    fn leads_to(&self, path: &str) -> bool {
        let leads = |name: &str| name == path || is_below(path, name);
        match self {
            NameChange::Add { path, .. } => leads(path),
            NameChange::Rename { to, .. } => leads(to),
            NameChange::Remove { .. } => false,
        }
    }
}

/// The directory of a path; none where that is the root.
fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    /// As the process sees them.
    names: Names,
    synced_names: Names,
    /// Since then, with the time of each, and whether it has been synced.
    since: Vec<(usize, NameChange, bool)>,
    /// By inode; a directory's path.
    open_files: HashMap<u64, usize>,
    open_directories: HashMap<u64, String>,
    /// Syncs under way: what they are of, and when they began.
    syncs: HashMap<u64, (Option<u64>, usize)>,
    time: usize,
}

impl Disk {
    pub fn follow(&mut self, events: Vec<Event>) {
        for event in events {
            self.time += 1;
            self.follow_one(event);
        }
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.since.push((self.time, change, false));
    }

    fn change(&mut self, inode: u64, change: Change) {
        // An inode that is not known was followed for nothing.
        if let Some(&file) = self.open_files.get(&inode) {
            self.files[file].since.push((self.time, change));
        }
    }

    fn follow_one(&mut self, event: Event) {
        match event {
            Event::Opened { inode, path, is_directory: true, .. } => {
                self.open_directories.insert(inode, path);
            }
            Event::Opened { inode, path, truncates, .. } => {
                let file = match self.names.get(&path) {
                    Some(Node::File(file)) => *file,
                    _ => {
                        self.files.push(File::default());
                        let file = self.files.len() - 1;
                        self.rename(NameChange::Add { path, node: Node::File(file) });
                        file
                    }
                };
                self.open_files.insert(inode, file);
                if truncates {
                    self.change(inode, Change::Truncate(0));
                }
            }
            Event::Written { inode, offset, data, is_synced } => {
                self.change(inode, Change::Write { offset, data, is_synced });
            }
            Event::Truncated { inode, length } => self.change(inode, Change::Truncate(length)),
            Event::Allocated { inode, end } => self.change(inode, Change::Allocate(end)),
            Event::Zeroed { inode, offset, length } => {
                self.change(inode, Change::Zero { from: offset, to: offset + length });
            }
            Event::SyncBegun { inode, number } => {
                self.syncs.insert(number, (inode, self.time));
            }
            Event::SyncEnded { number } => {
                let (inode, begun) = self.syncs.remove(&number).expect("a sync ends after it began");
                self.sync(inode, begun);
            }
            Event::Renamed { from: Some(from), to: Some(to) } => {
                if let Some(&node) = self.names.get(&from) {
                    for path in self.open_directories.values_mut().filter(|path| **path == from) {
                        path.clone_from(&to);
                    }
                    self.rename(NameChange::Rename { from, to, node });
                }
            }
            Event::Renamed { from: None, to } => panic!("{to:?} comes from outside, which is not followed"),
            Event::Renamed { from: Some(path), to: None }
            | Event::Unlinked { path }
            | Event::RemovedDirectory { path } => {
                if let Some(&node) = self.names.get(&path) {
                    self.rename(NameChange::Remove { path, node });
                }
            }
            Event::MadeDirectory { path } => self.rename(NameChange::Add { path, node: Node::Directory }),
            Event::Linked { from, to } => {
                let from = from.unwrap_or_else(|| panic!("{to} comes from outside, which is not followed"));
                if let Some(&node) = self.names.get(&from) {
                    self.rename(NameChange::Add { path: to, node });
                }
            }
        }
    }

    fn sync(&mut self, inode: Option<u64>, begun: usize) {
        let Some(inode) = inode else {
            for file in &mut self.files {
                file.sync(begun);
            }
            for (_, _, synced) in self.since.iter_mut().filter(|(time, ..)| *time < begun) {
                *synced = true;
            }
            return;
        };
        let before = |time: usize| time < begun;
        if let Some(directory) = self.open_directories.get(&inode) {
            for (time, change, synced) in &mut self.since {
                *synced |= before(*time) && (change.concerns(directory) || change.leads_to(directory));
            }
        }
        if let Some(&file) = self.open_files.get(&inode) {
            self.files[file].sync(begun);
            let paths: Vec<&String> =
                self.names.iter().filter(|(_, node)| **node == Node::File(file)).map(|(path, _)| path).collect();
            for (time, change, synced) in &mut self.since {
                *synced |= before(*time) && paths.iter().any(|path| change.leads_to(path));
            }
        }
    }

    /// One of the states after a power cut now. `in_order`: unsynced writes to a file are lost from the last one on, as
    /// an append-only log without checksums needs it.
    pub fn cut(&self, in_order: bool, random: &mut impl Rng) -> Disk {
        let last_synced = self.since.iter().rposition(|(_, _, synced)| *synced).map_or(0, |index| index + 1);
        // A file system with one journal for all commits what is older together with what is synced.
        let one_journal = random.random_ratio(1, 2);
        let least = if one_journal { last_synced } else { 0 };
        let committed = match random.random_range(0..4) {
            0 => least,
            1 => self.since.len(),
            _ => random.random_range(least..=self.since.len()),
        };
        let mut names = self.synced_names.clone();
        for (index, (_, change, synced)) in self.since.iter().enumerate() {
            if index < committed || *synced {
                change.apply(&mut names);
            }
        }
        let losses = [
            Loss::Everything,
            Loss::Nothing,
            Loss::Tail,
            Loss::Sectors { kept: 10, grows_first: random.random() },
            Loss::Sectors { kept: 50, grows_first: random.random() },
            Loss::Sectors { kept: 95, grows_first: random.random() },
        ];
        let choice = if in_order { &losses[..3] } else { &losses };
        let mut disk = Disk::default();
        let mut renumbered: HashMap<usize, usize> = HashMap::new();
        for (path, node) in names {
            let node = match node {
                Node::Directory => Node::Directory,
                Node::File(file) => Node::File(*renumbered.entry(file).or_insert_with(|| {
                    let loss = *choice.choose(random).expect("not empty");
                    let synced = self.files[file].after(loss, random);
                    disk.files.push(File { synced, since: Vec::new() });
                    disk.files.len() - 1
                })),
            };
            disk.names.insert(path, node);
        }
        disk.synced_names = disk.names.clone();
        disk
    }

    /// The content of a file that is there.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        match self.synced_names.get(path) {
            Some(Node::File(file)) => Some(self.files[*file].synced.bytes()),
            _ => None,
        }
    }

    /// Writes what is synced into a directory, which is made anew.
    pub fn save(&self, directory: &Path) {
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir_all(directory).expect("a directory");
        let mut first_names: HashMap<usize, &String> = HashMap::new();
        for (path, node) in &self.synced_names {
            let target = directory.join(path);
            let saved = match node {
                Node::Directory => std::fs::create_dir(&target),
                Node::File(file) => match first_names.get(file) {
                    Some(first) => std::fs::hard_link(directory.join(first), &target),
                    None => self.files[*file].synced.save(&target),
                },
            };
            saved.unwrap_or_else(|error| panic!("cannot make {}: {error}", target.display()));
            if let Node::File(file) = node {
                first_names.entry(*file).or_insert(path);
            }
        }
    }
}
