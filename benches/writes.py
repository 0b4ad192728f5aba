#!/usr/bin/env python3
"""Throughput, latency and processor time of SET and GET, side by side with redis-server.

Starts both servers on the same file system, and measures them in turns (A B A B …) with redis-benchmark: three
pairs of promises, two sizes of the key space, three depths of pipelining. Before each measurement the other server has come
to rest. The medians of the rounds go to benches/reports/writes.md, everything to writes.json.

    benches/writes.py --binary PATH [--quick] [--rounds 3] [--seconds 2] [--directory DIR] [--report writes]

redis-server keeps its defaults for the rewriting of its AOF: in these runs, as in use, it may rewrite it.
"""

import argparse
import csv
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from servers import Server, empty, facts_as_markdown, machine, table, version_of, write_report

# Name, Rockpool's flags, redis-server's flags.
PAIRS = [
    ("no persistence", ["--appendonly", "no"], ["--appendonly", "no"]),
    ("everysec", ["--appendonly", "yes", "--appendfsync", "everysec"], ["--appendonly", "yes", "--appendfsync", "everysec"]),
    ("always", ["--appendonly", "yes", "--appendfsync", "always"], ["--appendonly", "yes", "--appendfsync", "always"]),
]
KEYS = [100_000, 1_000_000]
DEPTHS = [1, 16, 64]
TESTS = ["set", "get"]
VALUE_BYTES, CLIENTS = 64, 50


def benchmark(server, test, keys, depth, requests):
    """One run of redis-benchmark: its line of figures and the server's processor time."""
    command = ["redis-benchmark", "-p", str(server.port), "-t", test, "-n", str(requests), "-r", str(keys)]
    command += ["-d", str(VALUE_BYTES), "-c", str(CLIENTS), "-P", str(depth), "--csv"]
    cpu_before, begun = server.cpu_s(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    elapsed_s, cpu_s = time.perf_counter() - begun, server.cpu_s() - cpu_before
    server.settle()
    after_s = server.cpu_s() - cpu_before
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    if len(lines) != 2 or server.process.poll() is not None:
        sys.exit(f"{' '.join(command)} on {server.name}:\n{done.stdout}{done.stderr}\n{server.tail()}")
    head, figures = csv.reader(lines)
    figures = dict(zip(head, figures))
    return {
        "server": server.name,
        "requests": requests,
        "rps": float(figures["rps"]),
        "p50_ms": float(figures["p50_latency_ms"]),
        "p99_ms": float(figures["p99_latency_ms"]),
        "max_ms": float(figures["max_latency_ms"]),
        "elapsed_s": round(elapsed_s, 3),
        "cpu_us": round(cpu_s / requests * 1e6, 3),
        # With what it did in the background until it came to rest.
        "settled_cpu_us": round(after_s / requests * 1e6, 3),
        "command": " ".join(command),
    }


def requests_for(server, test, keys, depth, seconds):
    """As many as take redis-server about so long."""
    trial = benchmark(server, test, keys, depth, max(5_000, 2_000 * depth))
    return max(20_000, int(trial["rps"] * seconds) // 1000 * 1000)


def measure_pair(pair, options, directory, results):
    name, ours, theirs = pair
    for keys in options.keys:
        servers = [
            Server.rockpool(options.binary, directory / "rockpool", *ours, *options.flag),
            Server.redis(directory / "redis", *theirs),
        ]
        for server in servers:
            empty(server.directory)
        with servers[0].start() as subject, servers[1].start() as reference:
            for depth in options.depths:
                for test in TESTS:
                    requests = requests_for(reference, test, keys, depth, options.seconds)
                    for round_number in range(options.rounds):
                        for server in (subject, reference):
                            run = benchmark(server, test, keys, depth, requests)
                            run |= {"pair": name, "keys": keys, "depth": depth, "test": test, "round": round_number}
                            results.append(run)
                    print(row_text(results, name, keys, depth, test), flush=True)
            for server in servers:
                server.terminate()


def median(results, pair, keys, depth, test, is_subject, figure):
    def fits(run):
        same = (run["pair"], run["keys"], run["depth"], run["test"]) == (pair, keys, depth, test)
        return same and (run["server"] != "redis-server") == is_subject

    return statistics.median(run[figure] for run in results if fits(run))


def row(results, pair, keys, depth, test):
    ours, theirs = ([median(results, pair, keys, depth, test, is_subject, figure)
                     for figure in ("rps", "cpu_us", "settled_cpu_us", "p50_ms", "p99_ms")] for is_subject in (True, False))
    return [
        pair, f"{keys:,}", depth, test.upper(),
        f"{ours[0] / 1000:.0f}", f"{theirs[0] / 1000:.0f}", f"{ours[0] / theirs[0]:.2f}",
        f"{ours[1]:.2f} ({ours[2]:.2f})", f"{theirs[1]:.2f} ({theirs[2]:.2f})",
        f"{ours[3]:.2f} / {theirs[3]:.2f}", f"{ours[4]:.2f} / {theirs[4]:.2f}",
    ]


HEAD = ["promise", "keys", "P", "test", "Rockpool k/s", "Redis k/s", "ratio", "Rockpool CPU µs", "Redis CPU µs",
        "p50 ms", "p99 ms"]


def row_text(results, *which):
    return "  ".join(f"{name} {cell}" for name, cell in zip(HEAD, row(results, *which)))


def main():
    parser = argparse.ArgumentParser(description="SET and GET side by side with redis-server")
    parser.add_argument("--binary", required=True, help="the server to measure")
    parser.add_argument("--directory", help="where the data go; a temporary directory unless given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="how long redis-server takes for one measurement")
    parser.add_argument("--pairs", nargs="+", choices=[pair[0] for pair in PAIRS], default=[pair[0] for pair in PAIRS])
    parser.add_argument("--keys", type=int, nargs="+", default=KEYS)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--flag", action="append", default=[], help="one more argument for the server to measure")
    parser.add_argument("--quick", action="store_true", help="one round of half a second, one key space; no report")
    parser.add_argument("--report", default="writes")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.keys = 1, 0.5, options.keys[:1]

    results, begun = [], time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        facts = machine(directory)
        facts["server"] = version_of(options.binary)
        for pair in PAIRS:
            if pair[0] in options.pairs:
                measure_pair(pair, options, pathlib.Path(directory), results)
    rows = []
    for run in results:
        which = (run["pair"], run["keys"], run["depth"], run["test"])
        if which not in rows:
            rows.append(which)
    lines = table(HEAD, [row(results, *which) for which in rows])
    print(lines)
    if options.quick:
        return 0
    pairs = "\n".join(f"- {name}: `{' '.join(ours + options.flag)}` against `{' '.join(theirs)} --save ''`"
                      for name, ours, theirs in PAIRS if name in options.pairs)
    text = f"""# SET and GET beside redis-server

Medians of {options.rounds} rounds that alternate between the two servers, each with {VALUE_BYTES}-byte values and {CLIENTS}
connections; the rounds themselves are in `{options.report}.json`. CPU is processor time of the server for one command while
the benchmark ran, and in brackets with what it did in the background afterwards. p50 and p99: Rockpool / Redis, as
redis-benchmark saw them. redis-server rewrites its AOF as it does by default.

{pairs}
- the client: `{results[0]['command'].split(' -p ')[0]} -t set|get -r KEYS -d {VALUE_BYTES} -c {CLIENTS} -P DEPTH`
- the measurement: `{' '.join(sys.argv)}`, {(time.perf_counter() - begun) / 60:.0f} minutes

{facts_as_markdown(facts)}

{lines}
"""
    write_report(options.report, text, {"machine": facts, "runs": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
