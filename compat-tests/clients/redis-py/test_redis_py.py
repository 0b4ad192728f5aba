"""redis-py's own API against the server, over RESP2 and RESP3."""

import asyncio
import hashlib
import threading
import time

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (AuthenticationError, ConnectionError, DataError,
                              OutOfMemoryError, ResponseError)
from redis.retry import Retry

from conftest import AUTH_PORT, HOST, IS_QUICK, IS_REFERENCE, PASSWORD, PORT

needs_auth = pytest.mark.skipif(not AUTH_PORT, reason="no server with a password")


# ---- connection

def test_connects_with_the_wanted_protocol(client, protocol):
    assert client.ping() is True
    assert client.echo("hello") == "hello"
    info = client.client_info()
    assert info["resp"] == str(protocol)
    assert int(info["id"]) == client.client_id()


@pytest.mark.skipif(IS_REFERENCE, reason="redis-server 7.0 has no CLIENT SETINFO")
def test_the_library_names_itself(connect):
    client = connect(single_connection_client=True, client_name="compat")
    info = client.client_info()
    assert info["name"] == "compat"
    assert info["lib-name"] == "redis-py"
    assert info["lib-ver"] == redis.__version__


def test_hello_describes_the_server(client, protocol):
    reply = client.execute_command("HELLO", protocol)
    fields = reply if protocol == 3 else dict(zip(reply[::2], reply[1::2]))
    assert fields["server"] == "redis"
    assert fields["proto"] == protocol
    assert fields["mode"] == "standalone"
    assert fields["role"] == "master"
    assert fields["modules"] == []


@needs_auth
def test_the_right_password_opens(connect):
    client = connect(port=AUTH_PORT, password=PASSWORD)
    assert client.set("key", "value") is True
    assert client.get("key") == "value"
    named = connect(port=AUTH_PORT, username="default", password=PASSWORD)
    assert named.get("key") == "value"


@needs_auth
def test_a_wrong_password_is_refused(connect):
    with pytest.raises(AuthenticationError, match="invalid username-password pair or user is disabled"):
        connect(port=AUTH_PORT, password="wrong").ping()
    with pytest.raises(AuthenticationError):
        connect(port=AUTH_PORT, username="nobody", password=PASSWORD).ping()


@needs_auth
def test_no_password_is_refused(connect):
    with pytest.raises(AuthenticationError, match="(?i)authentication required|HELLO must be called with the client already auth"):
        connect(port=AUTH_PORT).get("key")


def test_a_password_that_nobody_asks_for(connect, protocol):
    if protocol == 3:
        # HELLO logs in as the default user, whom any password opens
        assert connect(password="needless").ping() is True
        return
    with pytest.raises(AuthenticationError, match="without any password configured"):
        connect(password="needless").ping()


def test_databases_are_apart(connect, client):
    second = connect(db=5)
    assert client.set("key", "zero") and second.set("key", "five")
    assert (client.get("key"), second.get("key")) == ("zero", "five")
    assert client.move("moved", 5) is False
    client.set("moved", "x")
    assert client.move("moved", 5) is True
    assert second.get("moved") == "x"
    client.swapdb(0, 5)
    assert (client.get("key"), second.get("key")) == ("five", "zero")
    second.flushdb()
    assert second.dbsize() == 0 and client.dbsize() == 2
    with pytest.raises(ResponseError, match="DB index is out of range"):
        connect(db=99).ping()


def test_reconnects_after_client_kill(connect, client):
    victim = connect(single_connection_client=True, client_name="victim")
    number = victim.client_id()
    assert [c["name"] for c in client.client_list() if int(c["id"]) == number] == ["victim"]
    assert client.client_kill_filter(_id=number) == 1
    assert victim.set("after", "kill") is True
    assert victim.client_id() != number
    assert victim.client_getname() == "victim"


def test_a_kill_without_retry_is_a_connection_error(connect, client):
    victim = connect(single_connection_client=True, retry=Retry(NoBackoff(), 0))
    assert client.client_kill_filter(_id=victim.client_id()) == 1
    with pytest.raises(ConnectionError):
        victim.ping()
    assert victim.ping() is True


def test_a_pool_of_50_connections(client, protocol):
    pool = redis.BlockingConnectionPool(host=HOST, port=PORT, protocol=protocol, max_connections=50, timeout=30)
    shared, problems = redis.Redis(connection_pool=pool), []
    together = threading.Barrier(50)

    def work(number):
        try:
            connection = pool.get_connection()
            together.wait(30)
            pool.release(connection)
            for i in range(100):
                shared.incr("total")
                shared.set(f"thread:{number}", i)
        except Exception as e:  # reported below, from the main thread
            problems.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert problems == []
    assert client.get("total") == "5000"
    assert int(client.info("clients")["connected_clients"]) >= 51
    assert client.dbsize() == 51
    pool.disconnect()


