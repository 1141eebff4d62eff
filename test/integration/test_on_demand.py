"""run and syncrun: one run of a command or of a copy of an app, with a time limit and a lifetime."""
import json
import threading

import pytest
from harness.waiting import eventually


def test_syncrun_answers_with_output_and_exit_code_and_leaves_nothing(admin):
    before = set(admin.apps())
    answer = admin.syncrun(command="echo hello; echo world >&2; exit 7", shell=True)
    assert answer.status == 200 and answer.text == "hello\nworld\n"
    assert answer.headers["X-Exit-Code"] == "7" and answer.headers["X-Output-Position"] == "12"
    assert answer.headers["Content-Type"].startswith("text/plain")
    eventually(lambda: set(admin.apps()) <= before, "the run's app is gone")


def test_run_is_followed_to_its_exit_code_and_deleted(admin):
    answer = admin.run(command="for i in 1 2 3; do echo $i; sleep 0.2; done; exit 5", shell=True)
    assert answer.status == 200, answer
    run = answer.json
    assert set(run) == {"name", "process_uuid"}
    assert admin.app(run["name"])["status"] == 2
    assert admin.wait_exit(run) == (5, b"1\n2\n3\n")
    assert admin.output(run["name"]).body == b"1\n2\n3\n", "the output stays until the app is deleted"
    admin.delete(run["name"])
    assert not admin.exists(run["name"])


def test_a_name_of_ones_own_is_used_and_refused_while_it_is_active(admin, name, cleaned):
    cleaned.append(name)
    assert admin.run(name=name, command="sleep 1000").json["name"] == name
    again = admin.run(name=name, command="true")
    assert again.status == 400, again
    assert name in again.message


@pytest.mark.parametrize("script,code", [("sleep 1000", -15), ("trap '' TERM; while :; do sleep 1; done", -9)])
def test_the_time_limit_stops_the_run_with_a_negative_code(script, code, admin):
    answer = admin.syncrun(timeout=1, command="echo begun; " + script, shell=True)
    assert answer.status == 200 and answer.text == "begun\n"
    assert answer.headers["X-Exit-Code"] == str(code)


def test_the_time_limit_may_be_an_iso_duration(admin):
    answer = admin.syncrun(timeout="PT1S", lifecycle="PT1M", command="sleep 1000")
    assert answer.status == 200 and answer.headers["X-Exit-Code"] == "-15"


def test_killed_by_a_signal_is_negative(admin):
    assert admin.syncrun(command="kill -9 $$", shell=True).headers["X-Exit-Code"] == "-9"


def test_the_app_goes_when_its_lifetime_ends(admin, daemon):
    run = admin.run(timeout=1, lifecycle=2, command="sleep 1000").json
    assert admin.exists(run["name"])
    eventually(lambda: not admin.exists(run["name"]), "the app is removed")
    eventually(lambda: not daemon.processes_of(run["name"]), "its process is gone")


def test_a_copy_takes_env_and_metadata_and_leaves_the_app_alone(admin, name, cleaned):
    cleaned += [name, name + "_1", name + "_2"]
    admin.add(name, "echo $COLOUR $SIZE; cat", shell=True, status=0, env={"COLOUR": "red", "SIZE": "big"}, metadata="from the app")
    first = admin.run(name=name)
    assert first.status == 200 and first.json["name"] == name + "_1", first
    assert admin.wait_exit(first.json) == (0, b"red big\nfrom the app")
    second = admin.run(name=name, env={"COLOUR": "blue"}, metadata={"a": 1}).json
    assert second["name"] == name + "_2"
    code, output = admin.wait_exit(second)
    assert code == 0
    line, _, data = output.partition(b"\n")
    assert line == b"blue big" and json.loads(data) == {"a": 1}
    app = admin.app(name)
    assert app["status"] == 0 and app["starts"] == 0 and app["env"] == {"COLOUR": "red", "SIZE": "big"}
    refused = admin.run(name=name, command="true")
    assert refused.status == 400, refused


