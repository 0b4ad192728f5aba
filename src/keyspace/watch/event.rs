//! The names of what happens to keys, as Redis's keyspace notifications have them.

/// What happened to a key: tells apart what has the same effect (a value that was SET, and one that was renamed to this key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// APPEND.
    Append,
    /// COPY, of the new key.
    CopyTo,
    /// A client deleted it: DEL, UNLINK, GETDEL, or an expiry in the past.
    Del,
    /// It had to make room.
    Evicted,
    /// EXPIRE and its like, and a SET with an expiry.
    Expire,
    /// Its expiry has passed, and somebody has noticed.
    Expired,
    /// INCR, DECR, INCRBY, DECRBY.
    IncrBy,
    /// INCRBYFLOAT.
    IncrByFloat,
    /// MOVE, of the key in the database that it left.
    MoveFrom,
    /// MOVE, of the key in the database that it came to.
    MoveTo,
    /// PERSIST.
    Persist,
    /// RENAME, of the old name.
    RenameFrom,
    /// RENAME, of the new name.
    RenameTo,
    /// SET and its like.
    Set,
    /// SETRANGE.
    SetRange,
}

impl Event {
    /// The name in notifications (<https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/>).
    pub fn name(self) -> &'static str {
        match self {
            Event::Append => "append",
            Event::CopyTo => "copy_to",
            Event::Del => "del",
            Event::Evicted => "evicted",
            Event::Expire => "expire",
            Event::Expired => "expired",
            Event::IncrBy => "incrby",
            Event::IncrByFloat => "incrbyfloat",
            Event::MoveFrom => "move_from",
            Event::MoveTo => "move_to",
            Event::Persist => "persist",
            Event::RenameFrom => "rename_from",
            Event::RenameTo => "rename_to",
            Event::Set => "set",
            Event::SetRange => "setrange",
        }
    }
}
