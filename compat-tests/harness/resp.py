"""A small RESP client: what the harness itself asks of a server, apart from any client under test."""

import socket
import time


class Conn:
    """A blocking RESP2/RESP3 connection with a deadline on every operation.

    Replies: bytes, int, None, list, and for simple strings/errors instances of
    Simple and ErrorReply, so that `+OK` and `$2 OK` can be told apart."""

    def __init__(self, host, port, timeout=5.0):
        self.host, self.port, self.timeout = host, int(port), timeout
        self.connect()

    def connect(self):
        self.sock = socket.create_connection((self.host, self.port), self.timeout)
        self.sock.settimeout(self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    @staticmethod
    def pack(args):
        out = [b"*%d\r\n" % len(args)]
        for a in args:
            if not isinstance(a, bytes):
                a = str(a).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(a), a))
        return b"".join(out)

    def send(self, *commands):
        self.sock.sendall(b"".join(self.pack(c) for c in commands))

    def _more(self):
        chunk = self.sock.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.buf += chunk

    def _line(self):
        while True:
            i = self.buf.find(b"\r\n")
            if i >= 0:
                line, self.buf = self.buf[:i], self.buf[i + 2:]
                return line
            self._more()

    def _exact(self, n):
        while len(self.buf) < n + 2:
            self._more()
        data, end, self.buf = self.buf[:n], self.buf[n:n + 2], self.buf[n + 2:]
        if end != b"\r\n":
            raise ConnectionError("protocol error: a bulk that does not end with CRLF")
        return data

    def read_typed(self):
        """(kind, value): kind is the reply's type byte as a str, value is bytes, an int,
        None (a null) or a list of such pairs; a map is a flat list."""
        line = self._line()
        kind, rest = line[:1].decode("latin-1"), line[1:]
        if kind in "+-,(#":
            return kind, rest
        if kind == ":":
            return kind, int(rest)
        if kind in "$=":
            n = int(rest)
            return kind, None if n < 0 else self._exact(n)
        if kind in "*~>%|":
            n = int(rest) * (2 if kind in "%|" else 1)
            value = None if n < 0 else [self.read_typed() for _ in range(n)]
            return self.read_typed() if kind == "|" else (kind, value)
        if kind == "_":
            return kind, None
        raise ConnectionError(f"protocol error: reply type {line[:20]!r}")

    def read(self):
        return untyped(self.read_typed())

    def raw(self, *args):
        """The reply, error replies included as ErrorReply."""
        self.send(args)
        return self.read()


def untyped(reply):
    kind, value = reply
    if isinstance(value, list):
        return [untyped(v) for v in value]
    if kind == "-":
        return ErrorReply(value)
    if kind in "+,(#":
        return Simple(value)
    return value[4:] if kind == "=" else value


class Simple(bytes):
    def __repr__(self):
        return "+" + self.decode(errors="backslashreplace")


class ErrorReply(bytes):
    def __repr__(self):
        return "-" + self.decode(errors="backslashreplace")


def alive(host, port, timeout=3.0):
    """Does the server answer a PING (or any error: it speaks) in time?"""
    try:
        c = Conn(host, port, timeout)
        try:
            c.raw("PING")
            return True
        finally:
            c.close()
    except (OSError, ValueError):
        return False


def wait_alive(host, port, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if alive(host, port):
            return True
        time.sleep(0.2)
    return False
