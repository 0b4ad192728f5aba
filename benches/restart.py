#!/usr/bin/env python3
"""How long from the start of the process to the first correct answer?

Loads the same keys into Rockpool and into redis-server, ends them (in order, or with SIGKILL under writes), starts them
again, and polls with GET until the value is right. redis-server loads its RDB; it has nothing that corresponds to
SIGKILL, for which it would have to replay its AOF. With and without the data in the page cache, where this may drop it
(as root). Times of all rounds go to benches/reports/restart.md and restart.json.

    benches/restart.py --binary PATH [--keys 10000000] [--value-size 64] [--rounds 3] [--quick] [--no-redis]
"""

import argparse
import multiprocessing
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

from resp import Connection
from servers import Server, drop_page_cache, facts_as_markdown, machine, table, version_of, write_report

GOAL_S, GOAL_RATIO = 1.0, 1 / 20


def key(number):
    return b"key:%012d" % number


def value(number, length):
    return (b"%016d" % (number * 2_654_435_761 % 10**16) * (length // 16 + 1))[:length]


def fill(address, first, end, length, batch=2_000):
    """SETs the keys from `first` to `end` as fast as Python makes them."""
    connection = Connection(address)
    head = b"*3\r\n$3\r\nSET\r\n$16\r\n"
    middle = b"\r\n$%d\r\n" % length
    for start in range(first, end, batch):
        numbers = range(start, min(start + batch, end))
        connection.socket.sendall(b"".join([head + key(number) + middle + value(number, length) + b"\r\n"
                                            for number in numbers]))
        expected = b"+OK\r\n" * len(numbers)
        if connection.file.read(len(expected)) != expected:
            raise RuntimeError("a SET was not answered with OK")
    connection.close()


def fill_in_parallel(address, keys, length, processes=2):
    bounds = [keys * index // processes for index in range(processes + 1)]
    workers = [multiprocessing.Process(target=fill, args=(address, first, end, length))
               for first, end in zip(bounds, bounds[1:])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            sys.exit("loading failed")


def kill_under_writes(server, keys, length, seconds):
    """SIGKILL while keys are set again, so that there is something to recover."""
    killed = threading.Event()

    def write():
        try:
            while not killed.is_set():
                fill(server.address, random.randrange(keys), keys, length)
        except (OSError, RuntimeError):
            # The end of the connection is what it waits for.
            return

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    time.sleep(seconds)
    server.kill()
    killed.set()
    for writer in writers:
        writer.join()


def check(server, keys, length):
    """A thousand keys, and the number of all."""
    connection = server.connection()
    for number in (random.randrange(keys) for _ in range(1_000)):
        if connection.command("GET", key(number)) != value(number, length):
            sys.exit(f"{server.name}: {key(number)} has another value after the restart")
    end = time.monotonic() + 120
    while (count := connection.command("DBSIZE")) != keys:
        if time.monotonic() > end:
            sys.exit(f"{server.name}: {count} keys after the restart, not {keys}")
        time.sleep(0.1)
    connection.close()


def measure(server, options, end, is_cold):
    """Ends the server by `end`, starts it, and returns the seconds to the first correct answer."""
    end(server)
    if is_cold and not drop_page_cache():
        server.start()
        return None
    number = random.randrange(options.keys)
    expected = value(number, options.value_size)
    seconds = server.first_answer(server.spawn(), ["GET", key(number)], expected)
    check(server, options.keys, options.value_size)
    return seconds


def main():
    parser = argparse.ArgumentParser(description="From the start of the process to the first correct answer")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--value-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="where the data go; a temporary directory unless given")
    parser.add_argument("--flag", action="append", default=[], help="one more argument for the server to measure")
    parser.add_argument("--no-redis", action="store_true")
    parser.add_argument("--quick", action="store_true", help="200,000 keys, one round; no report")
    parser.add_argument("--report", default="restart")
    options = parser.parse_args()
    if options.quick:
        options.keys, options.rounds = 200_000, 1

    def in_order(server):
        server.terminate()

    def killed(server):
        kill_under_writes(server, options.keys, options.value_size, random.uniform(1, 2))

    measured = []
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        facts = machine(directory)
        facts["server"] = version_of(options.binary)
        path = pathlib.Path(directory)
        subjects = [(Server.rockpool(options.binary, path / "rockpool", *options.flag), [("in order", in_order), ("SIGKILL", killed)])]
        if not options.no_redis:
            # With a point of saving it writes its RDB when it is asked to end.
            redis = Server.redis(path / "redis", "--appendonly", "no", "--save", "86400 1000000000")
            subjects.append((redis, [("in order", in_order)]))
        for server, ends in subjects:
            with server.start():
                begun = time.perf_counter()
                fill_in_parallel(server.address, options.keys, options.value_size)
                loading_s = time.perf_counter() - begun
                print(f"{server.name}: {options.keys} keys loaded in {loading_s:.1f} s", flush=True)
                for end_name, end in ends:
                    for is_cold in (False, True):
                        times = [measure(server, options, end, is_cold) for _ in range(options.rounds)]
                        if None in times:
                            print("  (the page cache cannot be dropped: not root)")
                            continue
                        cache = "cold" if is_cold else "warm"
                        measured.append({"server": server.name, "end": end_name, "page cache": cache, "seconds": times,
                                         "command": server.shown_command})
                        print(f"  {end_name}, {cache} page cache: {', '.join(f'{seconds:.3f}' for seconds in times)} s",
                              flush=True)
                server.terminate()

    rows = []
    for run in measured:
        median = statistics.median(run["seconds"])
        theirs = [statistics.median(other["seconds"]) for other in measured
                  if other["server"] == "redis-server" and other["page cache"] == run["page cache"]]
        ratio = f"{median / theirs[0]:.4f}" if theirs else ""
        rows.append([run["server"], run["end"], run["page cache"], f"{median:.3f}", f"{max(run['seconds']):.3f}", ratio])
    lines = table(["server", "ended", "page cache", "median s", "slowest s", "of Redis's"], rows)
    ours = [run for run in measured if run["server"] != "redis-server"]
    slowest = max(second for run in ours for second in run["seconds"])
    print(f"{lines}\ngoal: {GOAL_S:g} s at most; slowest of Rockpool's: {slowest:.3f} s")
    if options.quick:
        return 0
    commands = "\n".join(sorted({f"- {run['server']}: `{run['command']}`" for run in measured}))
    text = f"""# From the start of the process to the first correct answer

{options.keys:,} keys of 16 bytes with values of {options.value_size}. Medians of {options.rounds} rounds; a tight loop connects and
asks for one key by chance until its value is right. After SIGKILL two connections had been writing for one to two
seconds. redis-server loads its RDB, and is asked until it no longer answers LOADING. Goal: {GOAL_S:g} s, and {GOAL_RATIO:g} of
redis-server's time.

{lines}

{commands}
- the measurement: `{' '.join(sys.argv)}`

{facts_as_markdown(facts)}
"""
    write_report(options.report, text, {"machine": facts, "runs": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main())