def test_asyncio_client(client, protocol):
    async def work():
        other = redis.asyncio.Redis(host=HOST, port=PORT, protocol=protocol, decode_responses=True, max_connections=50)
        try:
            await asyncio.gather(*(other.set(f"async:{i}", i) for i in range(50)))
            return await asyncio.gather(*(other.get(f"async:{i}") for i in range(50)))
        finally:
            await other.aclose()

    assert asyncio.run(work()) == [str(i) for i in range(50)]


def test_monitor(connect, client):
    with connect().monitor() as monitor:
        client.set("seen", "by monitor")
        for line in monitor.listen():
            if line["command"].upper().startswith("SET"):
                break
        assert line["command"] == "SET seen by monitor"
        assert line["db"] == 0


# ---- pipelines and sizes

def test_pipeline_of_10000_commands(client):
    with client.pipeline(transaction=False) as pipe:
        for i in range(5000):
            pipe.set(f"key:{i}", i * i)
        for i in range(5000):
            pipe.get(f"key:{i}")
        replies = pipe.execute()
    assert replies[:5000] == [True] * 5000
    assert replies[5000:] == [str(i * i) for i in range(5000)]
    assert client.dbsize() == 5000


def test_an_error_in_a_pipeline_stays_in_its_place(client):
    with client.pipeline(transaction=False) as pipe:
        pipe.set("text", "abc").incr("text").get("text")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and replies[2] == "abc"
    assert isinstance(replies[1], ResponseError)


@pytest.mark.parametrize("mebibytes", [1, pytest.param(64, marks=pytest.mark.skipif(IS_QUICK, reason="quick"))])
def test_large_values(connect, client, mebibytes):
    raw = connect(decode_responses=False)
    value = hashlib.shake_128(b"rockpool").digest(1 << 20) * mebibytes
    assert raw.set("large", value) is True
    assert raw.strlen("large") == len(value)
    assert raw.get("large") == value
    assert raw.getrange("large", len(value) - 5, -1) == value[-5:]
    assert raw.append("large", b"end") == len(value) + 3
    assert raw.delete("large") == 1


def test_binary_keys_and_values(connect, client):
    raw = connect(decode_responses=False)
    every = bytes(range(256))
    odd = [every, b"", b"\x00", b"\r\n", b"$5\r\nhello\r\n", b"*1\r\n", b" ", "clé ☃".encode(), b"\xff\xfe"]
    for key in odd:
        for value in odd:
            assert raw.set(key, value) is True
            assert raw.get(key) == value
    assert sorted(raw.keys()) == sorted(odd)
    assert sorted(raw.scan_iter(count=2)) == sorted(odd)
    assert raw.rename(every, b"\x01\x02") is True
    assert raw.delete(*(k for k in odd if k != every), b"\x01\x02") == len(odd)
    assert raw.dbsize() == 0


# ---- strings

def test_set_and_its_options(client):
    assert client.set("k", "1") is True
    assert client.set("k", "2", nx=True) is None
    assert client.set("other", "2", xx=True) is None
    assert client.set("k", "2", xx=True) is True
    assert client.set("k", "3", get=True) == "2"
    assert client.set("fresh", "1", get=True) is None
    assert client.set("k", "4", ex=100) and 0 < client.ttl("k") <= 100
    assert client.set("k", "5", keepttl=True) and 0 < client.ttl("k") <= 100
    assert client.set("k", "6", px=100_000) and 0 < client.pttl("k") <= 100_000
    assert client.set("k", "7") and client.ttl("k") == -1
    at = int(time.time()) + 1000
    assert client.set("k", "8", exat=at) and client.expiretime("k") == at
    assert client.set("k", "9", pxat=at * 1000 + 5) and client.pexpiretime("k") == at * 1000 + 5
    assert client.set("k", "10", nx=True, get=True) == "9"
    assert client.get("k") == "9"
    with pytest.raises(ResponseError, match="invalid expire time in 'set' command"):
        client.execute_command("SET", "k", "v", "EX", 0)
    with pytest.raises(ResponseError, match="syntax error"):
        client.execute_command("SET", "k", "v", "NX", "XX")


