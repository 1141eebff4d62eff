"""The main job by hand: add a server, see it, read its output, kill it and get a new one, disable it and have nothing left."""
import os
import shutil
import signal
import sys
import urllib.error
import urllib.request

import pytest
from harness import processes
from harness.daemon import PROGRAMS, ROOT, free_ports
from harness.waiting import eventually, stays


def fetch(port, path="/"):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def test_an_http_server_is_kept_alive_and_its_output_is_read(admin, name, cleaned, tmp_path):
    (tmp_path / "index.html").write_text("hello from an app\n")
    port, = free_ports(1)
    cleaned.append(name)
    added = admin.add(name, f"{sys.executable} -u -m http.server {port} --bind 127.0.0.1", working_dir=str(tmp_path),
                      behavior={"exit": "keepalive"})
    assert added["name"] == name and added["status"] == 1 and added["owner"] == "admin"
    assert eventually(lambda: fetch(port), "the server serves") == "hello from an app\n"

    first = admin.apps()[name]
    assert processes.alive(first["pid"]) and first["health"] == 0 and first["starts"] == 1
    assert "return_code" not in first
    eventually(lambda: b'"GET / HTTP/1.1" 200' in admin.output(name).body, "the request is in the output")

    os.kill(first["pid"], signal.SIGKILL)
    second = eventually(lambda: (app := admin.app(name)).get("pid") not in (None, first["pid"]) and app, "a new pid")
    assert second["return_code"] == -9 and second["starts"] == 2
    assert "exited with return code: -9" in second["last_error"]
    assert eventually(lambda: fetch(port), "the new server serves") == "hello from an app\n"

    assert admin.disable(name).message.replace("<", "").replace(">", "") == f"Disable {name} success."
    eventually(lambda: not processes.alive(second["pid"]), "the server is gone")
    assert admin.app(name)["status"] == 0
    assert fetch(port) is None


