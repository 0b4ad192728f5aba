#!/usr/bin/env python3
"""More data than memory: are all values right, does memory stay within its bound, and how fast is it?

Loads several times `maxmemory` of values, and reads and writes them from several processes with pipelines of 16: uniform
reads, Zipf 0.99 reads, and nine reads to one write. Every value read is compared with what it must be: it follows from the
key and the number of times that the key was written, and each key is written by one process alone. Meanwhile one more
connection sends single GETs and measures their latency, and the server's resident memory is looked at every 100 ms.

    benches/larger_than_memory.py --binary PATH [--maxmemory 256] [--times 5] [--seconds 30] [--quick] [--redis]

Fails where a value is wrong. --redis measures redis-server without a limit of memory in the same way, as a yardstick.
"""

import argparse
import array
import bisect
import itertools
import multiprocessing
import pathlib
import queue
import random
import sys
import tempfile
import threading
import time

from resp import Connection
from servers import Server, facts_as_markdown, machine, table, version_of, write_report

DEPTH = 16
GOAL = 1.15
BLOCK = random.Random(1).randbytes(1 << 20)
MEAN_VALUE_BYTES = 1_000


def key(number):
    return b"key:%010d" % number


def value(number, version):
    """Between 700 and 1300 bytes that do not compress."""
    mixed = (number * 2_654_435_761 + version * 40_503) & 0xFFFFFFFF
    start = mixed % (len(BLOCK) - 2_000)
    return b"%d:%d:" % (number, version) + BLOCK[start : start + 680 + mixed % 601]


class Keys:
    """Chooses the numbers of keys that a process reads."""

    def __init__(self, distribution, numbers, seed):
        self.random, self.numbers = random.Random(seed), numbers
        self.sums = None
        if distribution == "zipf":
            self.sums = list(itertools.accumulate(1 / (rank + 1) ** 0.99 for rank in range(len(numbers))))

    def choose(self):
        if self.sums is None:
            return self.numbers[self.random.randrange(len(self.numbers))]
        rank = bisect.bisect_left(self.sums, self.random.random() * self.sums[-1])
        # The popular ones lie scattered.
        return self.numbers[rank * 7_919 % len(self.numbers)]


def set_command(number, version):
    held = value(number, version)
    return b"*3\r\n$3\r\nSET\r\n$14\r\n%b\r\n$%d\r\n%b\r\n" % (key(number), len(held), held)


def get_command(number):
    return b"*2\r\n$3\r\nGET\r\n$14\r\n%b\r\n" % key(number)


def load(address, index, processes, keys):
    connection = Connection(address)
    numbers = range(index, keys, processes)
    for start in range(0, len(numbers), 200):
        chunk = numbers[start : start + 200]
        connection.socket.sendall(b"".join([set_command(number, 0) for number in chunk]))
        expected = b"+OK\r\n" * len(chunk)
        if connection.file.read(len(expected)) != expected:
            raise RuntimeError("a SET was not answered with OK")


def work(address, index, processes, keys, phase, seconds, versions, results):
    """Reads, and in the mix writes, for so long; reports counts, wrong values and the latencies of batches."""
    connection = Connection(address)
    numbers = range(index, keys, processes)
    # 7,919 must not divide the count, or it would not reach all of them.
    chosen = Keys(phase["distribution"], numbers, seed=index)
    reads = writes = 0
    wrong, latencies = [], []
    end = time.perf_counter() + seconds
    now = time.perf_counter()
    while now < end:
        commands, expected = [], []
        for _ in range(DEPTH):
            number = chosen.choose()
            if phase["writes"] and chosen.random.random() < phase["writes"]:
                versions[number] += 1
                commands.append(set_command(number, versions[number]))
                expected.append((number, None))
                writes += 1
            else:
                commands.append(get_command(number))
                expected.append((number, versions[number]))
                reads += 1
        before = time.perf_counter()
        answers = connection.pipeline(commands)
        now = time.perf_counter()
        latencies.append(now - before)
        for (number, version), answer in zip(expected, answers):
            if answer != (b"OK" if version is None else value(number, version)):
                wrong.append(f"{key(number).decode()} at version {version}: {answer[:40] if answer else answer!r}")
    results.put({"reads": reads, "writes": writes, "wrong": wrong[:5], "wrong_count": len(wrong),
                 "batch_s": latencies, "written": [(number, versions[number]) for number in numbers if versions[number]]})


