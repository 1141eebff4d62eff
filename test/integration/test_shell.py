"""appc shell: a real terminal on the other side, driven through a real terminal on this one."""
import hashlib
import json
import os
import re
import signal
import ssl

import pytest
import websocket
from harness import processes
from harness.daemon import ADMIN_PASSWORD, Daemon, binaries, in_own_mounts
from harness.terminal import AtTerminal
from harness.waiting import eventually

PROMPT = "ready> "
BASH = f"PS1='{PROMPT}' exec bash --norc --noprofile -i"


def with_a_plain_home(daemon):
    """Login shells read the profile of whoever tests, which may do anything and take its time: root gets a home of its own."""
    if os.geteuid() == 0:
        home = daemon.home.parent / f"login-{daemon.token}"
        home.mkdir()
        lines = open("/etc/passwd").read().splitlines()
        users = daemon.home.parent / f"users-{daemon.token}"
        users.write_text("".join(
            re.sub(r"^(root:[^:]*:0:0:[^:]*):[^:]*:", rf"\g<1>:{home}:", line) + "\n" for line in lines))
        daemon.launcher = in_own_mounts(f"mount --bind {users} /etc/passwd")
        daemon.environment["HOME"] = str(home)
    return daemon


@pytest.fixture(scope="module")
def daemon(homes):
    daemon = Daemon(homes / "shell")
    try:
        yield with_a_plain_home(daemon).start()
    finally:
        daemon.close()


@pytest.fixture
def fresh_daemon(new_daemon):
    return with_a_plain_home(new_daemon()).start()


@pytest.fixture
def shell(tmp_path):
    """shell(daemon, *words) opens one; it is closed at the end of the test."""
    opened = []

    def open_one(daemon, *words, user="admin", password=ADMIN_PASSWORD, **size):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "TERM": "xterm",
                       "APPMESH_HOME": str(tmp_path / "state"), "APPMESH_HOME_DIR": str(daemon.home),
                       "APPMESH_USER": user, "APPMESH_PASSWORD": password}
        opened.append(AtTerminal([binaries() / "appc", "-H", daemon.url, "shell", *words], environment, cwd=tmp_path, **size))
        return opened[-1]
    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def bash(shell, daemon):
    at = shell(daemon, "-c", BASH)
    at.expect(PROMPT)
    return at


def shells(client):
    return [name for name, app in client.apps().items() if app.get("description") == "shell"]


def audit(client, action):
    return [entry["record"] for entry in client.ok("GET", "/appmesh/audit", query={"limit": 1000}).json
            if entry["record"]["action"] == action]


def test_what_is_typed_is_run_and_shown(bash):
    bash.type("echo $((6*7)) \\\"$TERM\\\"; tty; printf '\\033[31mred\\033[0m %s\\n' ä\n")
    bash.expect('42 "xterm"\r\n/dev/pts/')
    bash.expect("\x1b[31mred\x1b[0m ä\r\n")
    bash.expect(PROMPT)


def test_without_a_command_it_is_the_login_shell_of_the_user_in_their_home(shell, daemon):
    at = shell(daemon)
    at.type("echo login=$0=$PWD=$HOME=; shopt -q login_shell && echo is a login shell; exit 3\n")
    at.expect(rb"login=[^$\r]*=(/[^=$]*)=\1=\r\n")
    at.expect("is a login shell")
    assert at.wait() == 3


def test_the_size_follows_the_window(shell, daemon):
    at = shell(daemon, "-c", BASH, rows=30, columns=100)
    at.expect(PROMPT)
    at.type("stty size\n")
    at.expect("30 100\r\n")
    # A program in the foreground hears of it, and sees the new size.
    at.type("""bash -c 'trap "echo re""sized to \\$(stty size); exit" WINCH; echo be""gin; while :; do sleep 0.05; done'\n""")
    at.expect("begin\r\n")
    at.resize(50, 132)
    at.expect("resized to 50 132\r\n")


def test_ctrl_c_interrupts_the_program_and_not_the_shell(bash):
    bash.type("sh -c 'echo be\"\"gin; exec sleep 1000'\n")  # one job: the signal finds it whatever it does
    bash.expect("begin\r\n")
    bash.type("\x03")
    bash.expect(PROMPT)
    bash.type("echo still here: $?\n")
    bash.expect("still here: 130\r\n")


def test_jobs_can_be_stopped_and_continued(bash):
    bash.type("echo be\"\"gin; cat\n")
    bash.expect("begin\r\n")
    bash.type("to and fro\n")
    bash.expect("to and fro\r\nto and fro\r\n")
    bash.type("\x1a")
    bash.expect("Stopped")
    bash.expect(PROMPT)
    bash.type("fg\n")
    bash.expect(rb"fg\r\n.*cat\r\n")
    bash.type("again\n")
    bash.expect("again\r\nagain\r\n")
    bash.type("\x04")
    bash.expect(PROMPT)


