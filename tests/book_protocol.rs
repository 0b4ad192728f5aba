//! The plain TCP cache protocol, from outside: `S`, `G` and `D` with length prefixes.

mod support;

use support::{Client, Engine, Server, Value, on_every_engine};

fn connect(server: &Server) -> Client {
    Client::connect(server.tcp_address())
}

fn set(key: &[u8], value: &[u8]) -> Vec<u8> {
    [format!("S{} {} ", key.len(), value.len()).as_bytes(), key, value].concat()
}

fn get(key: &[u8]) -> Vec<u8> {
    [format!("G{} ", key.len()).as_bytes(), key].concat()
}

fn delete(key: &[u8]) -> Vec<u8> {
    [format!("D{} ", key.len()).as_bytes(), key].concat()
}

/// Shows the surroundings of the first difference alone.
fn assert_same(received: &[u8], expected: &[u8]) {
    if let Some(place) = received.iter().zip(expected).position(|(one, other)| one != other) {
        let around =
            |bytes: &[u8]| bytes[place.saturating_sub(20)..bytes.len().min(place + 40)].escape_ascii().to_string();
        panic!("byte {place}: received {:?}, expected {:?}", around(received), around(expected));
    }
    assert_eq!(received.len(), expected.len());
}

/// Sends `request` and expects exactly `response`.
fn expect(client: &mut Client, request: &[u8], response: &[u8]) {
    client.raw_write(request);
    assert_same(&client.read_bytes(response.len()), response);
}

on_every_engine!(the_bytes_of_each_answer, |server| {
    let mut client = connect(&server);
    expect(&mut client, b"G3 key", b"0 ");
    expect(&mut client, b"S3 5 keyvalue", b"0 ");
    expect(&mut client, b"G3 key", b"5 value");
    expect(&mut client, b"D3 key", b"0 ");
    expect(&mut client, b"D3 key", b"0 ");
    expect(&mut client, b"G3 key", b"0 ");
});

on_every_engine!(keys_and_values_are_any_bytes, |server| {
    let all: Vec<u8> = (0..=255).collect();
    let mut client = connect(&server);
    expect(&mut client, &set(&all, &all), b"0 ");
    expect(&mut client, &get(&all), &[b"256 ", &all[..]].concat());
    expect(&mut client, b"S0 0 ", b"0 ");
    assert_eq!(server.client().command(&["EXISTS", ""]), Value::Integer(1));
});

on_every_engine!(the_same_keys_as_by_resp, |server| {
    let (mut book, mut resp) = (connect(&server), server.client());
    assert_eq!(resp.command(&["SET", "by-resp", "1"]), Value::ok());
    expect(&mut book, &get(b"by-resp"), b"1 1");
    expect(&mut book, &set(b"by-book", b"two"), b"0 ");
    assert_eq!(resp.command(&["GET", "by-book"]), Value::bulk("two"));
    expect(&mut book, &delete(b"by-resp"), b"0 ");
    assert_eq!(resp.command(&["GET", "by-resp"]), Value::Null);
});

on_every_engine!(many_commands_before_a_read_are_answered_in_order, |server| {
    let mut client = connect(&server);
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    for number in 0..2_000 {
        let (key, value) = (format!("k{}", number % 7), format!("value {number}"));
        requests.extend(set(key.as_bytes(), value.as_bytes()));
        responses.extend(b"0 ");
        requests.extend(get(key.as_bytes()));
        responses.extend(format!("{} {value}", value.len()).bytes());
        if number % 5 == 0 {
            requests.extend(delete(key.as_bytes()));
            requests.extend(get(key.as_bytes()));
            responses.extend(b"0 0 ");
        }
    }
    expect(&mut client, &requests, &responses);
});

on_every_engine!(a_command_may_come_byte_by_byte, |server| {
    let mut client = connect(&server);
    for byte in set(b"slow", b"motion") {
        client.raw_write(&[byte]);
    }
    expect(&mut client, &get(b"slow"), b"0 6 motion");
});

