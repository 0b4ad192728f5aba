//! The `redis` crate against the server, over RESP2 and RESP3, synchronous and asynchronous.
//!
//! Each test starts a server of its own. With `COMPAT_HOST` and `COMPAT_PORT` set (and `COMPAT_AUTH_PORT`,
//! `COMPAT_PASSWORD` for a second one that asks for a password) the tests use those instead, one after the other;
//! `compat-tests/run` does so.

mod support;

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{
    AsyncTypedCommands, Client, Connection, ConnectionLike, CopyOptions, ErrorKind, ExistenceCheck, Expiry,
    IntegerReplyOrNoOp, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, ScanOptions,
    ServerErrorKind, SetExpiry, SetOptions, TypedCommands, Value, ValueType, cmd, pipe,
};

const PASSWORD: &str = "correct horse";

/// Only one test at a time may use a server that they share.
static SHARED_SERVER: Mutex<()> = Mutex::new(());

/// A server for one test. A process of our own ends with the value.
struct Server {
    host: String,
    port: u16,
    password: Option<String>,
    _process: Option<support::Server>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Server {
    fn start() -> Server {
        match shared("COMPAT_PORT", None) {
            Some(server) => {
                server.connection(ProtocolVersion::RESP2).flushall().expect("FLUSHALL");
                server
            }
            None => Server::spawn(None),
        }
    }

    /// A server with a password; `None` where a shared one is in use, and it has no such companion.
    fn start_protected() -> Option<Server> {
        let password = env::var("COMPAT_PASSWORD").unwrap_or_else(|_| PASSWORD.to_owned());
        if env::var_os("COMPAT_PORT").is_none() {
            return Some(Server::spawn(Some(password)));
        }
        shared("COMPAT_AUTH_PORT", Some(password))
    }

    fn spawn(password: Option<String>) -> Server {
        let mut options = support::Server::options(support::Engine::Rocksdb);
        if let Some(password) = &password {
            options = options.flag("--requirepass").flag(password);
        }
        let process = options.start();
        let address = process.resp_address();
        Server { host: address.ip().to_string(), port: address.port(), password, _process: Some(process), _turn: None }
    }

    fn client_with(&self, settings: RedisConnectionInfo) -> RedisResult<Client> {
        let info = (self.host.as_str(), self.port).into_connection_info()?;
        Client::open(info.set_redis_settings(settings))
    }

    fn client(&self, protocol: ProtocolVersion) -> Client {
        let mut settings = RedisConnectionInfo::default().set_protocol(protocol);
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        self.client_with(settings).expect("an address")
    }

    fn connection(&self, protocol: ProtocolVersion) -> Connection {
        let connection = self.client(protocol).get_connection().expect("a connection");
        connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        connection
    }
}

fn shared(port: &str, password: Option<String>) -> Option<Server> {
    let port = env::var(port).ok().filter(|p| !p.is_empty())?;
    Some(Server {
        host: env::var("COMPAT_HOST").unwrap_or_else(|_| "127.0.0.1".to_owned()),
        port: port.parse().expect("a port number"),
        password,
        _process: None,
        _turn: Some(SHARED_SERVER.lock().unwrap_or_else(PoisonError::into_inner)),
    })
}

/// Run a test over both protocols, on one server.
fn over_both_protocols(test: impl Fn(&Server, ProtocolVersion)) {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let server = Server::start();
        test(&server, protocol);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

fn is_reference() -> bool {
    env::var_os("COMPAT_REFERENCE").is_some_and(|v| !v.is_empty())
}

/// The error's text as the server sent it.
fn text(error: &RedisError) -> String {
    format!("{} {}", error.code().unwrap_or(""), error.detail().unwrap_or(""))
}

fn fails<T: std::fmt::Debug>(result: RedisResult<T>, kind: ErrorKind, expected: &str) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(text(&error), expected);
}

const RESPONSE_ERROR: ErrorKind = ErrorKind::Server(ServerErrorKind::ResponseError);

#[test]
fn connects_with_the_wanted_protocol() {
    over_both_protocols(|server, protocol| {
        let mut connection = server.connection(protocol);
        assert_eq!(connection.ping().expect("PING"), "PONG");
        let info: String = cmd("CLIENT").arg("INFO").query(&mut connection).expect("CLIENT INFO");
        let resp = if protocol.supports_resp3() { "resp=3" } else { "resp=2" };
        assert!(info.contains(resp), "{info}");
        if !is_reference() {
            assert!(info.contains("lib-name=redis-rs") && info.contains("lib-ver="), "{info}");
        }
        let hello: HashMap<String, Value> =
            cmd("HELLO").arg(&resp[5..]).query(&mut connection).expect("a map in RESP3, a flat list in RESP2");
        assert_eq!(hello["server"], Value::BulkString(b"redis".to_vec()));
        assert_eq!(hello["proto"], Value::Int(if protocol.supports_resp3() { 3 } else { 2 }));
    });
}

#[test]
fn a_password_opens_and_a_wrong_one_does_not() {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let Some(server) = Server::start_protected() else {
            eprintln!("left out: the shared server has no companion with a password");
            return;
        };
        let mut connection = server.connection(protocol);
        connection.set("key", "value").expect("SET");
        assert_eq!(connection.get("key").expect("GET").as_deref(), Some("value"));
        let settings = RedisConnectionInfo::default().set_protocol(protocol);
        let password = server.password.as_deref().expect("it has one");
        let named = settings.clone().set_username("default").set_password(password);
        assert!(server.client_with(named).expect("an address").get_connection().is_ok());
        let wrong = settings.clone().set_password("wrong");
        let error = server.client_with(wrong).expect("an address").get_connection().err().expect("a refusal");
        // AUTH's refusal has a kind of its own in this crate, HELLO's keeps the server's code
        match protocol {
            ProtocolVersion::RESP2 => assert_eq!(error.kind(), ErrorKind::AuthenticationFailed, "{error}"),
            _ => assert_eq!(error.code(), Some("WRONGPASS"), "{error}"),
        }
        let refusal = server.client_with(settings).expect("an address").get_connection().and_then(|mut c| c.get("key"));
        let error = refusal.expect_err("a refusal");
        assert!(error.to_string().contains("NOAUTH"), "{error}");
    }
}

