"""Redis's own Tcl suite against a running server, unit by unit.

The suite is fetched (Debian's source package of redis 7.0), copied to a scratch folder, and run by
tcl/run_unit.tcl in its external mode, which goes on after an exception and sets a deadline on every
reply, test and unit. Modes:

    lean    tests that need DEBUG, PFDEBUG, replication or SAVE are left out by the suite's own tags,
            encodings and digests are not compared
    exact   as lean, but the encodings that OBJECT ENCODING answers are compared
    forced  as lean, and blocks tagged external:skip run too, set up by CONFIG SET
"""

import collections
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

from . import places, resp

LEAN_TAGS = "-needs:debug -needs:pfdebug -needs:repl -needs:save"
LEAN = ["--ignore-encoding", "--ignore-digest", "--tags", LEAN_TAGS]
MODES = {
    "lean": (LEAN, {}),
    "exact": (LEAN[1:], {}),
    "forced": (LEAN, {"force-external": 1}),
}
# The units and their modes. `--quick` runs the first group alone.
UNITS = {
    "type/string": "exact", "type/incr": "exact", "keyspace": "lean", "expire": "lean", "scan": "lean",
    "protocol": "lean", "info": "forced", "introspection": "forced", "other": "lean",
}
MORE_UNITS = {
    "info-command": "lean", "introspection-2": "lean", "quit": "lean", "slowlog": "lean",
    "latency-monitor": "lean", "pause": "lean", "querybuf": "lean", "auth": "forced", "limits": "forced",
}
UNIT_SECONDS, TEST_SECONDS, REPLY_SECONDS = 300, 60, 15
BASELINES = os.path.join(places.HERE, "baselines.json")


def baselines():
    """How many tests of each unit redis-server 7.0.15 runs in its mode, passed and failed."""
    with open(BASELINES) as f:
        return json.load(f)


def save_baselines(counts):
    merged = {**baselines(), **counts}
    with open(BASELINES, "w") as f:
        json.dump(merged, f, indent=1, sort_keys=True)
        f.write("\n")


def work_tree(source):
    """A scratch folder with the suite's tests/ and, as src/, the local client tools."""
    tree = tempfile.mkdtemp(prefix="tcl-", dir=places.scratch())
    shutil.copytree(os.path.join(source, "tests"), os.path.join(tree, "tests"))
    os.mkdir(os.path.join(tree, "src"))
    for tool in ("redis-cli", "redis-benchmark"):
        os.symlink(shutil.which(tool), os.path.join(tree, "src", tool))
    return tree


class Settings:
    """The server's settings at the start, put back after each unit. No connection is
    kept: some tests count on being the only client."""

    def __init__(self, server):
        self.server = server
        connection = resp.Conn(server.host, server.port)
        self.before = self._read(connection)
        connection.close()

    @staticmethod
    def _read(connection):
        reply = connection.raw("CONFIG", "GET", "*")
        return dict(zip(reply[::2], reply[1::2])) if isinstance(reply, list) else {}

    def restore(self):
        """-> None, or what went wrong"""
        try:
            connection = resp.Conn(self.server.host, self.server.port)
            try:
                return self._restore(connection)
            finally:
                connection.close()
        except (OSError, ValueError) as e:
            return f"{type(e).__name__}: {e}"

    def _restore(self, connection):
        first = connection.raw("CLIENT", "UNPAUSE")
        if isinstance(first, resp.ErrorReply) and first.startswith(b"NOAUTH"):
            return "the server asks for a password now"
        users = connection.raw("ACL", "USERS")
        if isinstance(users, list):
            connection.raw("ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all")
            for user in users:
                if user != b"default":
                    connection.raw("ACL", "DELUSER", user)
        now = self._read(connection)
        for name, value in self.before.items():
            if now.get(name, value) != value:
                connection.raw("CONFIG", "SET", name, value)
        for command in (("SCRIPT", "KILL"), ("FUNCTION", "KILL"), ("FLUSHALL",), ("FUNCTION", "FLUSH"),
                        ("SCRIPT", "FLUSH"), ("CONFIG", "RESETSTAT")):
            connection.raw(*command)
        return None


def unescape(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1]), text)


def run_unit(tree, server, unit, mode, not_run):
    """Run one unit. -> {passed: [name], failed: [(name, why)], by_tag: [text], left_out: [name],
    notes: [text], end: done|timeout|aborted, seconds}"""
    options, flags = MODES[mode]
    command = ["nice", "tclsh", os.path.join(places.HERE, "tcl", "run_unit.tcl"),
               server.host, str(server.port), "unit/" + unit,
               "read-timeout", str(REPLY_SECONDS), "test-timeout", str(TEST_SECONDS)]
    for name, value in flags.items():
        command += [name, str(value)]
    command += ["--", "--no-latency", *options]
    for name in not_run:
        command += ["--skiptest", name]
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    result = {"passed": [], "failed": [], "by_tag": [], "left_out": [], "notes": [], "end": "aborted"}
    current, rest, tail = None, b"", collections.deque(maxlen=5)
    try:
        while True:
            left = start + UNIT_SECONDS - time.monotonic()
            if not select.select([process.stdout], [], [], max(left, 0))[0]:
                result["end"] = "timeout"
                break
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"\x01"):
                    current = _record(result, line[1:], current)
                else:
                    tail.append(line.decode(errors="replace"))
    finally:
        # also when this process is told to stop
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.stdout.close()
        process.wait()
    if result["end"] != "done":
        if current is not None:
            result["failed"].append((current, f"the unit ended here ({result['end']})"))
        result["notes"] += tail
    result["seconds"] = time.monotonic() - start
    return result


def _record(result, line, current):
    """One line of run_unit.tcl. -> the test that runs now"""
    status, name, detail = (unescape(x) for x in line.decode(errors="replace").split("\t", 2))
    if status == "testing":
        return name
    if status == "ok":
        result["passed"].append(name)
        return None
    if status in ("err", "exception"):
        result["failed"].append((name, detail))
        return None
    if status == "note":
        result["notes"].append(name)
    elif status == "ignore":
        result["by_tag"].append(name)
    elif status == "skip":
        result["left_out"].append(name)
    elif status == "done":
        result["end"] = "done"
    return current
