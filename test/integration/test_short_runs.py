"""Runs that are over before the daemon has heard that they began."""
import os
import signal
import threading

import pytest
from harness import processes
from harness.waiting import eventually


def stopped(pid):
    return processes.stat_fields(pid)[0] == "T"


@pytest.mark.parametrize("script,code", [("exit 41", 41), ("kill -9 $$", -9)])
def test_a_run_whose_start_and_end_are_heard_at_once_is_told_whole(script, code, fresh_daemon, tmp_path):
    """Keeper and daemon are frozen in turn, so that both messages of the run wait in the socket together."""
    admin = fresh_daemon.client()
    note = tmp_path / "pid"
    keeper, daemon = fresh_daemon.keeper_pid(), fresh_daemon.pid

    def freeze(pid):
        signal.pidfd_send_signal(handles[pid], signal.SIGSTOP)
        eventually(lambda: stopped(pid), "it is frozen")


    handles = {pid: os.pidfd_open(pid) for pid in (keeper, daemon)}
    try:
        freeze(keeper)
        put = threading.Thread(target=lambda: fresh_daemon.client().add("short", f"echo $$ > {note}; echo said; {script}", shell=True))
        put.start()
        eventually(lambda: (fresh_daemon.home / "work/apps/short.yaml").exists(), "the definition is stored")
        eventually(lambda: list((fresh_daemon.home / "work/stdout").glob("short*")), "the start was asked for")
        freeze(daemon)
        signal.pidfd_send_signal(handles[keeper], signal.SIGCONT)
        eventually(lambda: note.exists() and note.read_text().endswith("\n"), "it runs")
        pid = int(note.read_text())
        eventually(lambda: not processes.alive(pid) and not processes.stat_fields(pid), "the keeper has seen its end")
    finally:
        for handle in handles.values():
            signal.pidfd_send_signal(handle, signal.SIGCONT)
            os.close(handle)
    put.join(timeout=60)
    assert not put.is_alive()
    app = eventually(lambda: (app := admin.app("short")).get("return_code") is not None and app, "its end is known")
    assert app["return_code"] == code and app["starts"] == 1 and "pid" not in app
    run, = admin.runs("short")
    assert run["pid"] == pid and run["return_code"] == code
    assert 0 < run["start_time"] <= run["end_time"]
    assert admin.output("short").body == b"said\n"