#[test]
fn databases_are_apart() {
    over_both_protocols(|server, protocol| {
        let mut connection = server.connection(protocol);
        let settings = RedisConnectionInfo::default().set_protocol(protocol).set_db(5);
        let mut second = server.client_with(settings).expect("an address").get_connection().expect("a connection");
        connection.set("key", "zero").expect("SET");
        second.set("key", "five").expect("SET");
        assert_eq!(connection.get("key").expect("GET").as_deref(), Some("zero"));
        cmd("SWAPDB").arg(0).arg(5).exec(&mut connection).expect("SWAPDB");
        assert_eq!(connection.get("key").expect("GET").as_deref(), Some("five"));
        assert_eq!(cmd("MOVE").arg("key").arg(6).query::<i64>(&mut connection).expect("MOVE"), 1);
        assert_eq!(connection.get("key").expect("GET"), None);
        fails(cmd("SELECT").arg(99).query::<()>(&mut connection), RESPONSE_ERROR, "ERR DB index is out of range");
    });
}

#[test]
fn a_pipeline_of_10000_commands() {
    over_both_protocols(|server, protocol| {
        let mut connection = server.connection(protocol);
        let mut pipeline = pipe();
        for i in 0..5000_i64 {
            pipeline.set(format!("key:{i}"), i * i).ignore();
        }
        for i in 0..5000 {
            pipeline.get(format!("key:{i}"));
        }
        let replies: Vec<i64> = pipeline.query(&mut connection).expect("the pipeline");
        assert_eq!(replies, (0..5000).map(|i| i * i).collect::<Vec<i64>>());
    });
}

