"""The real appc, run with a home of its own."""

import os
import fcntl
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

APPC = os.environ.get("APPC") or str(Path(__file__).parents[2] / "build/debug/bin/appc")


def wait_until(condition, seconds=20):
    """Waits for a condition; the bound is only there so that a failing test ends."""
    end = time.time() + seconds
    while time.time() < end:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError("the condition never became true")


class Appc:
    """Runs the real program with its own home and no terminal."""

    def __init__(self, daemon, folder, ssl_home):
        self.daemon = daemon
        self.home = folder / "state"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "APPMESH_HOME": str(self.home),
                    "APPMESH_HOME_DIR": str(ssl_home), "TZ": "UTC"}
        self.folder = folder
        self.started = []

    def popen(self, *words, url=None, env=None, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([APPC, "-H", url or self.daemon.url, *words], env={**self.env, **(env or {})},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder, **options)
        self.started.append(process)
        return process

    def __call__(self, *words, url=None, env=None, input=None):
        process = self.popen(*words, url=url, env=env, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL)
        out, err = process.communicate(input=input, timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def logon(self):
        result = self("logon", "-U", "admin", env={"APPMESH_PASSWORD": self.daemon.PASSWORD})
        assert result.returncode == 0, result.stderr
        return self

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def run_on_terminal(program, words, answers=(), columns=80, env=None):
    """Runs appc on a pseudo-terminal; each (prompt, answer) is typed when its prompt has appeared."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(program.folder)
        os.execve(APPC, [APPC, "-H", program.daemon.url, *words], {**program.env, "TERM": "xterm", **(env or {})})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen = b""
    waiting = list(answers)
    try:
        end = time.time() + 30
        while time.time() < end:
            if waiting and waiting[0][0].encode() in seen:
                os.write(terminal, waiting.pop(0)[1].encode() + b"\n")
            if not select.select([terminal], [], [], 0.05)[0]:
                continue
            try:
                part = os.read(terminal, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
    finally:
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            time.sleep(0.2)
            done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        os.close(terminal)
    return os.waitstatus_to_exitcode(status), seen.decode()
