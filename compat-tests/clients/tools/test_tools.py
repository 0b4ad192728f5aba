"""redis-cli and redis-benchmark against the server."""

import os
import socket
import subprocess
import uuid

import pytest

HOST, PORT = os.environ["COMPAT_HOST"], os.environ["COMPAT_PORT"]
AUTH_PORT, PASSWORD = os.environ.get("COMPAT_AUTH_PORT"), os.environ.get("COMPAT_PASSWORD", "")


def run(*argv, given=None, seconds=120):
    done = subprocess.run(argv, input=given, capture_output=True, timeout=seconds)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def cli(*arguments, port=PORT, **options):
    status, out, err = run("redis-cli", "-h", HOST, "-p", port, *arguments, **options)
    assert status == 0, out + err
    assert "rror" not in err, err
    return out


@pytest.fixture(autouse=True)
def empty():
    assert cli("FLUSHALL").strip() == "OK"


@pytest.mark.parametrize("options", [[], ["-P", "16"], ["-r", "100000", "-d", "1024"], ["-3"], ["--threads", "2"], ["-k", "0"]],
                         ids=["plain", "pipelined", "random-keys", "resp3", "threads", "no-keepalive"])
def test_benchmark(options):
    # without keep-alive every request leaves a closed socket behind: fewer of them
    count = "1000" if "-k" in options else "10000"
    status, out, err = run("redis-benchmark", "-h", HOST, "-p", PORT, "-t", "ping,set,get,incr,mset", "-n", count, "-q", *options)
    assert status == 0, out + err
    assert "rror" not in out + err and "Could not fetch" not in out + err, out + err
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
        assert f"{name}:" in out, out
    assert int(cli("DBSIZE")) > 0


def test_benchmark_of_a_command_of_ones_own():
    status, out, err = run("redis-benchmark", "-h", HOST, "-p", PORT, "-n", "1000", "-q", "-r", "10", "SETRANGE", "k:__rand_int__", "3", "x")
    assert status == 0 and "rror" not in out + err, out + err
    assert int(cli("DBSIZE")) == 10


def fill():
    cli("MSET", *(part for i in range(500) for part in (f"key:{i}", "x" * (i + 1))))


def test_commands_and_exit_status():
    assert cli("SET", "a", "1").strip() == "OK"
    assert cli("GET", "a").strip() == "1"
    assert cli("--no-raw", "GET", "missing").strip() == "(nil)"
    assert cli("--no-raw", "INCR", "a").strip() == "(integer) 2"
    assert cli("--json", "MGET", "a", "missing").strip() == '["2",null]'
    assert cli("-r", "3", "INCR", "a").split() == ["3", "4", "5"]
    assert cli("-n", "3", "DBSIZE").strip() == "0"
    assert cli("-x", "SET", "piped", given=b"from\0stdin").strip() == "OK"
    assert cli("STRLEN", "piped").strip() == "10"
    status, out, _ = run("redis-cli", "-h", HOST, "-p", PORT, "-e", "NOPE")
    assert status == 1 and "unknown command" in out + _


def test_resp3():
    assert cli("-3", "SET", "a", "1").strip() == "OK"
    assert '"proto"\n3'.replace('"', "") in cli("-3", "HELLO", "3") or "proto 3" in cli("-3", "HELLO", "3")
    assert cli("-3", "--no-raw", "GET", "missing").strip() == "(nil)"
    assert "1# " in cli("-3", "--no-raw", "CONFIG", "GET", "maxmemory")


def test_scan():
    fill()
    assert sorted(cli("--scan").split()) == sorted(f"key:{i}" for i in range(500))
    assert sorted(cli("--scan", "--pattern", "key:1?").split()) == sorted(f"key:{i}" for i in range(10, 20))


def test_bigkeys():
    fill()
    out = cli("--bigkeys")
    assert "Sampled 500 keys in the keyspace" in out, out
    assert 'Biggest string found \'"key:499"\' has 500 bytes' in out, out
    assert "500 strings with" in out, out


def test_memkeys():
    fill()
    out = cli("--memkeys")
    assert "Sampled 500 keys in the keyspace" in out, out
    assert "Biggest string found" in out and "500 strings with" in out, out


def test_latency():
    # with a pipe for its output, --latency measures for a second and prints one line
    out = cli("--latency", "--raw", seconds=30).split()
    assert len(out) >= 4 and float(out[2]) >= 0 and int(out[3]) > 10, out


def test_pipe():
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(k), k, len(v), v)
                        for k, v in ((b"pipe:%d" % i, b"value %d" % i) for i in range(20000)))
    out = cli("--pipe", given=commands)
    assert "errors: 0, replies: 20000" in out, out
    assert cli("DBSIZE").strip() == "20000"
    assert cli("GET", "pipe:19999").strip() == "value 19999"


def test_pipe_counts_errors():
    status, out, err = run("redis-cli", "-h", HOST, "-p", PORT, "--pipe", given=b"SET a abc\r\nINCR a\r\nSET b 1\r\n")
    assert "errors: 1, replies: 3" in out, out + err
    assert status == 1


def test_stat():
    process = subprocess.Popen(["redis-cli", "-h", HOST, "-p", PORT, "-i", "0.1", "--stat"], stdout=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline() for _ in range(4)]
    finally:
        process.terminate()
        process.communicate()
    assert "keys" in lines[1] and lines[2].split()[0] == "0", lines


@pytest.mark.skipif(not AUTH_PORT, reason="no server with a password")
def test_password():
    assert cli("--no-auth-warning", "-a", PASSWORD, "PING", port=AUTH_PORT).strip() == "PONG"
    assert cli("--no-auth-warning", "--user", "default", "--pass", PASSWORD, "PING", port=AUTH_PORT).strip() == "PONG"
    _, out, err = run("redis-cli", "-h", HOST, "-p", AUTH_PORT, "PING")
    assert "NOAUTH Authentication required." in out + err
    status, out, err = run("redis-benchmark", "-h", HOST, "-p", AUTH_PORT, "-a", PASSWORD, "-t", "ping,set", "-n", "1000", "-q")
    assert status == 0 and "rror" not in out + err, out + err


def test_inline_commands():
    name = uuid.uuid4().hex
    with socket.create_connection((HOST, int(PORT)), 10) as s:
        s.sendall(b'set %s "a b\\x41"\r\nget %s\nPING\r\n\r\nQUIT\r\n' % (name.encode(), name.encode()))
        received = b""
        while chunk := s.recv(4096):
            received += chunk
    assert received == b"+OK\r\n$4\r\na bA\r\n+PONG\r\n+OK\r\n"
