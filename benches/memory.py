#!/usr/bin/env python3
"""How much memory do small keys take?

Fills two servers side by side with the same keys and prints by how much the resident memory of each has grown,
with or without expiry times. Their data is lost: give each a server of its own, on this machine, just started
(memory that an earlier filling left behind would hide growth).

    benches/memory.py HOST:PORT HOST:PORT [--keys 1000000] [--key-size 16] [--value-size 64] [--ttl no|yes]

The ratio is that of the first server to the second. One server alone may be given, too.
"""

import argparse
import sys

from resp import Connection, batches, encode


def fill(connection, options, with_ttl):
    digits = options.key_size
    expiry = ("EX", 1_000_000) if with_ttl else ()
    # Values differ, so that nothing is gained by sharing or compressing them.
    commands = (
        encode("SET", b"%0*d" % (digits, number), (b"%d:" % number).ljust(options.value_size, b"v"), *expiry)
        for number in range(options.keys)
    )
    for batch in batches(commands):
        connection.pipeline(batch)


def growth(address, options, with_ttl):
    connection = Connection(address)
    connection.command("FLUSHALL")
    before = connection.resident_bytes()
    fill(connection, options, with_ttl)
    if connection.command("DBSIZE") != options.keys:
        sys.exit(f"{address} does not hold all keys: is memory limited?")
    grown = connection.resident_bytes() - before
    per_key = grown / options.keys
    print(f"  {connection.name():40} {grown / 1e6:8.1f} MB  {per_key:6.1f} bytes a key", flush=True)
    return grown


def main():
    parser = argparse.ArgumentParser(description="How much memory do small keys take?")
    parser.add_argument("addresses", metavar="HOST:PORT", nargs="+")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--key-size", type=int, default=16)
    parser.add_argument("--value-size", type=int, default=64)
    parser.add_argument("--ttl", choices=("no", "yes"), default="no", help="whether the keys have an expiry time")
    options = parser.parse_args()
    with_ttl = options.ttl == "yes"
    print(
        f"{options.keys} keys of {options.key_size} bytes, values of {options.value_size}, "
        f"{'with' if with_ttl else 'without'} an expiry time: resident memory grew by"
    )
    grown = [growth(address, options, with_ttl) for address in options.addresses]
    if len(grown) == 2:
        print(f"  ratio {grown[0] / grown[1]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