def test_the_exit_code_comes_back_and_the_terminal_is_put_right(bash, admin):
    assert not bash.modes_are_as_before(), "it was raw until now"
    bash.type("exit 7\n")
    assert bash.wait() == 7
    assert bash.modes_are_as_before()
    eventually(lambda: shells(admin) == [], "nothing is left of it")


def test_a_signal_of_the_shell_becomes_its_exit_code(bash):
    bash.type("kill -KILL $$\n")
    assert bash.wait() == 128 + signal.SIGKILL
    assert bash.modes_are_as_before()


def test_a_signal_to_appc_puts_the_terminal_right_and_ends_the_shell(bash, admin):
    bash.process.terminate()
    assert bash.wait() == 128 + signal.SIGTERM
    assert bash.modes_are_as_before()
    eventually(lambda: shells(admin) == [], "the shell is gone")


def test_much_output_comes_whole_and_in_order(bash):
    bash.type("seq 1 200000; echo the e\"\"nd\n")
    lines = bash.expect("the end\r\n", timeout=60)
    numbers = [int(number) for number in re.findall(rb"(\d+)\r\n", lines)]
    assert numbers == list(range(1, 200001))


def test_whoever_hangs_up_ends_the_shell(shell, daemon, admin, tmp_path):
    at = shell(daemon, "-c", f"echo $$ > {tmp_path}/pid; {BASH}")
    at.expect(PROMPT)
    pid = int((tmp_path / "pid").read_text())
    at.process.kill()
    at.process.wait()
    eventually(lambda: not processes.alive(pid), "the shell is gone")
    eventually(lambda: shells(admin) == [], "and its entry")


def test_without_the_permission_there_is_no_shell(shell, daemon, admin):
    admin.ok("PUT", "/appmesh/user/viewer", body={"key": "View-for-tests-1", "roles": ["view"]})
    at = shell(daemon, user="viewer", password="View-for-tests-1")
    at.expect("app-run-pty")
    assert at.wait() == 1
    assert at.modes_are_as_before()
    assert "app-run-pty" in admin.ok("GET", "/appmesh/roles").json["shell"]
    admin.ok("DELETE", "/appmesh/user/viewer")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_shell_and_its_terminal_are_the_users_os_user_s(shell, new_daemon):
    daemon = new_daemon()
    daemon.home.parent.chmod(0o711)
    users = daemon.home.parent / f"passwd-{daemon.token}"
    users.write_text("root:x:0:0:root:/root:/bin/bash\nmesh-alice:x:61001:61001:Alice:/:/bin/bash\n")
    daemon.launcher = in_own_mounts(f"mount --bind {users} /etc/passwd")
    admin = daemon.start().client()
    admin.ok("PUT", "/appmesh/user/alice", body={"key": "Alice-for-tests-1", "exec_user": "mesh-alice", "roles": ["shell", "view"]})
    at = shell(daemon, user="alice", password="Alice-for-tests-1")
    at.type("echo I am $(id -un), terminal $(stat -c %U,%a $(tty)); echo through /dev/tty > /dev/tty; exit\n")
    at.expect("I am mesh-alice, terminal mesh-alice,600\r\n")
    at.expect("through /dev/tty\r\n")
    assert at.wait() == 0
    record = eventually(lambda: audit(admin, "shell ended"), "it is noted")[0]
    assert record["user"] == "alice" and record["os_user"] == "mesh-alice" and record["exit_code"] == 0


def test_a_shell_outlives_a_killed_daemon(shell, fresh_daemon):
    at = shell(fresh_daemon, "-c", BASH)
    at.expect(PROMPT)
    at.type("kept=survivor; (sleep 1; echo said meanwhile) &\n")
    at.expect(PROMPT)
    fresh_daemon.kill()
    at.expect("attaching again")
    fresh_daemon.start()
    at.expect("said meanwhile")
    at.type("echo $kept; stty size; exit 9\n")
    at.expect("survivor\r\n24 80\r\n")
    assert at.wait() == 9
    assert at.modes_are_as_before()
    client = fresh_daemon.client()
    assert [each["exit_code"] for each in audit(client, "shell ended")] == [9]
    assert len(audit(client, "shell attached")) == 1


def test_a_shell_outlives_a_daemon_that_is_restarted(shell, fresh_daemon):
    at = shell(fresh_daemon, "-c", BASH)
    at.expect(PROMPT)
    at.type("kept=survivor\n")
    at.expect(PROMPT)
    fresh_daemon.stop()
    fresh_daemon.start()
    at.expect("attaching again")
    at.type("echo $kept; exit\n")
    at.expect("survivor\r\n")
    assert at.wait() == 0


