"""A program at a pseudo terminal, as a person would use it."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time


class AtTerminal:
    """Starts a program whose controlling terminal we hold the other end of."""

    def __init__(self, command, environment, rows=24, columns=80, **options):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.modes = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process = subprocess.Popen(
            command, env=environment, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **options)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, timeout=30):
        """Reads until the pattern (bytes, or a text to be found as it is); what came until its end is taken away."""
        if isinstance(pattern, str):
            pattern = re.escape(pattern.encode())
        deadline = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.seen)
            if found:
                taken, self.seen = self.seen[:found.end()], self.seen[found.end():]
                return taken
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{pattern!r} did not come; what came: {self.seen!r}")

    def _read(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        try:
            more = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += more
        return bool(more)

    def wait(self, timeout=30):
        """Its exit code; what it still writes is read meanwhile, so that it can end."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        return self.process.wait(timeout=1)

    def modes_are_as_before(self):
        return termios.tcgetattr(self.slave) == self.modes

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
