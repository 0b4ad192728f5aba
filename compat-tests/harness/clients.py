"""Real clients against a running server: each is a test program of its own ecosystem, and reports in JUnit's
format (redis-rs: in libtest's)."""

import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as xml

from . import install, places, server as servers

PYTHON_TESTS = {"tools": "tools/test_tools.py", "redis-py": "redis-py/test_redis_py.py"}
NODE_TESTS = ("ioredis", "node-redis")
NAMES = ("tools", "redis-py", "ioredis", "node-redis", "redis-rs")
CLIENT_SECONDS = 300


def environment(main, protected, is_reference, quick):
    """What a client's tests read: where the servers are, and which of the two they are."""
    values = {
        "COMPAT_HOST": main.host, "COMPAT_PORT": str(main.port),
        "COMPAT_REFERENCE": "1" if is_reference else "", "COMPAT_QUICK": "1" if quick else "",
        "COMPAT_AUTH_PORT": str(protected.port) if protected else "",
        "COMPAT_PASSWORD": servers.PASSWORD,
    }
    return {**os.environ, **values}


def run(name, env, cargo_profile):
    """Run one client's tests. -> {passed, failed: [(name, why)], skipped: [(name, why)], end, seconds}"""
    start = time.monotonic()
    report = os.path.join(places.scratch(), f"{name}-{os.getpid()}.xml")
    env = {**env, "COMPAT_SCRATCH": places.scratch()}
    try:
        if name in PYTHON_TESTS:
            install.commands("redis-cli", "redis-benchmark")
            folder = os.path.join(places.HERE, "clients")
            argv = [install.python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
                    "-o", "junit_family=xunit1", PYTHON_TESTS[name]]
            env["PYTHONDONTWRITEBYTECODE"] = "1"
        elif name in NODE_TESTS:
            folder = install.node(name)
            argv = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={report}",
                    "--test-concurrency=1", "--test-timeout=60000", "client.test.js"]
        else:
            folder = places.REPOSITORY
            argv = ["cargo", "test", "--quiet", "--profile", cargo_profile, "--test", "client_redis_rs", "--",
                    "--test-threads=1", "--format=pretty"]
        end, output = _limited(argv, folder, env)
        result = _libtest(output) if name == "redis-rs" else _junit(report)
    finally:
        if os.path.exists(report):
            os.remove(report)
    if end not in (0, 1, 101) or (end and not result["failed"]) or not (result["passed"] or result["failed"]):
        result["failed"].append((f"{name} as a whole", f"ended with {end}: {output[-1500:]}"))
    result["seconds"] = time.monotonic() - start
    return result


def _limited(argv, folder, env):
    """-> (exit status, or a text when it took too long; output)"""
    # the time for compiling is not the client's
    seconds = CLIENT_SECONDS if argv[0] != "cargo" else 3600
    process = subprocess.Popen(argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=seconds)
        end = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        end = f"the limit of {seconds} s"
    finally:
        # also when this process is told to stop
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return end, output.decode(errors="replace")


def _junit(report):
    result = {"passed": [], "failed": [], "skipped": []}
    if not os.path.exists(report):
        return result
    for case in xml.parse(report).getroot().iter("testcase"):
        name = case.get("name")
        bad = [e for e in case if e.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if bad:
            result["failed"].append((name, bad[0].get("message") or (bad[0].text or "").strip()))
        elif skipped is not None:
            result["skipped"].append((name, skipped.get("message") or ""))
        else:
            result["passed"].append(name)
    return result


def _libtest(output):
    result = {"passed": [], "failed": [], "skipped": []}
    for name, status in re.findall(r"^test (\S+) \.\.\. (?:.*?)(ok|FAILED|ignored)\b", output, re.M):
        if status == "ok":
            result["passed"].append(name)
        elif status == "ignored":
            result["skipped"].append((name, "ignored"))
        else:
            found = re.search(rf"^---- {re.escape(name)} stdout ----\n(.*?)\n\n", output, re.M | re.S)
            result["failed"].append((name, found[1] if found else ""))
    return result
