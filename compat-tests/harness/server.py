"""The servers under test: started on free loopback ports with a folder of their own, ended by pid."""

import os
import shutil
import signal
import subprocess
import tempfile

from . import places, resp

PASSWORD = "correct horse"
START_SECONDS = 20
STOP_SECONDS = 20


class StartError(Exception):
    """The server did not come up; the text holds the end of its log."""


class Server:
    """A process that is started, watched, restarted when it died, and ended."""

    def __init__(self, name, command, port):
        """`command(dir) -> argv`; the folder is new for each start."""
        self.name, self.command, self.host, self.port = name, command, "127.0.0.1", port
        self.process = self.dir = self.log = None
        self.deaths = 0
        self.peak_kib = 0

    def start(self):
        self.dir = tempfile.mkdtemp(prefix=f"{self.name}-", dir=places.scratch())
        self.log = os.path.join(self.dir, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command(self.dir), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, cwd=self.dir, start_new_session=True)
        if not self._answers():
            text = self.log_tail()
            self.stop()
            raise StartError(f"{self.name} did not come up on port {self.port}:\n{text}")

    def _answers(self):
        for _ in range(START_SECONDS * 5):
            if self.process.poll() is not None:
                return False
            if resp.wait_alive(self.host, self.port, 0.2):
                return True
        return False

    def alive(self):
        return self.process.poll() is None and resp.alive(self.host, self.port)

    def ensure(self):
        """Start it again when it died or no longer answers. -> what happened, or None"""
        if self.alive():
            return None
        status = self.process.poll()
        what = "no longer answers" if status is None else f"ended with status {status}"
        what = f"the server {what}; the end of its log:\n{self.log_tail()}"
        self.deaths += 1
        self.stop(signal.SIGKILL)
        self.start()
        return what

    def log_tail(self, lines=15):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def note_memory(self):
        """Remember the process's peak resident memory (Linux only)."""
        try:
            with open(f"/proc/{self.process.pid}/status") as f:
                for line in f:
                    if line.startswith("VmHWM:"):
                        self.peak_kib = max(self.peak_kib, int(line.split()[1]))
        except OSError:
            pass

    def stop(self, how=signal.SIGTERM):
        """End it, by its pid, and remove its folder. -> its exit status"""
        if self.process is None:
            return None
        self.note_memory()
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        status = self.process.returncode
        shutil.rmtree(self.dir, ignore_errors=True)
        self.process = None
        return status


class Running:
    """A server that somebody else started: used as it is, never ended."""

    def __init__(self, host, port):
        self.name, self.host, self.port, self.deaths, self.peak_kib = "server", host, port, 0, 0

    def start(self):
        if not resp.wait_alive(self.host, self.port, 5):
            raise StartError(f"no server answers PING at {self.host}:{self.port}")

    def alive(self):
        return resp.alive(self.host, self.port)

    def ensure(self):
        if self.alive():
            return None
        raise StartError(f"the server at {self.host}:{self.port} no longer answers")

    def note_memory(self):
        pass

    def stop(self):
        return None


def rockpool(name, binary, engine, *extra):
    port, http_port, tcp_port = places.free_ports(3)

    def command(folder):
        argv = [binary, "--port", port, "--http-port", http_port, "--tcp-port", tcp_port,
                "--dir", folder, "--enable-debug-command", "local", "--maxmemory-policy", "noeviction", *extra]
        if engine:
            argv += ["--type", engine]
        return [str(a) for a in argv]

    return Server(name, command, port)


def reference(name, binary, without, *extra):
    """redis-server. `without`: commands that it shall not have."""
    port = places.free_ports(1)[0]

    def command(folder):
        # a config file is there so that CONFIG REWRITE has one to write to
        config = os.path.join(folder, "redis.conf")
        with open(config, "w") as f:
            for name in without:
                f.write(f'rename-command {name} ""\n')
        argv = [binary, config, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", folder, "--enable-debug-command", "local", *extra]
        return [str(a) for a in argv]

    return Server(name, command, port)