#[test]
fn large_values() {
    over_both_protocols(|server, protocol| {
        let mut connection = server.connection(protocol);
        let megabyte: Vec<u8> = (0..1_usize << 20).map(|i| (i * 31 % 251) as u8).collect();
        let sizes: &[usize] = if env::var_os("COMPAT_QUICK").is_some_and(|v| !v.is_empty()) { &[1] } else { &[1, 64] };
        for &mebibytes in sizes {
            let value = megabyte.repeat(mebibytes);
            connection.set("large", value.as_slice()).expect("SET");
            assert_eq!(connection.strlen("large").expect("STRLEN"), value.len());
            let read: Vec<u8> = cmd("GET").arg("large").query(&mut connection).expect("GET");
            assert!(read == value, "{mebibytes} MiB came back changed");
            assert_eq!(connection.del("large").expect("DEL"), 1);
        }
    });
}

#[test]
fn binary_keys_and_values() {
    over_both_protocols(|server, protocol| {
        let mut connection = server.connection(protocol);
        let every: Vec<u8> = (0..=255).collect();
        let odd: BTreeSet<Vec<u8>> =
            [&every[..], b"", b"\0", b"\r\n", b"$5\r\nhello\r\n", b"*1\r\n", b" ", "clé ☃".as_bytes(), b"\xff\xfe"]
                .iter()
                .map(|b| b.to_vec())
                .collect();
        for key in &odd {
            for value in &odd {
                connection.set(key, value).expect("SET");
                assert_eq!(&cmd("GET").arg(key).query::<Vec<u8>>(&mut connection).expect("GET"), value);
            }
        }
        let keys: BTreeSet<Vec<u8>> = cmd("KEYS").arg("*").query(&mut connection).expect("KEYS");
        assert_eq!(keys, odd);
        assert_eq!(connection.del(odd.iter().collect::<Vec<_>>()).expect("DEL"), odd.len());
    });
}

#[test]
fn string_commands() {
    over_both_protocols(|server, protocol| {
        let mut c = server.connection(protocol);
        let options = SetOptions::default();
        let set = |c: &mut Connection, value: &str, options| c.set_options("k", value, options).expect("SET");
        let only_new = options.clone().conditional_set(ExistenceCheck::NX);
        assert_eq!(set(&mut c, "1", only_new.clone()).as_deref(), Some("OK"));
        assert_eq!(set(&mut c, "2", only_new), None);
        let existing = options.clone().conditional_set(ExistenceCheck::XX).with_expiration(SetExpiry::EX(100));
        assert_eq!(set(&mut c, "2", existing).as_deref(), Some("OK"));
        let keep = options.clone().with_expiration(SetExpiry::KEEPTTL).get(true);
        assert_eq!(set(&mut c, "3", keep).as_deref(), Some("2"));
        assert!((1..=100).contains(&c.ttl("k").expect("TTL").raw()));
        assert_eq!(c.getset("k", "4").expect("GETSET").as_deref(), Some("3"));
        assert_eq!(c.get_ex("k", Expiry::PX(100_000)).expect("GETEX").as_deref(), Some("4"));
        assert!((90_000..=100_000).contains(&c.pttl("k").expect("PTTL").raw()));
        assert_eq!(c.get_ex("k", Expiry::PERSIST).expect("GETEX").as_deref(), Some("4"));
        assert_eq!(c.ttl("k").expect("TTL"), IntegerReplyOrNoOp::ExistsButNotRelevant);
        assert_eq!(c.get_del("k").expect("GETDEL").as_deref(), Some("4"));
        assert_eq!(c.get("k").expect("GET"), None);
        assert!(c.set_nx("n", 1).expect("SETNX") && !c.set_nx("n", 2).expect("SETNX"));
        c.set_ex("s", "x", 100).expect("SETEX");
        c.pset_ex("p", "x", 100_000).expect("PSETEX");
        c.mset(&[("a", 1), ("b", 2)]).expect("MSET");
        let values = c.mget(&["a", "missing", "b"]).expect("MGET");
        assert_eq!(values, [Some("1".to_owned()), None, Some("2".to_owned())]);
        assert!(!c.mset_nx(&[("a", 9), ("c", 9)]).expect("MSETNX"));
        assert_eq!(c.append("r", "Hello World").expect("APPEND"), 11);
        assert_eq!(c.getrange("r", -5, -1).expect("GETRANGE"), "World");
        assert_eq!(c.setrange("r", 6, "Redis").expect("SETRANGE"), 11);
        assert_eq!(c.get("r").expect("GET").as_deref(), Some("Hello Redis"));
        assert_eq!(
            [c.incr("i", 1).expect("INCR"), c.incr("i", 10).expect("INCRBY"), c.decr("i", 5).expect("DECRBY")],
            [1, 11, 6]
        );
        let float: f64 = cmd("INCRBYFLOAT").arg("f").arg(10.25).query(&mut c).expect("INCRBYFLOAT");
        assert_eq!(float, 10.25);
        c.mset(&[("one", "ohmytext"), ("two", "mynewtext")]).expect("MSET");
        let common: String = cmd("LCS").arg("one").arg("two").query(&mut c).expect("LCS");
        assert_eq!(common, "mytext");
    });
}

