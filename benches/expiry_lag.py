#!/usr/bin/env python3
"""How late do expired keys go?

Loads keys whose expiry times are spread evenly over a window that starts after the loading, polls DBSIZE while they
expire, and reports how late "gone from DBSIZE" was against the ideal curve. Nothing reads the keys: only the server's
own expiry removes them. The server's data of database 0 is lost: give it a server of its own.

    benches/expiry_lag.py HOST:PORT [--keys 1000000] [--window 20] [--poll 20]

The lateness of the n-th key to go is the time of the first poll that saw no more than N - n keys, less the n-th
expiry time. It is therefore exact to one poll interval (plus the time that DBSIZE itself takes, given as well).
"""

import argparse
import sys
import time

from resp import Connection, batches, encode


def load(connection, keys, start_ms, window_ms):
    """Sets the keys; returns their expiry times in ascending order."""
    # The expiry times are taken in a scattered order, so that neighbours in time are no neighbours in the table.
    step = 7_919
    while keys % step == 0:
        step += 2
    moments = (start_ms + (number * step % keys) * window_ms // keys for number in range(keys))
    commands = (
        encode("SET", b"key:%012d" % number, b"x" * 16, "PXAT", moment) for number, moment in enumerate(moments)
    )
    for batch in batches(commands):
        connection.pipeline(batch)
    return [start_ms + number * window_ms // keys for number in range(keys)]


def watch(connection, keys, poll_s, give_up_ms):
    """Polls DBSIZE until nothing is left; returns (milliseconds, keys left) for each poll and the slowest poll."""
    samples, slowest_s = [], 0.0
    left = keys
    next_poll = time.monotonic()
    while left > 0 and time.time() * 1000 < give_up_ms:
        before = time.monotonic()
        left = connection.command("DBSIZE")
        after = time.monotonic()
        slowest_s = max(slowest_s, after - before)
        samples.append((time.time() * 1000, left))
        next_poll = max(next_poll + poll_s, after)
        time.sleep(next_poll - after)
    return samples, slowest_s


def lateness(expiry_times_ms, samples):
    """Milliseconds that each key was late, in the order in which they went."""
    late, gone = [], 0
    total = len(expiry_times_ms)
    for moment_ms, left in samples:
        while gone < total - left:
            late.append(moment_ms - expiry_times_ms[gone])
            gone += 1
    return late


def percentile(ascending, share):
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def main():
    parser = argparse.ArgumentParser(description="How late do expired keys go?")
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--window", type=float, default=20, help="seconds over which the keys expire")
    parser.add_argument("--poll", type=float, default=20, help="milliseconds between two looks at DBSIZE")
    parser.add_argument("--loading", type=float, default=0, help="seconds to allow for loading; measured when 0")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait after the last expiry time")
    options = parser.parse_args()

    connection = Connection(options.address)
    if connection.command("DBSIZE") != 0:
        sys.exit("the server is not empty: give it one of its own")
    window_ms = int(options.window * 1000)
    loading_s = options.loading
    if not loading_s:
        # A small load tells how long the whole one takes; half as much again is allowed.
        trial = min(options.keys, 20_000)
        begun = time.monotonic()
        load(connection, trial, int(time.time() * 1000) + 3_600_000, window_ms)
        loading_s = (time.monotonic() - begun) / trial * options.keys * 1.5 + 2
        connection.command("FLUSHALL")
    start_ms = int((time.time() + loading_s) * 1000)
    expiry_times_ms = load(connection, options.keys, start_ms, window_ms)
    if time.time() * 1000 > start_ms:
        sys.exit("the loading took longer than was allowed for it: give more with --loading")
    if connection.command("DBSIZE") != options.keys:
        sys.exit("not all keys are there after the loading: is memory limited?")
    time.sleep(start_ms / 1000 - time.time())

    give_up_ms = start_ms + window_ms + options.patience * 1000
    samples, slowest_s = watch(connection, options.keys, options.poll / 1000, give_up_ms)
    late = sorted(lateness(expiry_times_ms, samples))
    left = samples[-1][1]
    print(f"{connection.name()}: {options.keys} keys expiring over {options.window:g} s, DBSIZE every {options.poll:g} ms")
    if left:
        print(f"  {left} keys were still there {options.patience:g} s after the last expiry time; of the others:")
    if late:
        print(
            f"  late by  p50 {percentile(late, 0.5):.0f} ms   p99 {percentile(late, 0.99):.0f} ms   "
            f"max {late[-1]:.0f} ms   (slowest DBSIZE {slowest_s * 1000:.1f} ms)"
        )
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
