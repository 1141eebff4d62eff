"""appc audit against the real daemon."""
import datetime
import hashlib
import json
import sqlite3

import pytest
from harness.daemon import ADMIN_PASSWORD

from test_cli import Cli

COUNT = 2500  # more than two pages
FIRST = int(datetime.datetime(2025, 1, 31, 8, tzinfo=datetime.timezone.utc).timestamp())
SET_BACK = 2400  # noted while the clock was a day behind
MALFORMED = 2450


def logged_on(daemon, folder):
    appc = Cli(daemon, folder)
    appc("-H", daemon.url, "logon", "-U", "admin", environment={"APPMESH_PASSWORD": ADMIN_PASSWORD})
    return appc


def instant(number):
    return FIRST + number - (86400 if number == SET_BACK else 0)


def fill(database):
    """A trail as the daemon writes it: one entry a second."""
    previous = ""
    with sqlite3.connect(database) as connection:
        for number in range(1, COUNT + 1):
            text = json.dumps({"action": "shell line ended", "user": "alice" if number % 500 == 0 else "bob", "peer": "10.0.0.1",
                               "app": f"app-{number % 7}", "os_user": "nobody", "exit_code": number % 3})
            if number == MALFORMED:
                text = "no JSON \x1b[2J"
            micros = instant(number) * 1_000_000
            digest = hashlib.sha256(f"{previous}\n{number}\n{micros}\n{text}\n".encode()).hexdigest()
            connection.execute("INSERT INTO audit(id,time_us,record,previous,hash) VALUES(?,?,?,?,?)", (number, micros, text, previous, digest))
            previous = digest
    connection.close()


@pytest.fixture
def appc(fresh_daemon, tmp_path):
    fresh_daemon.stop()
    fill(fresh_daemon.home / "work/state.db")
    fresh_daemon.start()
    return logged_on(fresh_daemon, tmp_path)


def test_the_trail_is_shown_newest_last_and_found_by_user_app_and_time(appc):
    def ids(*words):
        return [entry["id"] for entry in json.loads(appc("audit", "--json", *words)[0])]

    def since(number):
        return ("--since", datetime.datetime.fromtimestamp(FIRST + number, datetime.timezone.utc).isoformat())

    newest = list(range(COUNT - 19, COUNT + 1))
    assert ids() == newest
    assert ids("-n", "1") == [COUNT]
    assert ids("--tail", "1500") == list(range(COUNT - 1499, COUNT + 1))
    assert ids("-n", "100000") == list(range(1, COUNT + 1))
    assert ids("--by", "alice") == [500, 1000, 1500, 2000, 2500]
    assert ids("--by", "alice", "-n", "2") == [2000, 2500]
    assert ids("--by", "carol") == []
    assert ids("-a", "app-3", "--by", "bob", "-n", "3") == [number for number in range(1, COUNT) if number % 7 == 3 and number % 500][-3:]
    # Without -n it is everything since then; an entry from before the clock was set right hides none that are older.
    assert ids(*since(2200)) == [number for number in range(2200, COUNT + 1) if number != SET_BACK]
    assert ids(*since(2200), "--by", "alice") == [2500]
    assert ids(*since(0), "-n", "3") == newest[-3:]
    assert ids("--since", "1h") == []

    lines = appc("audit")[0].splitlines()
    assert lines[0].split() == ["TIME", "USER", "PEER", "OS_USER", "APP", "EXIT", "ACTION"]
    assert len(lines) == 21
    time, *rest = lines[-1].split(maxsplit=6)
    assert datetime.datetime.fromisoformat(time).timestamp() == instant(COUNT)
    assert rest == ["alice", "10.0.0.1", "nobody", f"app-{COUNT % 7}", str(COUNT % 3), "shell line ended"]
    odd = appc("audit", *since(MALFORMED))[0].splitlines()[1]
    assert odd.split(maxsplit=6)[1:] == ["-", "-", "-", "-", "-", "no JSON ?[2J"]
    assert len(appc("audit", "--by", "carol")[0].splitlines()) == 1

    # Whole enough to check the chain of hashes.
    entries = json.loads(appc("audit", "--format", "json", "-n", "1200")[0])
    for older, newer in zip(entries, entries[1:]):
        assert newer["previous"] == older["hash"]
        text = f"{newer['previous']}\n{newer['id']}\n{newer['time_us']}\n{newer['text']}\n"
        assert newer["hash"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_shell_line_is_in_the_trail_of_whoever_may_see_it(fresh_daemon, tmp_path):
    appc = logged_on(fresh_daemon, tmp_path)
    appc("exec", "exit 3", code=3)
    admin = fresh_daemon.client()
    admin.syncrun(command="exit 6", shell=True)
    lines = appc("audit", "--since", "1h")[0].splitlines()
    assert len(lines) == 5, "what was noted a moment ago is shown"
    for number, code in ((1, "3"), (3, "6")):
        started, ended = (line.split(maxsplit=6) for line in lines[number:number + 2])
        assert started[1:3] == ["admin", "127.0.0.1"] and started[5:] == ["-", "shell line started"]
        assert ended[1:5] == started[1:5] and ended[5:] == [code, "shell line ended"]
    assert [entry["record"].get("exit_code") for entry in json.loads(appc("audit", "-j", "-a", ended[4])[0])] == [None, 6]

    admin.ok("PUT", "/appmesh/user/viewer", body={"key": "View-for-tests-1", "roles": ["view"]})
    _, err = appc("-U", "viewer", "-X", "View-for-tests-1", "audit", code=1)
    assert "audit-view" in err
    for wrong in (["-n", "0"], ["-n", "-1"], ["--since", "yesterday"], ["--format", "xml"], ["--before", "1"], ["web"]):
        out, err = appc("audit", *wrong, code=2)
        assert out == "" and err