#[test]
fn key_commands_and_times_to_live() {
    over_both_protocols(|server, protocol| {
        let mut c = server.connection(protocol);
        c.mset(&[("a", 1), ("b", 2), ("c", 3)]).expect("MSET");
        assert!(c.exists("a").expect("EXISTS") && !c.exists("missing").expect("EXISTS"));
        assert_eq!(c.key_type("a").expect("TYPE"), ValueType::String);
        assert_eq!(c.key_type("missing").expect("TYPE"), ValueType::None);
        assert_eq!(c.unlink(&["b", "missing"]).expect("UNLINK"), 1);
        assert!(!c.rename_nx("a", "c").expect("RENAMENX"));
        fails(c.rename("missing", "x"), RESPONSE_ERROR, "ERR no such key");
        assert!(c.copy("a", "d", CopyOptions::default()).expect("COPY"));
        assert!(!c.copy("a", "d", CopyOptions::default()).expect("COPY"));
        assert!(c.copy("c", "d", CopyOptions::default().replace(true)).expect("COPY"));
        assert_eq!(c.get("d").expect("GET").as_deref(), Some("3"));
        let at = i64::try_from(unix_seconds()).expect("a small number") + 1000;
        assert!(c.expire_at("a", at).expect("EXPIREAT"));
        assert_eq!(c.expire_time("a").expect("EXPIRETIME").raw() as i64, at);
        assert!(c.pexpire_at("a", at * 1000 + 7).expect("PEXPIREAT"));
        assert_eq!(c.pexpire_time("a").expect("PEXPIRETIME").raw() as i64, at * 1000 + 7);
        assert!(c.persist("a").expect("PERSIST") && !c.persist("a").expect("PERSIST"));
        assert_eq!(c.ttl("missing").expect("TTL"), IntegerReplyOrNoOp::NotExists);
        assert!(c.expire("a", 100).expect("EXPIRE") && !c.expire("missing", 100).expect("EXPIRE"));
        assert!(c.pexpire("a", 20).expect("PEXPIRE"));
        assert!(support::eventually(support::PATIENCE, || !c.exists("a").expect("EXISTS")), "the key expires");
        let encoding: String = cmd("OBJECT").arg("ENCODING").arg("d").query(&mut c).expect("OBJECT ENCODING");
        assert_eq!(encoding, "int");
        assert_eq!(cmd("DBSIZE").query::<i64>(&mut c).expect("DBSIZE"), 2);
    });
}