def test_the_rest_of_set_and_get(client):
    assert client.get("missing") is None
    assert client.setnx("a", "1") and not client.setnx("a", "2")
    assert client.setex("b", 100, "x") and 0 < client.ttl("b") <= 100
    assert client.psetex("c", 100_000, "x") and 0 < client.pttl("c") <= 100_000
    assert client.getset("a", "new") == "1"
    assert client.getdel("a") == "new" and client.exists("a") == 0
    assert client.getdel("a") is None
    assert client.getex("b", persist=True) == "x" and client.ttl("b") == -1
    assert client.getex("b", px=5000) == "x" and 0 < client.pttl("b") <= 5000
    assert client.mset({"m1": "1", "m2": "2"}) is True
    assert client.mget("m1", "missing", "m2") == ["1", None, "2"]
    assert not client.msetnx({"m1": "9", "m3": "9"}) and client.get("m3") is None
    assert client.msetnx({"m4": "4", "m5": "5"})


def test_ranges(client):
    assert client.append("r", "Hello ") == 6 and client.append("r", "World") == 11
    assert client.strlen("r") == 11 and client.strlen("missing") == 0
    assert client.getrange("r", 0, 4) == "Hello" and client.getrange("r", -5, -1) == "World"
    assert client.substr("r", 0, 4) == "Hello"
    assert client.setrange("r", 6, "Redis") == 11 and client.get("r") == "Hello Redis"
    assert client.setrange("gap", 3, "x") == 4 and client.get("gap") == "\0\0\0x"
    with pytest.raises(ResponseError, match="offset is out of range"):
        client.execute_command("SETRANGE", "r", -1, "x")
    with pytest.raises(ResponseError, match="string exceeds maximum allowed size"):
        client.setrange("r", 600 * 1024 * 1024, "x")


def test_counters(client):
    assert [client.incr("n"), client.incrby("n", 10), client.decr("n"), client.decrby("n", 5)] == [1, 11, 10, 5]
    assert client.incrbyfloat("f", 10.5) == 10.5 and client.incrbyfloat("f", "-0.25") == 10.25
    assert client.get("f") == "10.25"
    client.set("n", 2**63 - 1)
    with pytest.raises(ResponseError, match="increment or decrement would overflow"):
        client.incr("n")
    client.set("n", "abc")
    with pytest.raises(ResponseError, match="value is not an integer or out of range"):
        client.incr("n")
    with pytest.raises(ResponseError, match="value is not a valid float"):
        client.incrbyfloat("n", 1.0)


def test_lcs(client, protocol):
    client.mset({"one": "ohmytext", "two": "mynewtext"})
    assert client.lcs("one", "two") == "mytext"
    assert client.lcs("one", "two", len=True) == 6
    reply = client.execute_command("LCS", "one", "two", "IDX", "MINMATCHLEN", "4", "WITHMATCHLEN")
    fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))
    assert fields == {"matches": [[[4, 7], [5, 8], 4]], "len": 6}


# ---- keys

def test_existence_and_types(client):
    client.mset({"a": "1", "b": "2", "c": "3"})
    assert client.exists("a", "b", "a", "missing") == 3
    assert client.touch("a", "missing") == 1
    assert client.type("a") == "string" and client.type("missing") == "none"
    assert client.delete("a", "missing") == 1 and client.unlink("b", "missing") == 1
    assert client.dbsize() == 1 and client.randomkey() == "c"
    assert client.keys("?") == ["c"] and client.keys("x*") == []
    assert client.flushall(asynchronous=True) is True and client.randomkey() is None


def test_rename_and_copy(client):
    client.set("from", "v", ex=100)
    assert client.rename("from", "to") is True and 0 < client.ttl("to") <= 100
    client.set("taken", "x")
    assert client.renamenx("to", "taken") is False and client.renamenx("to", "free") is True
    with pytest.raises(ResponseError, match="no such key"):
        client.rename("missing", "x")
    assert client.copy("free", "copy") and 0 < client.ttl("copy") <= 100
    assert not client.copy("free", "taken") and client.copy("free", "taken", replace=True)
    assert client.get("taken") == "v"
    assert client.copy("free", "free", destination_db=3)


def test_expiry(client):
    client.set("k", "v")
    assert client.ttl("k") == -1 and client.ttl("missing") == -2 and client.pttl("missing") == -2
    assert client.expire("missing", 10) is False
    assert client.expire("k", 100) is True and 0 < client.ttl("k") <= 100
    assert client.expire("k", 50, gt=True) is False and client.expire("k", 50, lt=True) is True
    assert client.expire("k", 70, nx=True) is False and client.expire("k", 70, xx=True) is True
    at = int(time.time()) + 500
    assert client.expireat("k", at) is True and client.expiretime("k") == at
    assert client.pexpireat("k", at * 1000 + 7) is True and client.pexpiretime("k") == at * 1000 + 7
    assert client.persist("k") is True and client.persist("k") is False and client.ttl("k") == -1
    assert client.expiretime("k") == -1 and client.pexpiretime("missing") == -2
    assert client.pexpire("k", 30) is True
    deadline = time.monotonic() + 5
    while client.get("k") is not None:
        assert time.monotonic() < deadline
    assert client.exists("k") == 0
    client.set("k", "v")
    assert client.expire("k", -1) is True and client.exists("k") == 0


