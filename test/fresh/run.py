"""Types the README's commands on a fresh machine; started by scripts/fresh, as process 2 of namespaces of its own.

Each command is one test. scripts/fresh removes the folder at the end; mounts and processes end with the namespaces.
"""
import argparse
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

from system import System, base
from terminal import Terminal

ROOT = pathlib.Path(__file__).resolve().parents[2]
MINUTES = 60
# A network of its own for what listens, with nothing but loopback: no other program has its ports, whatever else runs here.
OWN_NETWORK = ["unshare", "--net", sys.executable, "-c", """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1 | 64))  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
os.execvp(sys.argv[1], sys.argv[1:])
"""]
PORTS = {"APPMESH_REST_RestListenPort": 6060, "APPMESH_REST_RestTcpPort": 6059, "APPMESH_REST_WebSocketPort": 6058}
# What packages may bring that a machine starts by itself: nothing of ours, and this of those that ours stand on.
EXPECTED_SERVICES = {
    "/etc/init.d/procps", "/etc/rcS.d/S01procps",  # cmake needs procps, which every Debian that boots has already
}
SERVICE_FOLDERS = ("etc/systemd", "etc/init.d", "etc/cron.d", "etc/cron.daily", "etc/cron.hourly", "etc/cron.weekly", "lib/systemd/system",
                   "usr/lib/systemd/user", "usr/lib/systemd/system", "etc/rc2.d", "etc/rc3.d", "etc/rc5.d", "etc/rcS.d")


def say(words):
    print(f"fresh: {words}", flush=True)


def readme():
    """(the one command of "Two minutes", the lines that come after it, the command of "Test"), without their comments."""
    text = (ROOT / "README.md").read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    blocks = re.findall(r"^```\n(.*?)^```", sections["Two minutes"], re.MULTILINE | re.DOTALL)
    start, lines = blocks[0].strip(), blocks[1].strip().splitlines()
    test = re.search(r"^```\n(.*?)^```", sections["Test"], re.MULTILINE | re.DOTALL)[1].strip()
    assert start == "scripts/start" and test == "scripts/test", (start, test)
    return start, lines, test