#[test]
fn scan_finds_every_key() {
    over_both_protocols(|server, protocol| {
        let mut c = server.connection(protocol);
        let mut keys: BTreeSet<String> = (0..3000).map(|i| format!("user:{i}")).collect();
        let items: BTreeSet<String> = (0..100).map(|i| format!("item:{i}")).collect();
        keys.extend(items.iter().cloned());
        c.mset(&keys.iter().map(|k| (k, "x")).collect::<Vec<_>>()).expect("MSET");
        let mut scan = |options| -> BTreeSet<String> {
            c.scan_options(options).expect("SCAN").collect::<RedisResult<_>>().expect("pages of SCAN")
        };
        assert_eq!(scan(ScanOptions::default()), keys);
        assert_eq!(scan(ScanOptions::default().with_pattern("item:*").with_count(500)), items);
        assert_eq!(scan(ScanOptions::default().with_type("list")), BTreeSet::new());
    });
}

#[test]
fn errors_have_their_kinds_and_texts() {
    over_both_protocols(|server, protocol| {
        let mut c = server.connection(protocol);
        let unknown = "ERR unknown command 'NOPE', with args beginning with: 'a' ";
        fails(cmd("NOPE").arg("a").query::<()>(&mut c), RESPONSE_ERROR, unknown);
        fails(cmd("GET").query::<()>(&mut c), RESPONSE_ERROR, "ERR wrong number of arguments for 'get' command");
        fails(cmd("SET").arg(&["a", "b", "BAD"]).query::<()>(&mut c), RESPONSE_ERROR, "ERR syntax error");
        c.set("text", "abc").expect("SET");
        fails(c.incr("text", 1), RESPONSE_ERROR, "ERR value is not an integer or out of range");
        let engine: HashMap<String, String> =
            cmd("CONFIG").arg(&["GET", "type"]).query(&mut c).expect("nothing, or the engine");
        cmd("CONFIG")
            .arg(&["SET", "maxmemory", "1", "maxmemory-policy", "noeviction"])
            .exec(&mut c)
            .expect("CONFIG SET");
        let refused = c.set("k", "v");
        cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).exec(&mut c).expect("CONFIG SET");
        if engine.get("type").is_some_and(|engine| engine == "rocksdb") {
            refused.expect("there is the disk");
        } else {
            fails(refused, ErrorKind::Extension, "OOM command not allowed when used memory > 'maxmemory'.");
        }
        assert_eq!(c.ping().expect("PING"), "PONG");
        let replies: Vec<RedisResult<Value>> =
            pipe().set("text", "abc").incr("text", 1).get("text").ignore_errors().query(&mut c).expect("the pipeline");
        assert!(replies[0].is_ok() && replies[1].is_err() && replies[2].is_ok(), "{replies:?}");
    });
}

#[test]
fn a_killed_connection_is_dropped_and_another_can_be_had() {
    over_both_protocols(|server, protocol| {
        let mut c = server.connection(protocol);
        let mut victim = server.connection(protocol);
        let id: i64 = cmd("CLIENT").arg("ID").query(&mut victim).expect("CLIENT ID");
        let killed: i64 = cmd("CLIENT").arg(&["KILL", "ID"]).arg(id).query(&mut c).expect("CLIENT KILL");
        assert_eq!(killed, 1);
        let error = victim.ping().expect_err("a closed connection");
        assert!(error.is_connection_dropped() || error.is_io_error(), "{error}");
        assert!(!victim.is_open());
        assert_eq!(server.connection(protocol).ping().expect("PING"), "PONG");
    });
}