def test_many_keys_expire_by_themselves(client):
    with client.pipeline(transaction=False) as pipe:
        for i in range(2000):
            pipe.set(f"soon:{i}", i, px=1 + i // 10)
        pipe.execute()
    deadline = time.monotonic() + 10
    while client.dbsize():
        assert time.monotonic() < deadline, "keys that nobody reads must expire, too"
        time.sleep(0.02)
    assert int(client.info("stats")["expired_keys"]) >= 2000


def test_scan(client):
    keys = {f"user:{i}" for i in range(3000)} | {f"item:{i}" for i in range(100)}
    client.mset(dict.fromkeys(keys, "x"))
    assert set(client.scan_iter()) == keys
    assert set(client.scan_iter(match="item:*", count=500)) == {k for k in keys if k.startswith("item:")}
    assert set(client.scan_iter(_type="STRING")) == keys
    assert list(client.scan_iter(_type="LIST")) == []
    cursor, page = client.scan(0, count=10)
    assert 0 < len(page) < 3100 and cursor != 0
    with pytest.raises(ResponseError, match="invalid cursor"):
        client.execute_command("SCAN", "abc")


def test_object_and_memory(client):
    client.mset({"int": "12345", "short": "abc", "long": "x" * 100})
    assert [client.object("encoding", k) for k in ("int", "short", "long")] == ["int", "embstr", "raw"]
    assert client.object("idletime", "short") <= 1
    assert client.object("refcount", "short") == 1
    assert client.object("encoding", "missing") is None
    with pytest.raises(ResponseError, match="An LFU maxmemory policy is not selected"):
        client.object("freq", "short")
    assert client.memory_usage("long") > 100 and client.memory_usage("missing") is None
    stats = client.memory_stats()
    assert stats["peak.allocated"] > 0 and stats["total.allocated"] > 0 and stats["keys.count"] == 3
    assert isinstance(client.execute_command("MEMORY DOCTOR"), str)


# ---- errors

def test_errors_have_their_types_and_texts(client):
    with pytest.raises(ResponseError, match=r"^unknown command 'NOPE', with args beginning with: 'a' 'b' $"):
        client.execute_command("NOPE", "a", "b")
    with pytest.raises(ResponseError, match="^wrong number of arguments for 'get' command$"):
        client.execute_command("GET")
    with pytest.raises(ResponseError, match="^syntax error$"):
        client.execute_command("SET", "a", "b", "BAD")
    with pytest.raises(ResponseError, match=r"^unknown subcommand 'NOPE'. Try CLIENT HELP.$"):
        client.execute_command("CLIENT", "NOPE")
    with pytest.raises(ResponseError, match="^unknown subcommand|^Unknown subcommand"):
        client.execute_command("CONFIG", "NOPE")
    with pytest.raises(DataError):
        client.set("key", None)
    assert client.ping() is True


def test_out_of_memory_has_its_own_exception(client):
    if client.config_get("type").get("type") == "rocksdb":
        pytest.skip("with a disk below memory, no write is refused for want of memory")
    client.set("before", "x")
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError, match="command not allowed when used memory > 'maxmemory'"):
            client.set("key", "value")
        assert client.get("before") == "x" and client.delete("before") == 1
    finally:
        client.config_set("maxmemory", 0)
    assert client.set("key", "value") is True


# ---- server

def test_info_is_parsed(client):
    client.set("with ttl", "x", ex=100)
    client.set("without", "x")
    info = client.info()
    assert info["redis_version"].startswith("7.") and info["redis_mode"] == "standalone"
    assert info["tcp_port"] == PORT and info["process_id"] > 0 and info["uptime_in_seconds"] >= 0
    assert info["connected_clients"] >= 1 and info["used_memory"] > 0 and info["used_memory_human"]
    assert info["maxmemory_policy"] == "noeviction" and info["maxmemory"] == 0
    assert info["role"] == "master" and info["connected_slaves"] == 0
    assert info["loading"] == 0 and info["total_commands_processed"] > 0
    assert info["cluster_enabled"] == 0
    assert info["db0"]["keys"] == 2 and info["db0"]["expires"] == 1 and 0 <= info["db0"]["avg_ttl"] <= 100_000
    client.config_resetstat()
    client.get("without"), client.get("missing")
    stats = client.info("stats")
    assert (stats["keyspace_hits"], stats["keyspace_misses"]) == (1, 1)
    assert client.info("commandstats")["cmdstat_get"]["calls"] == 2
    assert "redis_version" not in client.info("keyspace")
    assert "cmdstat_get" in client.info("everything")


