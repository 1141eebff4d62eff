"""The test's end of harness/programs/notifier.py."""
import os
import sys

from .daemon import PROGRAMS
from .waiting import eventually


class Notifier:
    def __init__(self, folder, name):
        self.fifo = folder / f"{name}.fifo"
        self.log = folder / f"{name}.log"
        if not self.fifo.exists():
            os.mkfifo(self.fifo)
            os.chmod(self.fifo, 0o666)

    @property
    def command(self):
        return f"{sys.executable} -S -E {PROGRAMS / 'notifier.py'} {self.fifo} {self.log}"

    def lines(self):
        return [line.split(" ", 1) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def done(self, text):
        return sum(1 for _, said in self.lines() if said == text)

    def started(self, times=1):
        """What the environment of the last start was, once it has been started so often."""
        def starts():
            found = [said for _, said in self.lines() if said.startswith("started ")]
            return found[-1] if len(found) >= times else None
        said = eventually(starts, f"{self.fifo.stem} has started {times} times")
        return dict(word.split("=", 1) for word in said.split()[1:])

    def say(self, command, wait=True):
        before = self.done(command)
        descriptor = os.open(self.fifo, os.O_RDWR)
        os.write(descriptor, f"{command}\n".encode())
        if wait:  # our end stays open until it was read, else the line is gone with it
            eventually(lambda: self.done(command) > before, f"{self.fifo.stem}: {command}")
        os.close(descriptor)
