//! CLIENT LIST and CLIENT INFO (<https://redis.io/docs/latest/commands/client-list/>).

use std::io::Write;

use crate::base::number;
use crate::command::clients::Client;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::command::table::Table;
use crate::command::user::DEFAULT;
use crate::protocol::resp::Version;
use crate::reply::Error;

/// The type of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Replica,
    Pubsub,
    Master,
}

impl Kind {
    pub(super) fn parse(name: &[u8]) -> Result<Kind, Error> {
        let names: [(&str, Kind); 5] = [
            ("normal", Kind::Normal),
            ("slave", Kind::Replica),
            ("replica", Kind::Replica),
            ("pubsub", Kind::Pubsub),
            ("master", Kind::Master),
        ];
        let found = names.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(_, kind)| *kind).ok_or_else(|| Error::quoting("ERR Unknown client type '", name, "'"))
    }

    /// Monitors are normal clients to Redis, too.
    pub(super) fn of(_: &Client) -> Kind {
        Kind::Normal
    }
}

/// CLIENT LIST [TYPE type | ID id …].
pub(super) fn list(context: &mut Context<'_>) -> Result<(), Stop> {
    let args = context.args;
    let option = |name: &str| args.at(2).eq_ignore_ascii_case(name.as_bytes());
    let mut text = Vec::new();
    if args.len() == 2 {
        context.state.clients.all().iter().for_each(|client| describe(context, client, &mut text));
    } else if args.len() == 4 && option("type") {
        let kind = Kind::parse(args.at(3))?;
        let clients = context.state.clients.all();
        clients
            .iter()
            .filter(|client| Kind::of(client) == kind)
            .for_each(|client| describe(context, client, &mut text));
    } else if args.len() > 3 && option("id") {
        for word in args.iter_from(3) {
            let id = number::parse_i64(word).ok_or(Error::new("ERR Invalid client ID"))?;
            if let Some(client) = u64::try_from(id).ok().and_then(|id| context.state.clients.find(id)) {
                describe(context, &client, &mut text);
            }
        }
    } else {
        return Err(Error::SYNTAX.into());
    }
    context.reply.verbatim("txt", &text);
    Ok(())
}

/// CLIENT INFO.
pub(super) fn info(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut text = Vec::new();
    describe(context, &context.session.client, &mut text);
    context.reply.verbatim("txt", &text);
    Ok(())
}

/// Appends the line of one client.
fn describe(context: &Context<'_>, client: &Client, text: &mut Vec<u8>) {
    use std::sync::atomic::Ordering::Relaxed;
    let is_caller = client.id == context.session.client.id;
    // Arguments have no memory of their own: they lie in the input, which only the caller can look into.
    let argument_bytes = if is_caller { context.args.total_bytes() } else { 0 };
    let seconds_since = |then_ms: u64| context.now_ms.saturating_sub(then_ms) / 1000;
    let sizes = client.buffer_sizes();
    let waiting = client.output_bytes();
    let total = client.memory_bytes();
    let names = client.names();
    let last_command = Table::get().commands().get(client.last_command.load(Relaxed));
    // Writing to a vector cannot fail.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi=-1 qbuf={} \
         qbuf-free={} argv-mem={argument_bytes} multi-mem=0 rbs={} rbp={} obl=0 oll={} omem={waiting} \
         tot-mem={total} events={} cmd={} user={DEFAULT} redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.peer.address,
        client.peer.local_address,
        client.peer.descriptor,
        String::from_utf8_lossy(&names.name),
        seconds_since(client.created_ms),
        seconds_since(client.active_ms.load(Relaxed)),
        flags(client),
        client.database(),
        sizes.input,
        sizes.input_capacity.saturating_sub(sizes.input),
        sizes.output_capacity,
        sizes.output_capacity,
        u8::from(waiting > 0),
        if waiting > 0 { "rw" } else { "r" },
        last_command.map_or("NULL", |command| &command.full_name),
        if client.version() == Version::Resp3 { 3 } else { 2 },
        String::from_utf8_lossy(&names.library),
        String::from_utf8_lossy(&names.library_version),
    );
}

fn flags(client: &Client) -> String {
    let all = [
        (client.is_monitor(), 'O'),
        (client.is_blocked(), 'b'),
        (client.peer.is_unix, 'U'),
        (!client.is_evictable(), 'e'),
        (!client.touches(), 'T'),
    ];
    let flags: String = all.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}
