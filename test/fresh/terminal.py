"""A terminal with bash, on which lines are typed one after the other, as a person would."""
import os
import pty
import re
import select
import signal
import time

PROMPT = re.compile(rb"<<(\d+)>>\$ ")
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
REWRITTEN = re.compile(rb"[^\n]*\r(?!\n)")  # a line that counts: its last form is enough


class Terminal:
    def __init__(self, words, output):
        self.output = output  # everything that appears is copied to this file
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvp(words[0], [str(word) for word in words])
        self.wait_prompt(60)

    def read(self, seconds):
        """True when something came."""
        if not select.select([self.master], [], [], max(0, seconds))[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        if not data:
            raise EOFError("the terminal was closed")
        self.output.write(data)
        self.output.flush()
        self.seen += data
        return True

    def wait_for(self, pattern, seconds):
        """What came up to a match of the pattern, and the match; TimeoutError when it does not come."""
        end = time.monotonic() + seconds
        while not (found := pattern.search(self.seen)):
            if time.monotonic() > end:
                raise TimeoutError(f"{pattern.pattern.decode()} did not come within {seconds} s")
            self.read(end - time.monotonic())
        text, self.seen = self.seen[:found.start()], self.seen[found.end():]
        text = REWRITTEN.sub(b"", ESCAPES.sub(b"", text)).replace(b"\r", b"")
        return text.decode(errors="replace"), found

    def wait_prompt(self, seconds):
        """(exit status, what was printed)"""
        text, found = self.wait_for(PROMPT, seconds)
        return int(found[1]), text

    def type(self, text):
        os.write(self.master, text.encode())

    def line(self, text, seconds):
        self.type(text + "\n")
        return self.wait_prompt(seconds)

    def interrupt(self):
        self.type("\x03")

    def close(self):
        os.close(self.master)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
