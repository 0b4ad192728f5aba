//! The book's little client: one request.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use crate::arguments::Command;
use crate::load::{HOPS_MAX, LoadError, Nodes, Plan};
use crate::wire::{ASKING, Codec, Dialer, Kind, Reply, exchange};

/// Asks, and prints what came back: a value as it is, with a line's end after it on a terminal alone.
///
/// # Errors
/// [`LoadError`] when the server cannot be reached, or refuses, or standard input or output fails.
pub fn run(command: &Command, server: &Plan) -> Result<ExitCode, LoadError> {
    server.check()?;
    let (kind, key, value) = match command {
        Command::Get { key } => (Kind::Get, key, Vec::new()),
        Command::Set { key, value: Some(value) } => (Kind::Set, key, value.as_bytes().to_vec()),
        Command::Set { key, value: None } => {
            let mut value = Vec::new();
            io::stdin().lock().read_to_end(&mut value)?;
            (Kind::Set, key, value)
        }
        Command::Del { key } => (Kind::Delete, key, Vec::new()),
    };
    match ask(kind, key.as_bytes(), &value, server)? {
        Answer::Done => println!("OK"),
        Answer::Value(value) => {
            let mut output = io::stdout().lock();
            output.write_all(&value)?;
            if output.is_terminal() {
                output.write_all(b"\n")?;
            }
        }
        Answer::Missing => {
            eprintln!("rockpool-bench: no such key");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

enum Answer {
    Done,
    Value(Vec<u8>),
    Missing,
}

fn ask(kind: Kind, key: &[u8], value: &[u8], server: &Plan) -> Result<Answer, LoadError> {
    let dialer = Dialer { protocol: server.protocol, password: server.password.clone(), timeout: server.timeout };
    let mut nodes = Nodes::find(server, &dialer)?;
    let (mut node, mut is_ask) = (nodes.route(key), false);
    for _ in 0..=HOPS_MAX {
        let address = nodes.get(node).name();
        let failure = |reason: String| LoadError::Server { address: address.clone(), reason };
        let codec = Codec::new(server.protocol, &address, server.password.as_deref());
        let mut request = if is_ask { ASKING.to_vec() } else { Vec::new() };
        match kind {
            Kind::Get => codec.get(&mut request, key),
            Kind::Set => {
                let ttl_ms = server.ttl_ms.map(|ttl| ttl.min);
                codec.set(&mut request, key, value.len(), ttl_ms, |output| output.extend_from_slice(value));
            }
            Kind::Delete => codec.delete(&mut request, key),
            Kind::GetMany | Kind::SetMany => return Err(LoadError::Plan("a single request has one key".to_owned())),
        }
        let answer = dialer
            .dial(&nodes.get(node).addresses)
            .and_then(|mut stream| {
                stream.write_all(&request)?;
                exchange(&mut stream, |input| {
                    let asked =
                        if is_ask { codec.reply(Kind::Delete, input)?.map(|(_, length)| length) } else { Some(0) };
                    let Some(start) = asked else { return Ok(None) };
                    Ok(codec.reply(kind, &input[start..])?.map(|(reply, _)| match reply {
                        Reply::Done => Ok(Answer::Done),
                        Reply::Value(value) => Ok(Answer::Value(value.to_vec())),
                        Reply::Missing => Ok(Answer::Missing),
                        Reply::Values { .. } => Err(b"several values, where one was asked for".to_vec()),
                        Reply::Failed(text) => Err(text.to_vec()),
                    }))
                })
            })
            .map_err(|error| failure(error.to_string()))?;
        let text = match answer {
            Ok(answer) => return Ok(answer),
            Err(text) => text,
        };
        match nodes.redirection(&text, node) {
            Some(redirection) => (node, is_ask) = (redirection.node, redirection.is_ask),
            None => return Err(failure(String::from_utf8_lossy(&text).into_owned())),
        }
    }
    Err(LoadError::Plan("the nodes of the cluster send the request to each other".to_owned()))
}