#[test]
fn the_connection_manager_reconnects() {
    over_both_protocols(|server, protocol| {
        let client = server.client(protocol);
        let mut killer = server.connection(protocol);
        runtime().block_on(async {
            let config = ConnectionManagerConfig::new().set_number_of_retries(6);
            let mut manager = ConnectionManager::new_with_config(client, config).await.expect("a connection");
            let id: i64 = cmd("CLIENT").arg("ID").query_async(&mut manager).await.expect("CLIENT ID");
            let killed: i64 = cmd("CLIENT").arg(&["KILL", "ID"]).arg(id).query(&mut killer).expect("CLIENT KILL");
            assert_eq!(killed, 1);
            let deadline = Instant::now() + Duration::from_secs(10);
            while AsyncTypedCommands::set(&mut manager, "after", "kill").await.is_err() {
                assert!(Instant::now() < deadline, "it does not reconnect");
            }
            let another: i64 = cmd("CLIENT").arg("ID").query_async(&mut manager).await.expect("CLIENT ID");
            assert_ne!(another, id);
        });
    });
}

#[test]
fn tasks_share_one_multiplexed_connection() {
    over_both_protocols(|server, protocol| {
        let client = server.client(protocol);
        runtime().block_on(async {
            let shared: MultiplexedConnection = client.get_multiplexed_async_connection().await.expect("a connection");
            let tasks: Vec<_> = (0..100)
                .map(|n| {
                    let mut connection = shared.clone();
                    tokio::spawn(async move {
                        for i in 0..100 {
                            let key = format!("task:{n}:{i}");
                            connection.set(&key, i).await.expect("SET");
                            let value = connection.get(&key).await.expect("GET");
                            assert_eq!(value.as_deref(), Some(i.to_string().as_str()));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("the task ends well");
            }
        });
        assert_eq!(cmd("DBSIZE").query::<i64>(&mut server.connection(protocol)).expect("DBSIZE"), 10_000);
    });
}

#[test]
fn a_pool_of_50_connections() {
    over_both_protocols(|server, protocol| {
        let pool = r2d2::Pool::builder()
            .max_size(50)
            .min_idle(Some(50))
            .connection_timeout(Duration::from_secs(30))
            .build(server.client(protocol))
            .expect("a pool");
        thread::scope(|scope| {
            for n in 0..50 {
                let pool = pool.clone();
                scope.spawn(move || {
                    let mut connection = pool.get().expect("a connection of the pool");
                    for _ in 0..100 {
                        connection.incr("total", 1).expect("INCR");
                    }
                    connection.set(format!("thread:{n}"), n).expect("SET");
                });
            }
        });
        let mut c = server.connection(protocol);
        assert_eq!(c.get("total").expect("GET").as_deref(), Some("5000"));
        assert_eq!(cmd("DBSIZE").query::<i64>(&mut c).expect("DBSIZE"), 51);
        let info: redis::InfoDict = cmd("INFO").arg("clients").query(&mut c).expect("INFO");
        assert!(info.get::<u64>("connected_clients").expect("a number") >= 51);
    });
}

#[test]
fn info_and_config_are_parsed() {
    over_both_protocols(|server, protocol| {
        let mut c = server.connection(protocol);
        let info: redis::InfoDict = cmd("INFO").query(&mut c).expect("INFO");
        assert_eq!(info.get::<String>("role").as_deref(), Some("master"));
        assert_eq!(info.get::<u16>("tcp_port"), Some(server.port));
        assert!(info.get::<String>("redis_version").expect("a version").starts_with("7."));
        assert!(info.get::<u64>("used_memory").expect("a number") > 0);
        let config: HashMap<String, String> =
            cmd("CONFIG").arg(&["GET", "maxmemory", "timeout"]).query(&mut c).expect("CONFIG GET");
        let expected = [("maxmemory", "0"), ("timeout", "0")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(config, HashMap::from(expected));
        let (seconds, _): (u64, u64) = cmd("TIME").query(&mut c).expect("TIME");
        assert!(seconds.abs_diff(unix_seconds()) < 60);
    });
}