on_every_engine!(a_large_value_comes_back_whole, |server| {
    let value: Vec<u8> = (0..5_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut client = connect(&server);
    expect(&mut client, &set(b"large", &value), b"0 ");
    expect(&mut client, &get(b"large"), &[b"5000000 ", &value[..]].concat());
});

on_every_engine!(bad_requests_are_answered_and_end_their_connection_alone, ["--proto-max-bulk-len", "1mb"], |server| {
    let mut bystander = connect(&server);
    for (request, message) in [
        (&b"X"[..], "ERR Protocol error: unknown operation 'X'"),
        (b"\r\n", "ERR Protocol error: unknown operation '\\r'"),
        (b"G 1", "ERR Protocol error: invalid length"),
        (b"G-1 ", "ERR Protocol error: invalid length"),
        (b"G+1 k", "ERR Protocol error: invalid length"),
        (b"G01 k", "ERR Protocol error: invalid length"),
        (b"S1 x", "ERR Protocol error: invalid length"),
        (b"S1 99999999999", "ERR Protocol error: invalid length"),
        (b"S1 1048577 ", "ERR Protocol error: length above 1048576"),
        (b"G4294967295 ", "ERR Protocol error: length above 1048576"),
    ] {
        let mut client = connect(&server);
        let mut response = b"0 ".to_vec();
        response.extend(format!("-{} {message}", message.len()).bytes());
        // What was complete before it is still executed.
        expect(&mut client, &[&set(b"before", b"it"), request].concat(), &response);
        assert!(client.at_end(), "{}", request.escape_ascii());
    }
    expect(&mut bystander, &get(b"before"), b"2 it");
});

on_every_engine!(
    memory only,
    commands_that_fail_do_not_end_the_connection,
    ["--maxmemory", "1", "--maxmemory-policy", "noeviction"],
    |server| {
        let mut client = connect(&server);
        let refused = server.client().command(&["SET", "k", "v"]);
        client.raw_write(&[set(b"k", b"v"), get(b"k")].concat());
        match refused {
            Value::Error(line) => {
                let expected = [format!("-{} ", line.len()).as_bytes(), line.as_ref(), b"0 "].concat();
                assert_same(&client.read_bytes(expected.len()), &expected);
            }
            other => panic!("maxmemory 1 lets SET pass: {other:?}"),
        }
    }
);

/// Expects the answer that this protocol has no password, and the end.
fn assert_refused(client: &mut Client) {
    let start = client.read_bytes(4);
    assert_eq!(start[0], b'-', "{}", start.escape_ascii());
    let length: usize =
        String::from_utf8_lossy(&start[1..]).trim_end().parse().expect("a length of two or three digits");
    let message = client.read_bytes(length + usize::from(length > 99));
    assert!(message.trim_ascii_start().starts_with(b"NOAUTH"), "{}", message.escape_ascii());
    assert!(client.at_end());
}

on_every_engine!(with_a_password_it_is_closed, ["--requirepass", "secret"], |server| {
    let mut client = connect(&server);
    assert_refused(&mut client);
});

on_every_engine!(who_came_before_there_was_a_password_is_sent_away, |server| {
    let (mut client, mut admin) = (connect(&server), server.client());
    expect(&mut client, b"S3 5 keyvalue", b"0 ");
    assert_eq!(admin.command(&["CONFIG", "SET", "requirepass", "secret"]), Value::ok());
    client.raw_write(b"G3 keyS3 5 keyother");
    assert_refused(&mut client);
    assert_eq!(admin.command(&["GET", "key"]), Value::bulk("value"), "what it sent is not executed");
});

#[test]
fn a_client_that_stops_in_the_middle_leaves_nothing_behind() {
    let server = Server::start(Engine::Memory);
    let mut client = connect(&server);
    client.raw_write(b"S3 1000000 keyonly a little of it");
    drop(client);
    let mut other = connect(&server);
    expect(&mut other, &get(b"key"), b"0 ");
}