def test_shells_and_shell_lines_are_audited(shell, daemon, admin, tmp_path):
    at = shell(daemon, "-c", "exit 5")
    assert at.wait() == 5
    ended = eventually(lambda: [each for each in audit(admin, "shell ended") if each["exit_code"] == 5], "the end is noted")[0]
    started = next(each for each in audit(admin, "shell started") if each["process_uuid"] == ended["process_uuid"])
    assert started["user"] == "admin" and started["os_user"] and started["peer"] == "127.0.0.1" and started["app"]
    admin.syncrun(command="exit 6", shell=True)
    line = eventually(lambda: [each for each in audit(admin, "shell line ended") if each["exit_code"] == 6], "so is a line")[0]
    assert line["process_uuid"] in [each["process_uuid"] for each in audit(admin, "shell line started")]

    def line_of(run, action):
        return [each for each in audit(admin, action) if each["process_uuid"] == run["process_uuid"]]

    gate = tmp_path / "gate"
    run = admin.ok("POST", "/appmesh/app/run", body={"command": f"while [ ! -e {gate} ]; do sleep 0.05; done; exit 7", "shell": True}).json
    eventually(lambda: line_of(run, "shell line started"), "a line is noted while it runs")
    assert not line_of(run, "shell line ended")
    gate.touch()
    assert eventually(lambda: line_of(run, "shell line ended"), "and its end, though nobody waits for it")[0]["exit_code"] == 7
    run = admin.ok("POST", "/appmesh/app/run", body={"command": "sleep 300", "shell": True}).json
    admin.ok("DELETE", f"/appmesh/app/{run['name']}")
    eventually(lambda: line_of(run, "shell line removed") or line_of(run, "shell line ended"), "so is one that is removed")

    entries = admin.ok("GET", "/appmesh/audit", query={"limit": 1000}).json
    for newer, older in zip(entries, entries[1:]):
        assert newer["previous"] == older["hash"] and newer["id"] == older["id"] + 1
    for entry in entries:
        text = f"{entry['previous']}\n{entry['id']}\n{entry['time_us']}\n{entry['text']}\n"
        assert entry["hash"] == hashlib.sha256(text.encode()).hexdigest()
        assert json.loads(entry["text"]) == entry["record"]


class Raw:
    """The WebSocket without appc."""

    def __init__(self, daemon, token, query="command=cat", protocol="appmesh-pty"):
        context = ssl.create_default_context(cafile=daemon.ca_file)
        self.socket = websocket.create_connection(
            f"wss://127.0.0.1:{daemon.port}/appmesh/pty?{query}", timeout=30, subprotocols=[protocol],
            header=[f"Authorization: Bearer {token}"], sslopt={"context": context})
        self.hello = json.loads(self.socket.recv())

    def close_frame(self):
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2]), data[2:].decode()


def test_a_peer_that_does_not_keep_to_the_protocol_is_told_so(daemon, admin):
    for send, code in (
            (lambda socket: socket.send("{"), 1003),
            (lambda socket: socket.send('{"resize":{"rows":0,"columns":80}}'), 1003),
            (lambda socket: socket.send('{"resize":{"rows":1e9,"columns":80}}'), 1003),
            (lambda socket: socket.send_binary(b"x" * 70000), 1009),
            (lambda socket: socket.sock.sendall(b"\x82\x01x"), 1002),
            (lambda socket: socket.sock.sendall(b"\xf2\x80aaaa"), 1002)):
        raw = Raw(daemon, admin.token)
        send(raw.socket)
        assert raw.close_frame()[0] == code
        raw.socket.close()
    eventually(lambda: shells(admin) == [], "each has ended its shell alone")


def test_a_terminal_is_attached_to_by_its_user_alone_and_once(daemon, admin):
    raw = Raw(daemon, admin.token)
    name = raw.hello["name"]
    assert raw.hello["os_user"] and raw.hello["process_uuid"]
    for query, status in ((f"attach={name}", 409), ("attach=nobody", 404), ("term=a%0ab", 400), ("rows=x", 400)):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            Raw(daemon, admin.token, query)
        assert refused.value.status_code == status, query
    admin.ok("PUT", "/appmesh/user/other", body={"key": "Other-for-tests-1", "roles": ["shell", "view"]})
    other = daemon.client("other", "Other-for-tests-1")
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Raw(daemon, other.token, f"attach={name}")
    assert refused.value.status_code == 404
    admin.ok("DELETE", "/appmesh/user/other")
    raw.socket.close()


def test_a_plain_request_is_told_how(admin):
    answer = admin.request("GET", "/appmesh/pty")
    assert answer.status == 426 and "appmesh-pty" in answer.message