def test_nginx_runs_as_an_app_and_loses_its_workers_with_it(admin, name, cleaned, tmp_path, daemon):
    nginx = next(filter(None, map(shutil.which, ("nginx", "/usr/sbin/nginx", str(ROOT / "build/peers/usr/sbin/nginx")))), None)
    assert nginx, "there is no nginx; scripts/prepare test unpacks one below build/peers"
    port, = free_ports(1)
    (tmp_path / "index.html").write_text("hello from nginx\n")
    temporary = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "nginx.conf").write_text(f"""
daemon off; pid {tmp_path}/nginx.pid; error_log stderr; worker_processes 2; user root;
events {{}}
http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {tmp_path}; }} }}
""")
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    cleaned.append(name)
    admin.add(name, f"{nginx} -p {tmp_path} -c {tmp_path}/nginx.conf", behavior={"exit": "keepalive"})
    assert eventually(lambda: fetch(port), "nginx serves") == "hello from nginx\n"
    first = admin.app(name)["pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: admin.app(name).get("pid") not in (None, first), "a new nginx")
    assert eventually(lambda: fetch(port), "the new nginx serves") == "hello from nginx\n"
    eventually(lambda: len(nginxes(daemon)) == 3, "one master and two workers, none of the old ones")
    admin.disable(name)
    eventually(lambda: not nginxes(daemon), "master and workers are gone")


def nginxes(daemon):
    """By ancestry: nginx writes its titles over the environment by which other processes are told."""
    return [pid for pid in processes.descendants(daemon.keeper_pid()) if processes.program(pid) == "nginx"]


def family(file, *arguments):
    return " ".join([sys.executable, "-S", "-E", str(PROGRAMS / "family.py"), str(file), *arguments])


def members(file):
    return {role: int(pid) for role, pid in (line.split() for line in file.read_text().splitlines())}


def all_here(file):
    return file.exists() and len(file.read_text().splitlines()) == 5


@pytest.mark.parametrize("how", ["disable", "delete"])
def test_no_descendant_is_left_even_one_that_ran_away(how, admin, daemon, name, cleaned, tmp_path):
    file = tmp_path / "family"
    cleaned.append(name)
    admin.add(name, family(file))
    eventually(lambda: all_here(file), "all five processes noted their pids")
    pids = members(file)
    assert all(map(processes.alive, pids.values())), pids
    getattr(admin, how)(name)
    eventually(lambda: not daemon.processes_of(name), "no process of the app is left")
    assert not any(processes.alive(pid) and pid in daemon.processes_of(name) for pid in pids.values())
    if how == "delete":
        assert admin.request("GET", f"/appmesh/app/{name}").status == 404


def test_a_natural_exit_takes_the_descendants_with_it(admin, daemon, name, cleaned, tmp_path):
    file = tmp_path / "family"
    cleaned.append(name)
    admin.add(name, family(file, "exit"))
    eventually(lambda: admin.app(name).get("return_code") == 0, "the main process has exited")
    assert len(members(file)) == 5
    eventually(lambda: not daemon.processes_of(name), "no process of the app is left")


def test_leftovers_may_be_told_to_live(admin, daemon, name, cleaned, tmp_path):
    file = tmp_path / "family"
    cleaned.append(name)
    admin.add(name, family(file, "exit"), behavior={"exit": "standby", "leftovers": "leave"})
    eventually(lambda: admin.app(name).get("return_code") == 0, "the main process has exited")
    pids = members(file)
    stays(lambda: processes.alive(pids["runaway"]) and processes.alive(pids["child"]), "the descendants live", 4)
    for role in ("child", "grandchild", "runaway", "deaf"):
        processes.kill_exactly(pids[role], lambda pid: pid in daemon.processes_of(name))


def test_disable_and_enable_of_a_disabled_or_enabled_app_change_nothing(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000")
    pid = eventually(lambda: admin.app(name).get("pid"), "it runs")
    assert admin.enable(name).message.replace("<", "").replace(">", "") == f"Enable {name} success."
    assert admin.app(name)["pid"] == pid and admin.app(name)["starts"] == 1
    admin.disable(name)
    admin.disable(name)
    eventually(lambda: "pid" not in admin.app(name), "it is stopped")
    assert "not enabled" in admin.app(name)["last_error"]
    admin.enable(name)
    eventually(lambda: admin.app(name).get("pid") not in (None, pid), "it runs again")
    assert admin.app(name)["starts"] == 2


def test_a_put_of_the_same_definition_restarts_nothing_and_another_command_does(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000", env={"COLOUR": "red"})
    before = eventually(lambda: (app := admin.app(name)).get("pid") and app, "it runs")
    admin.ok("PUT", f"/appmesh/app/{name}", body=before)  # what GET gave can be put back
    admin.add(name, "sleep 1000", env={"COLOUR": "red"}, description="seen by nobody inside", permission=11)
    after = admin.app(name)
    assert after["pid"] == before["pid"] and after["starts"] == 1
    assert after["description"] == "seen by nobody inside" and after["permission"] == 11
    admin.add(name, "sleep 2000", env={"COLOUR": "red"})
    eventually(lambda: admin.app(name).get("pid") not in (None, before["pid"]), "the new command runs")
    eventually(lambda: not processes.alive(before["pid"]), "the old process is gone")
    assert admin.app(name)["starts"] == 2


def test_restart_stops_and_starts(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000")
    pid = eventually(lambda: admin.app(name).get("pid"), "it runs")
    admin.ok("POST", f"/appmesh/app/{name}/restart")
    eventually(lambda: admin.app(name).get("pid") not in (None, pid), "a new pid")
    assert not processes.alive(pid)


def test_health_is_free_and_tells_running_from_stopped(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000")
    path = f"/appmesh/app/{name}/health"
    eventually(lambda: admin.ok("GET", path, token=None).text == "0", "healthy")
    admin.disable(name)
    eventually(lambda: admin.ok("GET", path, token=None).text == "1", "unhealthy")
    assert admin.request("GET", "/appmesh/app/nobody-knows/health", token=None).status == 404
