"""1,500 apps at once on one daemon whose descriptors and threads do not grow with them."""
import threading

import pytest
from harness import processes
from harness.waiting import eventually

COUNT, CALLERS = 1500, 8


@pytest.mark.timeout(600)
def test_fifteen_hundred_apps_run_and_the_daemon_holds_no_descriptor_for_them(fresh_daemon):
    admin = fresh_daemon.client()
    admin.apps()
    descriptors, threads = processes.descriptor_count(fresh_daemon.pid), processes.thread_count(fresh_daemon.pid)
    names = [f"sleeper{number:04}" for number in range(COUNT)]

    def on_each(action):
        problems = []

        def work(part):
            client = fresh_daemon.client(login=False)
            client.token = admin.token
            try:
                for name in part:
                    action(client, name)
            except Exception as error:  # shown below, with the thread's name gone
                problems.append(error)
            finally:
                client.close()
        workers = [threading.Thread(target=work, args=(names[number::CALLERS],)) for number in range(CALLERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not problems, problems[0]

    on_each(lambda client, name: client.add(name, "sleep 100000", behavior={"exit": "keepalive"}))
    apps = eventually(lambda: (found := admin.apps()) and all(found[name].get("pid") for name in names) and found,
                      "all of them run", timeout=120)
    assert len({apps[name]["pid"] for name in names}) == COUNT
    assert sum(app.startswith("sleeper") for app in processes.marked(fresh_daemon.token).values()) == COUNT
    eventually(lambda: processes.descriptor_count(fresh_daemon.pid) <= descriptors + CALLERS + 4,
               f"descriptors stay near {descriptors}")
    assert processes.cgroup_descriptor_count(fresh_daemon.pid) <= 128, "bounded, whatever the number of apps"
    assert processes.thread_count(fresh_daemon.pid) <= threads + 4

    fresh_daemon.kill()
    fresh_daemon.start()
    again = admin.apps()
    assert {name: again[name]["pid"] for name in names} == {name: apps[name]["pid"] for name in names}
    on_each(lambda client, name: client.delete(name))
    assert admin.apps() == {}
    eventually(lambda: not any(processes.marked(fresh_daemon.token).values()), "all of them are gone", timeout=120)
    eventually(lambda: processes.descriptor_count(fresh_daemon.pid) <= descriptors + CALLERS + 4, "no descriptor is left")
