#!/usr/bin/env python3
"""How many reads does a cache that is too small still answer, by policy?

Gives redis-server (allkeys-lru, allkeys-lfu) and Rockpool's memory engine (its default, allkeys-lru, allkeys-lfu,
allkeys-random) the same `maxmemory`, and each the same keys in the same order: GET, and SET where there was nothing. Counts hits
after a warm-up, and compares the default with the best of all. Patterns: keys that go round in a cycle a little larger than
memory, Zipf's distribution with three exponents, the same with scans in between, a hot set that moves, and many keys that are asked
for once; `--more` adds their neighbours, and `--trace FILE` keys from a file, one a line. What was counted goes to
benches/reports/hit_ratio.md and hit_ratio.json.

    benches/hit_ratio.py --binary PATH [--maxmemory-mb 24] [--value-size 100] [--more] [--trace FILE] [--quick] [--only NAME]
"""

import argparse
import array
import itertools
import pathlib
import random
import sys
import tempfile

from resp import encode
from servers import Server, facts_as_markdown, machine, table, version_of, write_report

GOAL = 0.98
BATCH = 100
KEY = b"key:%012d"


class Keys:
    """Draws sequences of key numbers. `fit` is about how many keys have room, by which the patterns are sized."""

    def __init__(self, fit, length, seed=1):
        self.fit, self.length, self.random = fit, length, random.Random(seed)
        self.unused = 10**9

    def zipf(self, exponent, keys, length=None, first=0):
        """Independent draws; which keys are the frequent ones has nothing to do with their numbers."""
        numbers = list(range(first, first + keys))
        self.random.shuffle(numbers)
        weights = list(itertools.accumulate((rank + 1) ** -exponent for rank in range(keys)))
        return array.array("Q", self.random.choices(numbers, cum_weights=weights, k=length or self.length))

    def cycle(self, keys, length=None, first=0):
        length = length or self.length
        return array.array("Q", (first + index % keys for index in range(length)))

    def once(self, length):
        """Keys that nobody has asked for, nor will again."""
        self.unused += length
        return array.array("Q", range(self.unused - length, self.unused))

    def in_turns(self, *parts):
        """A stretch of the first, a stretch of the second, and so on: pairs of a sequence and how long a stretch of it is."""
        places, mixed = [0] * len(parts), array.array("Q")
        while len(mixed) < self.length:
            for index, (sequence, stretch) in enumerate(parts):
                mixed.extend(sequence[places[index] : places[index] + stretch])
                places[index] += stretch
        return mixed[: self.length]

    def mixed(self, share, one, other):
        """Each key from `one` with the chance `share`, else from `other`, both in their order."""
        one, other = iter(one), iter(other)
        return array.array("Q", (next(one) if self.random.random() < share else next(other) for _ in range(self.length)))

    def moving(self, width, steps, share=0.9):
        """A window of so many keys takes that share of all reads and moves by a key every `steps` reads."""
        draw = self.random.random
        return array.array("Q", (index // steps + int(draw() * (width if draw() < share else 10 * width))
                                 for index in range(self.length)))

    def jumping(self, keys, every):
        """Zipf's distribution, with half of the frequent keys replaced by new ones again and again."""
        parts = [self.zipf(0.9, keys, every, first=index * keys // 8) for index in range(self.length // every + 1)]
        return array.array("Q", itertools.islice(itertools.chain(*parts), self.length))


def patterns(fit, length):
    """The patterns of the goal: a name, what it is, and who makes it."""
    keys = Keys(fit, length)
    many, round_keys = 7 * fit, fit * 4 // 3
    return {
        "cycle": (f"{round_keys:,} keys, one after the other, again and again", lambda: keys.cycle(round_keys)),
        "zipf 0.7": (f"{many:,} keys", lambda: keys.zipf(0.7, many)),
        "zipf 0.9": (f"{many:,} keys", lambda: keys.zipf(0.9, many)),
        "zipf 1.1": (f"{many:,} keys", lambda: keys.zipf(1.1, many)),
        "scans": (f"zipf 0.9, and after every {2 * fit:,} reads {fit // 2:,} keys in a row that nobody asked for",
                  lambda: keys.in_turns((keys.zipf(0.9, many), 2 * fit), (keys.once(length), fit // 2))),
        "moving hot set": (f"{fit // 2:,} keys take 90% of the reads, one leaves every 20 reads",
                           lambda: keys.moving(fit // 2, 20)),
        "one-hit keys": ("40% of the reads are for keys that are asked for once, the rest are zipf 0.9",
                         lambda: keys.mixed(0.4, keys.once(length), keys.zipf(0.9, many))),
    }


def more_patterns(fit, length):
    keys = Keys(fit, length, seed=2)
    third = length // 3
    ratios = {f"cycle {ratio:g}": (f"a cycle of {int(fit * ratio):,} keys", lambda ratio=ratio: keys.cycle(int(fit * ratio)))
              for ratio in (1.05, 1.2, 1.5, 2, 4)}
    return ratios | {
        "cycle and zipf": (f"half of the reads a cycle of {fit:,} keys, half zipf 0.9",
                           lambda: keys.mixed(0.5, keys.cycle(fit, first=10**8), keys.zipf(0.9, 7 * fit))),
        "zipf, cycle, zipf": ("a third each, counted as a whole",
                              lambda: keys.zipf(0.9, 5 * fit, third) + keys.cycle(fit * 13 // 10, third, first=10**8)
                              + keys.zipf(0.9, 5 * fit, third)),
        "scans of the same keys": (f"zipf 0.9 of {5 * fit:,} keys, and after every {4 * fit:,} reads {fit // 2:,} of them in a row",
                                   lambda: keys.in_turns((keys.zipf(0.9, 5 * fit), 4 * fit), (keys.cycle(5 * fit), fit // 2))),
        "jumping hot set": (f"zipf 0.9 of {4 * fit:,} keys, an eighth of them new every {10 * fit:,} reads",
                            lambda: keys.jumping(4 * fit, 10 * fit)),
        "uniform": (f"{fit * 13 // 10:,} keys, all alike", lambda: keys.zipf(0, fit * 13 // 10)),
    }


def read_trace(path):
    """Keys of a file, one a line, as numbers in the order of their first use."""
    known = {}
    with open(path, "rb") as lines:
        return array.array("Q", (known.setdefault(line.strip(), len(known)) for line in lines if line.strip()))


def replay(connection, sequence, value, counted_from):
    """GETs each key, SETs what was not there, and returns the share of hits from `counted_from` on."""
    sock, file = connection.socket, connection.file
    hit = b"$%d\r\n" % len(value)
    hits = 0
    for start in range(0, len(sequence), BATCH):
        part = sequence[start : start + BATCH]
        sock.sendall(b"".join([b"*2\r\n$3\r\nGET\r\n$16\r\n" + KEY % number + b"\r\n" for number in part]))
        missing = {}
        for number in part:
            line = file.readline()
            if line == hit:
                file.read(len(value) + 2)
            elif line == b"$-1\r\n":
                missing[number] = missing.get(number, 0) + 1
            else:
                raise RuntimeError(f"GET was answered with {line!r}")
        if start >= counted_from:
            hits += len(part) - sum(missing.values())
        if missing:
            sock.sendall(b"".join([encode("SET", KEY % number, value) for number in missing]))
            expected = b"+OK\r\n" * len(missing)
            if file.read(len(expected)) != expected:
                raise RuntimeError("a SET was not answered with OK")
    counted = sum(len(sequence[start : start + BATCH]) for start in range(0, len(sequence), BATCH) if start >= counted_from)
    return hits / counted


def subjects(options, directory):
    """Servers by the names that the report has for them; the first of ours is the default."""
    limit = ["--maxmemory", f"{options.maxmemory_mb}mb"]
    found = {}
    for policy in ("allkeys-lru", "allkeys-lfu"):
        found[f"redis {policy}"] = lambda policy=policy: Server.redis(
            directory / f"redis-{policy}", *limit, "--maxmemory-policy", policy, "--appendonly", "no")
    for policy in (None, "allkeys-lru", "allkeys-lfu", "allkeys-random"):
        flags = ["--maxmemory-policy", policy] if policy else []
        found[policy or "default"] = lambda policy=policy, flags=flags: Server.rockpool(
            options.binary, directory / f"rockpool-{policy}", *limit, *flags, *options.flag, engine="memory")
    return found


def fitting(options, make):
    """How many keys of the default server fit."""
    with make().start() as server:
        connection = server.connection()
        replay(connection, array.array("Q", range(options.maxmemory_mb * 12_000)), b"v" * options.value_size, 0)
        policy = connection.command("CONFIG", "GET", "maxmemory-policy")[1].decode()
        return connection.command("DBSIZE"), policy


def main():
    parser = argparse.ArgumentParser(description="How many reads does a cache that is too small still answer, by policy?")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--maxmemory-mb", type=int, default=24)
    parser.add_argument("--value-size", type=int, default=100)
    parser.add_argument("--reads", type=int, default=0, help="for each pattern; 12 times as many as keys fit unless given")
    parser.add_argument("--more", action="store_true", help="neighbours of the patterns as well")
    parser.add_argument("--only", action="append", default=[], help="only this pattern")
    parser.add_argument("--trace", help="a file of keys, one a line, to replay as well")
    parser.add_argument("--trace-mb", type=int, default=8, help="maxmemory for the trace")
    parser.add_argument("--directory", help="where the servers' directories go; a temporary directory unless given")
    parser.add_argument("--flag", action="append", default=[], help="one more argument for the server to measure")
    parser.add_argument("--quick", action="store_true", help="8 MB, and few reads")
    parser.add_argument("--report", help="name of the report; hit_ratio unless only a part is measured, which is not reported")
    options = parser.parse_args()
    if options.quick:
        options.maxmemory_mb = 8

    value = b"v" * options.value_size
    measured = []
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        facts = machine(directory)
        facts["server"] = version_of(options.binary)
        found = subjects(options, pathlib.Path(directory))
        fit, policy = fitting(options, found["default"])
        length = options.reads or fit * (6 if options.quick else 12)
        print(f"{fit:,} keys fit; the default is {policy}; {length:,} reads a pattern", flush=True)
        chosen = {name: (about, make, options.maxmemory_mb) for name, (about, make) in
                  (patterns(fit, length) | (more_patterns(fit, length) if options.more else {})).items()}
        if options.trace:
            trace = read_trace(options.trace)
            about = f"{pathlib.Path(options.trace).name}: {len(trace):,} reads of {len(set(trace)):,} keys, {options.trace_mb} MB"
            chosen["trace"] = (about, lambda: trace, options.trace_mb)
        for name, (about, make, maxmemory_mb) in chosen.items():
            if options.only and name not in options.only:
                continue
            sequence, ratios, kept = make(), {}, {}
            for subject, start in found.items():
                with start().start() as server:
                    connection = server.connection()
                    connection.command("CONFIG", "SET", "maxmemory", f"{maxmemory_mb}mb")
                    ratios[subject] = replay(connection, sequence, value, len(sequence) // 3)
                    kept[subject] = connection.command("DBSIZE")
                    connection.close()
            best = max(ratios.values())
            measured.append({"pattern": name, "about": about, "reads": len(sequence), "hit ratio": ratios, "keys": kept,
                             "of the best": ratios["default"] / best})
            print(f"{name:24}" + "".join(f"  {subject} {ratio:.4f}" for subject, ratio in ratios.items())
                  + f"  of the best {ratios['default'] / best:.3f}", flush=True)

    head = ["pattern", *(f"{policy} (default)" if subject == "default" else subject for subject in found), "default / best"]
    rows = [[run["pattern"], *(f"{ratio:.4f}" for ratio in run["hit ratio"].values()), f"{run['of the best']:.3f}"]
            for run in measured]
    lines = table(head, rows)
    lowest = min(run["of the best"] for run in measured)
    print(f"{lines}\ngoal: {GOAL:g} of the best at least; lowest: {lowest:.3f}")
    report = options.report or (None if options.quick or options.only else "hit_ratio")
    if not report:
        return 0
    explained = "\n".join(f"- {run['pattern']}: {run['about']}" for run in measured)
    kept = ", ".join(f"{subject} {count:,}" for subject, count in measured[0]["keys"].items())
    text = f"""# Hit ratios

The share of reads that found their key, at `maxmemory {options.maxmemory_mb}mb` for all (a trace's is below), with values of
{options.value_size} bytes and keys of 16: GET, and SET where there was nothing, {length:,} reads a pattern, the first third not counted.
Rockpool's columns are its memory engine's. Goal: the default reaches {GOAL:g} of the best of its row; lowest: {lowest:.3f}.

{lines}

{explained}

Keys in memory at the end of the first pattern: {kept}.

- the measurement: `{' '.join(sys.argv)}`

{facts_as_markdown(facts)}
"""
    write_report(report, text, {"machine": facts, "runs": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main())