class Watch(threading.Thread):
    """Looks at the resident memory every 100 ms until told to stop."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.resident, self.stopped = server, [], threading.Event()

    def run(self):
        while not self.stopped.wait(0.1):
            self.resident.append(self.server.resident_bytes())


def probe(address, keys, seconds, results):
    """One GET at a time; others may be writing the key, so that its version is not known."""
    connection = Connection(address)
    chosen, latencies, wrong = random.Random(7), [], []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        number = chosen.randrange(keys)
        before = time.perf_counter()
        answer = connection.command("GET", key(number))
        latencies.append(time.perf_counter() - before)
        if answer is None or answer != value(number, int(answer.split(b":", 2)[1])):
            wrong.append(f"{key(number).decode()}: {answer[:40] if answer else answer!r}")
    results.put({"single_s": latencies, "wrong": wrong[:5], "wrong_count": len(wrong)})


def percentile_ms(ascending, share):
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))] * 1000 if ascending else 0.0


def run_phase(server, options, keys, phase, versions):
    results = multiprocessing.Queue()
    watch = Watch(server)
    watch.start()
    cpu_before = server.cpu_s()
    workers = [multiprocessing.Process(target=work, args=(server.address, index, options.processes, keys, phase,
                                                           options.seconds, versions, results))
               for index in range(options.processes)]
    workers.append(multiprocessing.Process(target=probe, args=(server.address, keys, options.seconds, results)))
    for worker in workers:
        worker.start()
    answers = []
    while len(answers) < len(workers):
        try:
            answers.append(results.get(timeout=1))
        except queue.Empty:
            if any(worker.exitcode for worker in workers):
                sys.exit(f"a process failed in {phase['name']}; the server's log:\n{server.tail()}")
    for worker in workers:
        worker.join()
    cpu_s = server.cpu_s() - cpu_before
    watch.stopped.set()
    watch.join()
    counted = [answer for answer in answers if "reads" in answer]
    for answer in counted:
        for number, version in answer.pop("written"):
            versions[number] = version
    batches = sorted(itertools.chain.from_iterable(answer.pop("batch_s") for answer in counted))
    singles = sorted(itertools.chain.from_iterable(answer["single_s"] for answer in answers if "single_s" in answer))
    commands = sum(answer["reads"] + answer["writes"] for answer in counted)
    return {
        "phase": phase["name"],
        "commands_a_second": round(commands / options.seconds),
        "cpu_us": round(cpu_s / (commands + len(singles)) * 1e6, 2),
        "wrong": sum(answer["wrong_count"] for answer in answers),
        "examples": [example for answer in answers for example in answer["wrong"]],
        "single_ms": [round(percentile_ms(singles, share), 3) for share in (0.5, 0.99, 0.999)],
        "batch_ms": [round(percentile_ms(batches, share), 3) for share in (0.5, 0.99, 0.999)],
        "resident_most": max(watch.resident, default=0),
        "resident": watch.resident,
    }


PHASES = [
    {"name": "uniform reads", "distribution": "uniform", "writes": 0},
    {"name": "Zipf 0.99 reads", "distribution": "zipf", "writes": 0},
    {"name": "uniform, 90:10", "distribution": "uniform", "writes": 0.1},
    {"name": "Zipf 0.99, 90:10", "distribution": "zipf", "writes": 0.1},
]


def main():
    parser = argparse.ArgumentParser(description="More data than memory")
    parser.add_argument("--binary")
    parser.add_argument("--maxmemory", type=int, default=256, help="MiB")
    parser.add_argument("--times", type=float, default=5, help="how many times maxmemory the values are")
    parser.add_argument("--seconds", type=float, default=30, help="of each phase")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--directory", help="where the data go; a temporary directory unless given")
    parser.add_argument("--flag", action="append", default=[], help="one more argument for the server to measure")
    parser.add_argument("--redis", action="store_true", help="measure redis-server, which holds everything in memory")
    parser.add_argument("--quick", action="store_true", help="64 MiB, phases of three seconds; no report")
    parser.add_argument("--report", default="larger_than_memory")
    options = parser.parse_args()
    if not options.binary and not options.redis:
        parser.error("--binary says what to measure")
    if options.quick:
        options.maxmemory, options.seconds = 64, 3
    limit = options.maxmemory << 20
    keys = int(limit * options.times) // MEAN_VALUE_BYTES
    while keys // options.processes % 7_919 == 0 or (keys // options.processes + 1) % 7_919 == 0:
        keys += options.processes

    versions = array.array("L", bytes(8 * keys))
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        facts = machine(directory)
        path = pathlib.Path(directory)
        if options.redis:
            server = Server.redis(path / "redis", "--appendonly", "no")
        else:
            facts["server"] = version_of(options.binary)
            server = Server.rockpool(options.binary, path / "rockpool", "--maxmemory", str(limit), *options.flag)
        with server.start():
            watch = Watch(server)
            watch.start()
            begun = time.perf_counter()
            loaders = [multiprocessing.Process(target=load, args=(server.address, index, options.processes, keys))
                       for index in range(options.processes)]
            for loader in loaders:
                loader.start()
            for loader in loaders:
                loader.join()
            if any(loader.exitcode for loader in loaders):
                sys.exit(f"loading failed; the server's log:\n{server.tail()}")
            loading_s = time.perf_counter() - begun
            server.settle()
            watch.stopped.set()
            watch.join()
            runs = [{"phase": "loading", "commands_a_second": round(keys / loading_s), "wrong": 0, "single_ms": [], "batch_ms": [],
                     "resident_most": max(watch.resident), "resident": watch.resident, "examples": [], "cpu_us": ""}]
            print(f"{keys} keys loaded in {loading_s:.1f} s", flush=True)
            for phase in PHASES:
                runs.append(run_phase(server, options, keys, phase, versions))
                shown = {name: figure for name, figure in runs[-1].items() if name != "resident"}
                print(f"  {shown}", flush=True)
            server.terminate()
    commands = server.shown_command

    def three(figures):
        return " / ".join(f"{figure:.2f}" for figure in figures)

    rows = [[run["phase"], f"{run['commands_a_second']:,}", run["cpu_us"], three(run["single_ms"]), three(run["batch_ms"]),
             f"{run['resident_most'] / limit:.3f}", run["wrong"]] for run in runs]
    lines = table(["phase", "commands/s", "CPU µs", "one GET p50 / p99 / p99.9 ms", f"batch of {DEPTH} p50 / p99 / p99.9 ms",
                   "most resident / maxmemory", "wrong values"], rows)
    print(lines)
    wrong = sum(run["wrong"] for run in runs)
    most = max(run["resident_most"] for run in runs) / limit
    print(f"goal: no wrong value; {GOAL} of maxmemory resident at most. Here: {wrong}; {most:.3f}")
    if not options.quick:
        text = f"""# More data than memory

{keys:,} values of {MEAN_VALUE_BYTES} bytes on average that do not compress, {options.times:g} times the {options.maxmemory} MiB of `maxmemory`;
{options.processes} processes of Python, each with pipelines of {DEPTH} on keys of its own, and one more that sends single GETs. Every value
was compared with what it must be. The clients take most of the machine's processor time, so the throughput is theirs as
much as the server's.

{lines}

- the server: `{commands}`
- the measurement: `{' '.join(sys.argv)}`

{facts_as_markdown(facts)}
"""
        write_report(options.report, text, {"machine": facts, "runs": runs})
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
