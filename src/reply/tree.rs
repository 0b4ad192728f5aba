use super::{Error, Sink};
use crate::base::chunks::Chunks;

/// A reply as a value, for callers that look into it (REST, and whoever calls a command from inside).
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// The absent value, or none at all.
    Null,
    /// A status.
    Simple(String),
    /// A byte string.
    Bulk(Vec<u8>),
    /// A byte string that is referred to.
    Chunks(Chunks),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// Elements in order.
    Array(Vec<Tree>),
    /// Keys and values in turn.
    Map(Vec<Tree>),
    /// Elements in any order, each once.
    Set(Vec<Tree>),
    /// Out-of-band data.
    Push(Vec<Tree>),
    /// An error.
    Error(Error),
}

impl Tree {
    /// Runs `describe` against a recording sink and returns what it said.
    pub fn record(describe: impl FnOnce(&mut dyn Sink)) -> Tree {
        let mut recorder = Recorder { open: Vec::new(), done: None };
        describe(&mut recorder);
        recorder.done.unwrap_or(Tree::Null)
    }
}

/// Aggregates that still wait for elements, outermost first.
struct Recorder {
    open: Vec<(Tree, usize)>,
    done: Option<Tree>,
}

impl Recorder {
    fn push_value(&mut self, mut value: Tree) {
        loop {
            let Some((parent, missing)) = self.open.last_mut() else {
                self.done = Some(value);
                return;
            };
            if let Tree::Array(items) | Tree::Map(items) | Tree::Set(items) | Tree::Push(items) = parent {
                items.push(value);
            }
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            match self.open.pop() {
                Some((parent, _)) => value = parent,
                None => return,
            }
        }
    }

    fn open(&mut self, aggregate: Tree, elements: usize) {
        if elements == 0 {
            self.push_value(aggregate);
        } else {
            self.open.push((aggregate, elements));
        }
    }
}

impl Sink for Recorder {
    fn simple(&mut self, text: &str) {
        self.push_value(Tree::Simple(text.to_owned()));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.push_value(Tree::Bulk(bytes.to_vec()));
    }
    fn chunks(&mut self, chunks: Chunks) {
        self.push_value(Tree::Chunks(chunks));
    }
    fn null(&mut self) {
        self.push_value(Tree::Null);
    }
    fn null_array(&mut self) {
        self.push_value(Tree::Null);
    }
    fn integer(&mut self, value: i64) {
        self.push_value(Tree::Integer(value));
    }
    fn double(&mut self, value: f64) {
        self.push_value(Tree::Double(value));
    }
    fn boolean(&mut self, value: bool) {
        self.push_value(Tree::Boolean(value));
    }
    fn verbatim(&mut self, _format: &str, text: &[u8]) {
        self.push_value(Tree::Bulk(text.to_vec()));
    }
    fn array(&mut self, len: usize) {
        self.open(Tree::Array(Vec::new()), len);
    }
    fn map(&mut self, len: usize) {
        self.open(Tree::Map(Vec::new()), len * 2);
    }
    fn set(&mut self, len: usize) {
        self.open(Tree::Set(Vec::new()), len);
    }
    fn push(&mut self, len: usize) {
        self.open(Tree::Push(Vec::new()), len);
    }
    fn error(&mut self, error: &Error) {
        self.push_value(Tree::Error(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_aggregates_close_when_their_last_element_came() {
        let tree = Tree::record(|sink| {
            sink.array(3);
            sink.map(1);
            sink.bulk(b"k");
            sink.array(0);
            sink.integer(7);
            sink.null();
        });
        let map = Tree::Map(vec![Tree::Bulk(b"k".to_vec()), Tree::Array(vec![])]);
        assert_eq!(tree, Tree::Array(vec![map, Tree::Integer(7), Tree::Null]));
    }
}