def test_config(client):
    assert client.config_get("maxmemory") == {"maxmemory": "0"}
    assert {"maxmemory", "maxmemory-policy"} <= set(client.config_get("maxmemory*"))
    both = client.config_get("timeout", "databases")
    assert both == {"timeout": "0", "databases": "16"}
    assert client.config_get("no-such-parameter") == {}
    before = client.config_get("slowlog-max-len")["slowlog-max-len"]
    assert client.config_set("slowlog-max-len", 77) is True
    assert client.config_get("slowlog-max-len") == {"slowlog-max-len": "77"}
    client.config_set("slowlog-max-len", before)
    assert client.config_set("maxmemory", "100mb") and client.config_get("maxmemory") == {"maxmemory": "104857600"}
    client.config_set("maxmemory", 0)
    with pytest.raises(ResponseError, match="Unknown option or number of arguments for CONFIG SET - 'nope'"):
        client.config_set("nope", 1)
    with pytest.raises(ResponseError, match=r"CONFIG SET failed \(possibly related to argument 'maxmemory-policy'\)"):
        client.config_set("maxmemory-policy", "never")


def test_command_describes_commands(client):
    commands = client.command()
    assert client.command_count() == len(commands)
    assert (commands["get"]["arity"], commands["get"]["first_key_pos"], commands["get"]["step_count"]) == (2, 1, 1)
    assert (commands["mset"]["arity"], commands["mset"]["last_key_pos"], commands["mset"]["step_count"]) == (-3, -1, 2)
    assert "write" in commands["set"]["flags"] and "readonly" in commands["get"]["flags"]
    assert client.command_getkeys("MSET", "a", 1, "b", 2) == ["a", "b"]
    assert "get" in client.command_list()
    with pytest.raises(ResponseError, match="Invalid command specified"):
        client.command_getkeys("NOPE", "a")


def test_clients_are_listed(connect, client):
    other = connect(single_connection_client=True)
    assert other.client_setname("listed") is True and other.client_getname() == "listed"
    found = [c for c in client.client_list() if c["name"] == "listed"]
    assert len(found) == 1 and found[0]["db"] == "0" and found[0]["addr"] and int(found[0]["age"]) >= 0
    assert client.client_list(_type="normal") and client.client_list(client_id=[other.client_id()])
    with pytest.raises(ResponseError, match="Client names cannot contain spaces"):
        other.client_setname("two words")
    assert other.client_no_evict("ON") in ("OK", True)
    assert other.reset() == "RESET" and other.ping() is True


def test_client_pause_holds_writes(connect, client):
    waiting, done = connect(), threading.Event()
    assert client.client_pause(60_000, all=False) is True

    def write():
        waiting.set("paused", "x")
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert client.get("paused") is None, "reads go on"
        assert not done.wait(0.2)
    finally:
        assert client.client_unpause()
        thread.join(10)
    assert done.is_set() and client.get("paused") == "x"


def test_slowlog_latency_and_time(client):
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    client.set("slow", "x")
    client.config_set("slowlog-log-slower-than", 10_000)
    entries = client.slowlog_get(10)
    assert client.slowlog_len() >= 1
    assert any(str(e["command"]) in ("SET slow x", "b'SET slow x'") for e in entries)
    assert all(e["duration"] >= 0 and e["start_time"] > 0 and e["id"] >= 0 for e in entries)
    assert client.slowlog_reset() is True and client.slowlog_len() == 0
    assert client.latency_latest() == [] and client.latency_history("command") == []
    assert client.latency_reset() == 0
    seconds, micros = client.time()
    assert abs(seconds - time.time()) < 60 and 0 <= micros < 1_000_000
    assert "ver" in client.lolwut()
    assert client.wait(0, 100) == 0


@pytest.mark.skipif(not AUTH_PORT, reason="no server with a password")
def test_auth_by_command(connect):
    client = connect(port=AUTH_PORT, password=PASSWORD, single_connection_client=True)
    with pytest.raises(AuthenticationError, match="invalid username-password pair"):
        client.execute_command("AUTH", "wrong")
    assert client.ping() is True, "a failed AUTH leaves the earlier one in force"
    assert client.auth(PASSWORD) is True