def free_ports():
    """Nothing when the README's ports are free; else a setting for each, below the range of outgoing connections."""
    def is_free(port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True
    if all(map(is_free, PORTS.values())):
        return {}
    first = next(port for port in range(21000 + os.getpid() % 1000 * 5, 32000, 5) if all(is_free(port + k) for k in range(3)))
    say(f"another program has one of the ports 6058 to 6060; using {first} to {first + 2}")
    return dict(zip(PORTS, map(str, range(first, first + 3))))


class Newcomer:
    """One user on one fresh machine."""

    def __init__(self, user, options, results, log):
        self.user, self.options, self.results, self.log = user, options, results, log
        root = options.folder / user
        # The same path as here, so that the compiler's cache knows the sources; but not below somebody else's home.
        checkout = ROOT if user == "root" or not str(ROOT).startswith(("/root/", "/home/")) else pathlib.Path(f"/home/{user}/appmesh")
        self.system = System(say, root, checkout)
        if user != "root":
            self.system.add_user(user)
        self.system.clone(ROOT, user)
        self.environment = {**({} if options.short else free_ports()), "APPMESH_TEST_SKIP_FRESH": "1", "PS1": "<<$?>>$ "}
        if options.short or options.ccache:
            self.mount_ccache()
        self.services = self.service_files()
        self.terminal = self.new_terminal([])

    def new_terminal(self, launcher):
        words = self.system.enter(self.user, str(self.system.checkout), self.environment)
        return Terminal([*launcher, *words, "bash", "--norc", "--noprofile", "-i"], self.log)

    def mount_ccache(self):
        here = subprocess.run(["ccache", "--get-config", "cache_dir"], capture_output=True, text=True, check=False).stdout.strip()
        if not here or not pathlib.Path(here).is_dir():
            return
        there = self.system.inside("/var/cache/ccache")
        there.mkdir(parents=True, exist_ok=True)
        self.system.mount("--bind", here, there)
        self.environment["CCACHE_DIR"] = "/var/cache/ccache"
        for name in ("base_dir", "hash_dir"):
            value = subprocess.run(["ccache", "--get-config", name], capture_output=True, text=True, check=False).stdout.strip()
            if name == "base_dir" and value:
                self.environment["CCACHE_BASEDIR"] = value
            if name == "hash_dir" and value == "false":
                self.environment["CCACHE_NOHASHDIR"] = "1"
        if self.user != "root":
            self.environment.update(CCACHE_READONLY="1", CCACHE_TEMPDIR="/tmp/ccache")

    def service_files(self):
        return {"/" + str(path.relative_to(self.system.root)) for folder in SERVICE_FOLDERS
                for path in self.system.inside(folder).rglob("*") if not path.is_dir()}

    def check(self, name, function):
        """Runs one test and notes its outcome; returns whether it passed."""
        began = time.monotonic()
        try:
            wrong = function()
        except (TimeoutError, EOFError, AssertionError) as error:
            wrong = str(error) or type(error).__name__
            self.terminal.seen = b""
        took = time.monotonic() - began
        self.results.append((self.user, name, took, wrong))
        say(f"{'FAILED' if wrong else 'passed'}  as {self.user}, {took:.0f} s: {name}")
        if wrong:
            print(wrong[-6000:], flush=True)
        return not wrong

    def command(self, line, minutes=2, wanted=None):
        """Types a line; the test is that it ends with 0 and prints what is wanted."""
        def typed():
            status, text = self.terminal.line(line, minutes * MINUTES)
            text = text.split("\n", 1)[-1]
            if status != 0:
                return f"{text}\nended with {status}"
            return f"{text}\nlacks: {wanted}" if wanted and not re.search(wanted, text) else None
        return self.check(line, typed)

    def readme_line(self, line):
        """A line of "Two minutes": its comment says when it wants Ctrl-C, and a shell is left again."""
        typed, _, comment = (part.strip() for part in line.partition("  # " if "  # " in line else " #"))
        if "Ctrl-C" in comment:
            def followed():
                self.terminal.type(typed + "\n")
                self.terminal.wait_for(re.compile(rb"\d\d:\d\d:\d\d[^\n]*\n"), MINUTES)
                self.terminal.interrupt()
                status, text = self.terminal.wait_prompt(MINUTES)
                return None if status in (0, 130) else f"{text}\nended with {status} at Ctrl-C"
            return self.check(typed, followed)
        if typed == "appc shell":
            def visited():
                self.terminal.type(typed + "\n")
                time.sleep(1)
                self.terminal.type("echo here-$((6 * 7))\n")
                self.terminal.wait_for(re.compile(rb"here-42"), MINUTES)
                self.terminal.type("exit\n")
                status, text = self.terminal.wait_prompt(MINUTES)
                return f"{text}\nended with {status}" if status else None
            return self.check(typed, visited)
        return self.command(typed)

    def nothing_was_enabled(self):
        added = self.service_files() - self.services - EXPECTED_SERVICES
        return f"packages brought what a machine starts by itself: {', '.join(sorted(added))}" if added else None

    def stays(self):
        """The commands of one newcomer, in the order in which one types them."""
        start, lines, test = readme()
        if self.options.short:
            self.command("scripts/prepare build start test", 20)
            self.check("no service was installed", self.nothing_was_enabled)
            # All that comes from the network is there now.
            self.terminal.close()
            self.terminal = self.new_terminal(OWN_NETWORK)
        if not self.command(start, 60, "How to go on"):
            return
        self.command(start, 2, "already runs")
        for line in lines:
            if line.strip() and not line.startswith("#"):
                self.readme_line(line)
        self.command("scripts/stop --all", 2, "no keeper runs|has ended")
        if not self.options.short:
            if not self.options.no_test:
                self.command(test, 240, "[1-9][0-9]* passed, 0 failed")
            self.check("no service was installed", self.nothing_was_enabled)

    def leaves(self):
        self.terminal.close()


def write_report(path, results):
    suite = xml.Element("testsuite", name="fresh")
    for user, name, took, wrong in results:
        case = xml.SubElement(suite, "testcase", classname=f"as {user}", name=name, time=f"{took:.1f}")
        if wrong:
            xml.SubElement(case, "failure", message="failed").text = re.sub(r"[^\t\n\x20-\uFFFD]", "?", wrong)
    xml.ElementTree(suite).write(path, encoding="unicode", xml_declaration=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/fresh", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help="as root, without scripts/test, with this machine's compiler cache")
    parser.add_argument("--user", action="append", choices=("root", "newcomer"))
    parser.add_argument("--no-test", action="store_true", help="leave scripts/test out")
    parser.add_argument("--ccache", action="store_true", help="mount this machine's compiler cache")
    parser.add_argument("--report")
    options = parser.parse_args()
    results = []
    logs = ROOT / "build/fresh"
    logs.mkdir(parents=True, exist_ok=True)
    readme()
    base(say)
    for user in options.user or (["root"] if options.short else ["root", "newcomer"]):
        say(f"a fresh machine for {user} in {options.folder / user}; what appears on the terminal is in {logs / user}.log")
        with open(logs / f"{user}.log", "wb") as log:
            try:
                newcomer = Newcomer(user, options, results, log)
            except (OSError, subprocess.SubprocessError, EOFError) as error:
                say(f"FAILED  as {user}: the machine could not be made: {error}")
                results.append((user, "the machine is made", 0, str(error)))
                continue
            try:
                newcomer.stays()
            finally:
                newcomer.leaves()
    if options.report:
        write_report(options.report, results)
    failed = sum(bool(wrong) for *_, wrong in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
