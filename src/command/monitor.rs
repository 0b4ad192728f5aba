//! MONITOR (<https://redis.io/docs/latest/commands/monitor/>): a client is shown what all others have done.

use std::io::Write;

use crate::base::{clock, words};
use crate::command::clients::Push;
use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::Stop;
use crate::command::session::Session;
use crate::command::spec::Spec;
use crate::command::state::State;
use crate::protocol::Args;

pub const COMMANDS: &[Spec] = &[Spec::new("monitor", 1, monitor)
    .flags(Flags::ADMIN.or(Flags::NO_SCRIPT).or(Flags::LOADING).or(Flags::STALE))
    .doc("server", "1.0.0", "O(1)", "Shows every command that the server has run, as it runs")];

fn monitor(context: &mut Context<'_>) -> Result<(), Stop> {
    // As in Redis, a second MONITOR is not answered.
    if !context.session.client.is_monitor() {
        context.reply.ok();
        context.state.clients.monitor(&context.session.client);
    }
    Ok(())
}

/// Shows the command that has just run to everyone who monitors.
#[cold]
pub(super) fn feed(state: &State, session: &Session, args: &Args<'_>) {
    if session.is_hidden() {
        return;
    }
    let line = describe(clock::now_us(), session, args);
    let hard_bytes = state.settings.client_output_buffer_limit.normal.get().hard_bytes;
    let cut = state.clients.feed_monitors(&Push::new(|sink| sink.simple(&line)), hard_bytes);
    state.stats.shard().clients_cut_for_output.add(cut as u64);
}

/// `SECONDS.MICROSECONDS [DATABASE ADDRESS] "ARGUMENT" …`
fn describe(now_us: u64, session: &Session, args: &Args<'_>) -> String {
    let client = &session.client;
    let mut line = Vec::with_capacity(64 + args.iter().map(<[u8]>::len).sum::<usize>() + 3 * args.len());
    let (address, scheme) = match client.peer.address.strip_suffix(":0") {
        Some(path) if client.peer.is_unix => (path, "unix:"),
        _ => (client.peer.address.as_str(), ""),
    };
    let (seconds, micros) = (now_us / 1_000_000, now_us % 1_000_000);
    // Writing to a vector cannot fail.
    let _ = write!(line, "{seconds}.{micros:06} [{} {scheme}{address}]", client.database());
    for index in 0..args.len() {
        line.push(b' ');
        words::quote(session.shown(args, index).beginning(), &mut line);
    }
    String::from_utf8_lossy(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::command::clients::{Client, Peer};

    #[test]
    fn lines_are_those_of_redis() {
        let peer = Peer { address: "127.0.0.1:1234".to_owned(), ..Peer::default() };
        let mut session = Session::new(Arc::new(Client::new(1, peer, 0, true)));
        session.client.select(3);
        let words: [&[u8]; 3] = [b"set", b"a\"\\\n\r\t\x07\x08\x00\xff b", b"secret"];
        session.redacted.push(2);
        let line = describe(1_699_999_999_000_123, &session, &Args::from_slices(&words));
        assert_eq!(
            line,
            "1699999999.000123 [3 127.0.0.1:1234] \"set\" \"a\\\"\\\\\\n\\r\\t\\a\\b\\x00\\xff b\" \"(redacted)\""
        );
    }

    #[test]
    fn unix_sockets_are_named_by_their_path() {
        let peer = Peer { address: "/run/socket:0".to_owned(), is_unix: true, ..Peer::default() };
        let session = Session::new(Arc::new(Client::new(1, peer, 0, true)));
        let line = describe(1, &session, &Args::from_slices(&[b"PING"]));
        assert_eq!(line, "0.000001 [0 unix:/run/socket] \"PING\"");
    }
}
