//! Several commands of one client, executed as one over one access set: nobody sees some of them done, and a crash leaves all
//! of what they have changed or nothing.

use crate::command::access::authorize;
use crate::command::context::{Context, KnownKeys};
use crate::command::executor::{Batch, route};
use crate::command::flags::Flags;
use crate::command::flow::{Flow, NOT_AMONG_OTHERS, Stop};
use crate::command::session::Session;
use crate::command::spec::KeyUse;
use crate::command::table::{Command, NO_COMMAND, Table};
use crate::keyspace::{AccessSet, Caller, Changes, Key};
use crate::protocol::Args;
use crate::reply::{Error, Sink};

/// Commands that need the gate for themselves, lock slots that are not those of their keys, wait, or change how the server
/// works: beside others they would wait for what is held for those, or be done before them.
const APART: [Flags; 5] = [Flags::EXCLUSIVE, Flags::LOOKS_AROUND, Flags::BLOCKING, Flags::ADMIN, Flags::NO_MULTI];

/// A command of several, unless it has an error for an answer already.
type Checked = Result<&'static Command, (Option<&'static Command>, Error)>;

impl Batch<'_> {
    /// Executes several commands as one: the slots of all their keys are locked before the first of them runs, what they
    /// change is one record of the journal and in one round of the merger, and all of it is there for others at once. `reply`
    /// gets an array with the answer to each; an error of one does not keep the others from running.
    ///
    /// As with [`Batch::execute`] there is no reply where it runs again, and a single error where there is no room for what
    /// any of them may need.
    pub fn execute_together(&mut self, session: &mut Session, commands: &[Args<'_>], reply: &mut dyn Sink) -> Flow {
        let checked: Vec<Checked> = commands.iter().map(|args| self.check(session, args)).collect();
        match self.run_together(session, commands, &checked, reply) {
            Ok(flow) => flow,
            Err(stop) => self.stop(session, None, stop, reply),
        }
    }

    /// Looks a command up, and whether it may run among others.
    fn check(&self, session: &Session, args: &Args<'_>) -> Checked {
        if args.is_empty() {
            return Err((None, Error::SYNTAX));
        }
        let command = Table::get().look_up(args, NO_COMMAND).map_err(|error| (None, error))?;
        let refused = |error: Error| (Some(command), error);
        command.check_arity(args).map_err(refused)?;
        authorize(self.state, &session.client, command, args).map_err(refused)?;
        match APART.iter().any(|flag| command.spec.flags.has(*flag)) {
            true => Err(refused(NOT_AMONG_OTHERS)),
            false => Ok(command),
        }
    }

    /// Passes the commands through the stages behind their look-up.
    fn run_together(
        &mut self,
        session: &mut Session,
        commands: &[Args<'_>],
        checked: &[Checked],
        reply: &mut dyn Sink,
    ) -> Result<Flow, Stop> {
        let running =
            || checked.iter().zip(commands).filter_map(|(checked, args)| Some((*checked.as_ref().ok()?, args)));
        for (command, args) in running() {
            route(session, command, args)?;
        }
        // A pause holds all of them, if it holds any.
        let flags = running().fold(Flags::NONE, |all, (command, _)| all.or(command.spec.flags));
        let flags = flags.without(Flags::IGNORES_PAUSE);
        self.admit(session, flags, || commands.iter().map(Args::total_bytes).sum())?;
        let state = self.state;
        self.gate.get_or_insert_with(|| state.keyspace.gate.shared());

        let (database, touches) = (session.client.database(), session.client.touches());
        let mut keys: Vec<(bool, (usize, Key<'_>))> = Vec::new();
        for (command, args) in running() {
            let key_use = command.spec.key_use_of.map_or(command.spec.key_use, |key_use_of| key_use_of(args));
            let key = |index| (key_use != KeyUse::Overwrite, (database, state.keyspace.key(args.at(index))));
            keys.extend(command.spec.keys.indices(args).into_iter().map(key));
        }
        let caller = Caller { now_ms: self.now_ms, touches };
        state.keyspace.prefetch_keys(database, keys.iter().map(|(_, (_, key))| *key));
        let (changes, mut leftovers) = (Changes::default(), None);
        let all_keys = keys.iter().map(|(_, key)| *key);
        let mut cold = session.cold.take();
        let mut access = AccessSet::of_several(&state.keyspace, &changes, caller, &mut cold, all_keys);
        // While nothing is changed, the loader can read. What else turns out to be cold is read in place.
        if let Err(unavailable) = access.require(keys.iter().filter(|(is_read, _)| *is_read).map(|(_, key)| *key)) {
            drop(access);
            session.cold = cold;
            return Err(unavailable.into());
        }
        reply.array(commands.len());
        let mut flow = Flow::Continue;
        let now_ms = self.now_ms;
        let mut context = Context {
            state,
            session: &mut *session,
            args: Args::from_slices(&[]),
            reply,
            now_ms,
            leftovers: &mut leftovers,
            known_keys: &KnownKeys::NONE,
            access,
        };
        for (args, checked) in commands.iter().zip(checked) {
            fail::fail_point!("together::next");
            context.session.redacted.clear();
            context.args = *args;
            let command = match checked {
                Ok(command) => *command,
                Err((command, error)) => {
                    self.reject(*command, error, context.reply);
                    continue;
                }
            };
            let client = &context.session.client;
            let caller = Caller { now_ms, touches: client.touches() };
            context.access.begin_command(caller, client.database());
            let error = match (command.spec.handler)(&mut context) {
                Ok(()) => None,
                Err(Stop::Reply(error)) => Some(error),
                Err(Stop::Cold | Stop::Stalled | Stop::Paused | Stop::Blocked) => {
                    changes.assert_none();
                    Some(NOT_AMONG_OTHERS)
                }
            };
            match self.record(context.session, command, args, error, context.reply) {
                Flow::Continue => {}
                after => flow = after,
            }
        }
        fail::fail_point!("together::end");
        drop(context);
        session.cold = cold;
        self.changes.add(&changes);
        Ok(flow)
    }
}
