"""Servers that a measurement starts for itself, what they cost, and the machine that they run on."""

import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import time

from resp import Connection

REPORTS = pathlib.Path(__file__).resolve().parent / "reports"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """One server on a free port, with its data in `directory`; ended by `kill` or `terminate`."""

    def __init__(self, name, command, directory, patience_s=600):
        self.name, self.command, self.directory = name, command, pathlib.Path(directory)
        self.patience_s = patience_s
        self.port = self.process = self.log = None

    @classmethod
    def rockpool(cls, binary, directory, *flags, name="Rockpool", engine="rocksdb"):
        command = [str(pathlib.Path(binary).resolve()), "--port", "{port}", "--http-port", "0", "--tcp-port", "0"]
        return cls(name, [*command, "--type", engine, "--dir", "{directory}", *flags], directory)

    @classmethod
    def redis(cls, directory, *flags, name="redis-server"):
        command = ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--dir", "{directory}", "--save", ""]
        return cls(name, [*command, *flags], directory)

    @property
    def shown_command(self):
        """The command for a report, which has no place of this machine in it."""
        program, *arguments = self.command
        return " ".join([pathlib.Path(program).name, *arguments])

    def spawn(self):
        """Starts the process and does not wait for it; returns when that was."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        places = {"port": self.port, "directory": self.directory}
        command = [part.format(**places) for part in self.command]
        self.log = open(self.directory.parent / f"{self.directory.name}.log", "ab")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROCKPOOL_")}
        begun = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment,
                                        cwd=self.directory)
        return begun

    def first_answer(self, begun, command, expected):
        """Seconds from `begun` until `command` was answered with `expected`, in a tight loop."""
        while time.perf_counter() - begun < self.patience_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            try:
                connection = Connection(self.address)
                answer = connection.command(*command)
                elapsed = time.perf_counter() - begun
                connection.close()
                if answer == expected:
                    return elapsed
                raise RuntimeError(f"{self.name} answered {answer!r} instead of {expected!r}")
            except (OSError, RuntimeError) as error:
                # It does not listen yet, or loads its data.
                if isinstance(error, RuntimeError) and not str(error).startswith("LOADING"):
                    raise
                time.sleep(0.000_5)
        raise RuntimeError(f"{self.name} did not answer within {self.patience_s} s:\n{self.tail()}")

    def start(self):
        self.first_answer(self.spawn(), ["PING"], b"PONG")
        return self

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def connection(self):
        return Connection(self.address)

    def tail(self):
        return (self.directory.parent / f"{self.directory.name}.log").read_text(errors="replace")[-2000:]

    def cpu_s(self):
        """Processor time of all its threads so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0

    def settle(self, most_s=20):
        """Waits until it is at rest: what one server does in the background must not cost the other."""
        end = time.perf_counter() + most_s
        while time.perf_counter() < end:
            before = self.cpu_s()
            time.sleep(0.25)
            if self.cpu_s() - before <= 0.02:
                return
        print(f"  ({self.name} is not at rest after {most_s} s)", flush=True)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        self._ended()

    def kill(self):
        self.process.kill()
        self._ended()

    def _ended(self):
        self.process.wait(self.patience_s)
        self.log.close()
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.kill()


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return (done.stdout.strip().splitlines() or [""])[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine(directory):
    """What a reader has to know about where the numbers come from."""
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        memory_gib = int(meminfo.readline().split()[1]) / 1024**2
    found = subprocess.run(["df", "--output=source,fstype", str(directory)], capture_output=True, text=True, check=True)
    return {
        "cpu": f"{cpu}, {os.cpu_count()} in use",
        "memory": f"{memory_gib:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": " ".join(reversed(found.stdout.splitlines()[1].split())),
        "redis-server": first_line("redis-server", "--version"),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def version_of(binary):
    return first_line(str(binary), "--version")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def facts_as_markdown(facts):
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def write_report(name, markdown, raw):
    """Writes benches/reports/NAME.md and NAME.json."""
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / f"{name}.md").write_text(markdown.rstrip() + "\n", encoding="utf-8")
    (REPORTS / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    print(f"written: {REPORTS / name}.md and .json")


def drop_page_cache():
    """False where one is not allowed to."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
            drop.write("3\n")
        return True
    except OSError:
        return False