def test_metadata_is_fed_to_stdin_and_stdin_is_empty_without(admin):
    assert admin.syncrun(command="cat", metadata="just text").text == "just text"
    assert json.loads(admin.syncrun(command="cat", metadata={"list": [1, "two"]}).text) == {"list": [1, "two"]}
    assert admin.syncrun(command="cat").text == ""


def test_the_environment_is_the_apps_own(admin, daemon):
    answer = admin.syncrun(command="env", env={"GREETING": "héllo wörld", "EMPTY": ""})
    found = dict(line.split("=", 1) for line in answer.text.splitlines())
    assert found["GREETING"] == "héllo wörld" and found["EMPTY"] == ""
    assert {"PATH", "HOME", "USER", "LANG", "APP_MESH_PROCESS_KEY", "APP_MESH_PROCESS_ID", "APP_MESH_APPLICATION_NAME",
            "APP_MESH_LAUNCH_TIME"} <= set(found)
    assert not [key for key in found if key.startswith("APPMESH_")], "the daemon's own settings are not handed down"
    assert found["MESH_TEST_TOKEN"] == daemon.token, "other variables of the daemon are"


def test_only_three_descriptors_reach_the_app_and_it_leads_its_session(admin):
    answer = admin.syncrun(command="ls /proc/self/fd; ps -o pid=,pgid=,sid= -p $$", shell=True)
    *descriptors, ids = answer.text.splitlines()
    assert descriptors == ["0", "1", "2", "3"], "3 is the folder that ls reads"
    assert len(set(ids.split())) == 1, ids


def test_quotes_are_posix_and_unbalanced_ones_are_refused(admin):
    answer = admin.syncrun(command=r"""printf '%s|' "a b" 'c"d' e\ f $HOME""")
    assert answer.text == 'a b|c"d|e f|$HOME|'
    refused = admin.syncrun(command="echo 'never closed")
    assert refused.status == 400 and "quot" in refused.message.lower(), refused


@pytest.mark.parametrize("what,body,query", [
    ("no command", {}, {}),
    ("no such program", {"command": "/no/such/program"}, {}),
    ("an empty lifetime", {"command": "true"}, {"lifecycle": 0, "timeout": 0}),
    ("a container", {"docker_image": "busybox", "command": "true"}, {}),
    ("a timeout that is no number", {"command": "true"}, {"timeout": "soon"}),
])
@pytest.mark.parametrize("route", ["run", "syncrun"])
def test_a_run_that_cannot_be_is_refused_and_leaves_nothing(route, what, body, query, admin):
    before = set(admin.apps())
    answer = admin.request("POST", f"/appmesh/app/{route}", body=body, query=query)
    assert answer.status == 400 and answer.message, answer
    eventually(lambda: set(admin.apps()) <= before, "nothing is left of it")


def test_a_negative_timeout_means_the_default(admin):
    answer = admin.syncrun(timeout=-5, command="echo fine")
    assert answer.status == 200 and answer.text == "fine\n"


def test_many_callers_each_get_their_own_output(admin, daemon):
    wrong = []

    def call(number):
        client = daemon.client(login=False)
        client.token = admin.token
        for turn in range(5):
            answer = client.syncrun(command=f"echo {number}-{turn}; exit {number}", shell=True)
            if (answer.status, answer.body) != (200, f"{number}-{turn}\n".encode()) or \
                    answer.headers["X-Exit-Code"] != str(number):
                wrong.append((number, turn, answer))
        client.close()
    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_three_megabytes_of_output_come_whole(admin):
    size = 3 * 1024 * 1024
    answer = admin.syncrun(command=f"head -c {size} /dev/zero | tr '\\0' x", shell=True)
    assert answer.status == 200 and len(answer.body) == size and set(answer.body) == {ord("x")}
