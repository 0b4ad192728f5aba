//! What commands have changed, as far as it decides when their clients are told, and whether a command may run again.

use std::cell::Cell;

use crate::store::journal::Ticket;

/// Where guards of slots report what commands change by them: handed on by who executes, one for a batch of commands.
#[derive(Default)]
pub struct Changes {
    /// The last place in the journal that tells of a change, since it was taken last.
    ticket: Cell<Option<Ticket>>,
    /// Whether the present command has changed anything.
    #[cfg(debug_assertions)]
    by_command: Cell<bool>,
}

impl Changes {
    /// Takes what has to be in the journal before anybody is told of the changes since the last call.
    #[inline]
    pub fn take_ticket(&self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// Adds what has been noted of changes that were made later than these.
    pub fn add(&self, later: &Changes) {
        self.note_journaled(later.take_ticket());
    }

    /// Notes that the next command begins, or that the present one may be repeated, whatever it has changed.
    #[inline]
    pub fn begin(&self) {
        #[cfg(debug_assertions)]
        self.by_command.set(false);
    }

    /// Checks, in debug builds, that a command which is going to run again has changed nothing: a handler reads all that it
    /// needs before its first change.
    #[inline]
    pub fn assert_none(&self) {
        #[cfg(debug_assertions)]
        assert!(!self.by_command.get(), "a command that has changed something asks to be run again");
    }

    /// Notes a change, in debug builds.
    #[inline]
    pub(in crate::keyspace) fn note(&self) {
        #[cfg(debug_assertions)]
        self.by_command.set(true);
    }

    /// Notes where the journal tells of a change; `None`: nowhere.
    #[inline]
    pub(in crate::keyspace) fn note_journaled(&self, ticket: Option<Ticket>) {
        if ticket.is_some() {
            self.ticket.set(ticket);
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_has_changed_something_may_not_run_again() {
        let changes = Changes::default();
        changes.assert_none();
        changes.note();
        let asserted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| changes.assert_none()));
        assert!(asserted.is_err());
        changes.begin();
        changes.assert_none();
    }
}
