"""A small RESP2 client for the measuring tools beside it; the Python standard library is enough."""

import socket


class Connection:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host or "127.0.0.1", int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def close(self):
        self.file.close()
        self.socket.close()

    def command(self, *arguments):
        self.socket.sendall(encode(*arguments))
        return self.read()

    def pipeline(self, commands):
        """Sends encoded commands in one write and returns their replies."""
        self.socket.sendall(b"".join(commands))
        return [self.read() for _ in commands]

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RuntimeError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        raise ValueError(f"not a reply: {line!r}")

    def info(self, section):
        text = self.command("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    def name(self):
        """The servers that it says it is: one that is compatible gives the version of Redis as well as its own."""
        fields = self.info("server")
        versions = [(key[: -len("_version")], value) for key, value in fields.items() if key.endswith("_version")]
        return ", ".join(f"{name} {value}" for name, value in versions if name != "gcc") or "unknown server"

    def resident_bytes(self):
        """The server's resident memory, from the kernel; it runs on this machine."""
        pid = self.info("server")["process_id"]
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError(f"process {pid} has no resident memory")


def encode(*arguments):
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if not isinstance(argument, bytes):
            argument = str(argument).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    return b"".join(parts)


def batches(items, size=500):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
