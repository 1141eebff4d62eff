"""appc against the real daemon: exit codes, what goes to which stream, tokens, formats, following output."""
import json
import os
import re
import signal
import stat
import subprocess
import threading

import pytest
import yaml
from harness.daemon import ADMIN_PASSWORD, binaries
from harness.waiting import eventually

COLUMNS = "ID NAME OWNER STATUS HEALTH PID USER MEMORY %CPU RETURN AGE DURATION STARTS COMMAND".split()


class Cli:
    """appc with state and a trusted CA of its own, and no terminal."""

    def __init__(self, daemon, folder):
        self.daemon = daemon
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "APPMESH_HOME": str(folder / "state"),
            "APPMESH_HOME_DIR": str(daemon.home),
        }

    def start(self, *words, environment=None, **options):
        return subprocess.Popen([binaries() / "appc", *words], env={**self.environment, **(environment or {})}, cwd=self.folder,
                                stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, start_new_session=True, **options)

    def __call__(self, *words, code=0, environment=None, input=None):
        """Runs appc to its end and returns (stdout, stderr); the exit code must be `code`."""
        process = self.start(*words, environment=environment, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL)
        try:
            out, err = process.communicate(input, timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, f"appc {' '.join(map(str, words))}: exit code {process.returncode}, not {code}\n{out}\n{err}"
        return out, err


@pytest.fixture
def stranger(daemon, tmp_path):
    """appc that has not logged on."""
    return Cli(daemon, tmp_path)


@pytest.fixture
def appc(stranger, daemon):
    stranger("-H", daemon.url, "logon", "-U", "admin", environment={"APPMESH_PASSWORD": ADMIN_PASSWORD})
    return stranger


# Session.
def test_logon_keeps_the_token_in_a_file_of_the_user_alone_and_logoff_ends_it(appc, daemon, tmp_path):
    tokens = list(tmp_path.rglob(".token"))
    assert len(tokens) == 1
    assert stat.S_IMODE(tokens[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(tokens[0].parent.stat().st_mode) == 0o700
    token = tokens[0].read_text().strip()
    out, _ = appc("loginfo")
    assert "admin" in out and token not in out
    assert token in appc("loginfo", "--show-token")[0]
    appc("logoff")
    assert not list(tmp_path.rglob(".token"))
    assert daemon.client(login=False).request("GET", "/appmesh/applications", token=token).status == 401
    appc("ls", code=4)


def test_who_is_not_logged_on_gets_4_and_is_never_asked(stranger, daemon):
    out, err = stranger("-H", daemon.url, "ls", code=4)
    assert out == "" and "appc logon" in err
    process = stranger.start("-H", daemon.url, "logon", "-U", "admin")
    out, err = process.communicate(timeout=60)
    assert process.returncode not in (0, None) and out == "" and "APPMESH_PASSWORD" in err


def test_a_wrong_password_is_4_and_leaves_no_token(stranger, daemon, tmp_path):
    stranger("-H", daemon.url, "logon", "-U", "admin", code=4, environment={"APPMESH_PASSWORD": "wrong"})
    assert not list(tmp_path.rglob(".token"))


def test_user_and_password_may_be_given_for_one_call(stranger, daemon, tmp_path):
    stranger("-H", daemon.url, "-U", "admin", "-X", ADMIN_PASSWORD, "ls")
    assert not list(tmp_path.rglob(".token"))


def test_an_unknown_certificate_is_refused_unless_told_otherwise(stranger, daemon):
    nobody = {"APPMESH_HOME_DIR": "", "APPMESH_PASSWORD": ADMIN_PASSWORD}
    _, err = stranger("-H", daemon.url, "logon", "-U", "admin", code=1, environment=nobody)
    assert "certificate" in err and "--ca" in err
    stranger("-H", daemon.url, "--insecure", "logon", "-U", "admin", environment=nobody)
    stranger("-H", daemon.url, "--ca", daemon.ca_file, "ls", environment=nobody)


def test_no_daemon_is_1_and_says_where_it_looked(stranger):
    _, err = stranger("-H", "https://127.0.0.1:1", "-U", "admin", "-X", "x", "ls", code=1)
    assert "127.0.0.1:1" in err


@pytest.mark.parametrize("words", [[], ["no-such-verb"], ["add", "--no-such-option"], ["ls", "--format", "xml"], ["-H", "ftp://x", "ls"]])
def test_wrong_usage_is_2_on_stderr(words, stranger):
    out, err = stranger(*words, code=2)
    assert out == "" and err


def test_help_and_version_speak_their_names(stranger):
    assert "App Mesh CLI" in stranger("--help")[0]
    assert stranger("--version")[0].startswith("appc version ")


# Apps.
def test_add_list_disable_enable_remove(appc, name, admin):
    _, err = appc("add", "-a", name, "-c", "sleep 1000", "-d", "by hand", "-e", "COLOUR=red", "-e", "SIZE=big", "-p", "11", "--exit", "restart")
    app = admin.app(name)
    assert app["command"] == "sleep 1000" and app["env"] == {"COLOUR": "red", "SIZE": "big"} and app["permission"] == 11
    assert app["behavior"]["exit"] == "restart" and app["description"] == "by hand"
    eventually(lambda: admin.app(name).get("pid"), "it runs")
    table = appc("ls")[0].splitlines()
    assert table[0].split() == COLUMNS
    row = next(line for line in table if name[:8] in line).split()
    assert str(admin.app(name)["pid"]) in row and "admin" in row
    appc("add", "-a", name, "-c", "sleep 2000", code=1)  # it exists
    assert admin.app(name)["command"] == "sleep 1000"
    appc("add", "-f", "-a", name, "-c", "sleep 2000")
    assert admin.app(name)["command"] == "sleep 2000"
    appc("disable", "-a", name)
    assert admin.app(name)["status"] == 0
    appc("enable", "-a", name)
    pid = eventually(lambda: admin.app(name).get("pid"), "it runs again")
    appc("restart", "-a", name)
    eventually(lambda: admin.app(name).get("pid") not in (None, pid), "a new pid")
    appc("rm", "-a", name)
    assert not admin.exists(name)
    appc("rm", "-a", name)  # removing a missing app is success
    appc("enable", "-a", name, code=1)


def test_a_definition_comes_from_a_yaml_file_or_standard_input_and_unknown_keys_are_refused(appc, name, admin, cleaned, tmp_path):
    cleaned += [name, name + "-2"]
    file = tmp_path / "app.yaml"
    file.write_text(f"name: {name}\ncommand: sleep 1000\nenv:\n  COLOUR: red\n")
    appc("add", "-D", str(file))
    assert admin.app(name)["env"] == {"COLOUR": "red"}
    appc("add", "-D", "std", input=f"name: {name}-2\ncommand: sleep 1000\n")
    assert admin.app(name + "-2")["command"] == "sleep 1000"
    refused = appc.start("add", "-f", "-D", "std", stdin=subprocess.PIPE)
    _, err = refused.communicate(f"name: {name}\ncommand: sleep 1000\ncolour: red\n", timeout=60)
    assert refused.returncode != 0 and "colour" in err


def test_formats_are_for_machines_and_cells_for_people(appc, name, cleaned):
    cleaned.append(name)
    appc("add", "-a", name, "-c", "sleep 1000")
    eventually(lambda: json.loads(appc("view", "-a", name, "--format", "json")[0]), "json")
    listed = json.loads(appc("ls", "-j")[0])
    assert name in [app["name"] for app in listed]
    assert name in [app["name"] for app in yaml.safe_load(appc("ls", "--format", "yaml")[0])]
    assert name in appc("ls", "--format", "name")[0].split()
    assert name in appc("ls", "--format", "wide")[0] and name in appc("ls", "-l")[0]
    assert "\x1b" not in appc("ls")[0], "no colours without a terminal"


def test_an_unknown_app_is_1_and_named_on_stderr(appc):
    for words in (["view", "-a", "no-such-app"], ["ls", "-o", "-a", "no-such-app"], ["disable", "-a", "no-such-app"]):
        out, err = appc(*words, code=1)
        assert out == "" and "no-such-app" in err


# Runs.
@pytest.mark.parametrize("script,code", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)])
def test_exec_and_run_exit_as_the_program_did(script, code, appc):
    out, _ = appc("exec", f"echo to-stdout; {script}", code=code)
    assert out == "to-stdout\n"
    out, _ = appc("run", "-u", "-c", f"echo to-stdout; {script}", code=code)
    assert out == "to-stdout\n"
    out, _ = appc("run", "-u", "-t", "-30", "-c", f"echo to-stdout; {script}", code=code)
    assert out == "to-stdout\n"


def test_exec_takes_words_with_options_of_their_own(appc):
    assert appc("exec", "printf", "%s|", "a b", "$HOME", "-n")[0] == "a b|$HOME|-n|"
    assert appc("exec", "seq 1 1000 | grep -c 7")[0] == "271\n"


def test_run_feeds_metadata_and_environment(appc, tmp_path):
    (tmp_path / "input.txt").write_text("from a file")
    assert appc("run", "-c", "cat", "-m", "given text")[0] == "given text"
    assert appc("run", "-c", "cat", "-m", f"@{tmp_path}/input.txt")[0] == "from a file"
    assert appc("run", "-u", "-c", "echo $COLOUR", "-e", "COLOUR=red")[0] == "red\n"


def test_run_leaves_no_app_behind_and_stops_it_when_interrupted(appc, admin, daemon):
    before = set(admin.apps())
    appc("run", "-c", "true")
    eventually(lambda: set(admin.apps()) <= before, "the run's app is gone")
    process = appc.start("run", "-u", "-c", "echo begun; sleep 1000")
    assert process.stdout.readline() == "begun\n"
    new = set(admin.apps()) - before
    assert len(new) == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 128 + signal.SIGINT
    process.communicate()
    eventually(lambda: set(admin.apps()) <= before, "the run's app is gone")
    eventually(lambda: not daemon.processes_of(next(iter(new))), "its process is gone")


def test_output_that_is_no_text_passes_unchanged_through_a_pipe(appc):
    process = subprocess.run([binaries() / "appc", "exec", r"printf '\377\000ok'"], env=appc.environment, cwd=appc.folder,
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert process.returncode == 0 and process.stdout == b"\xff\x00ok"


def test_a_closed_pipe_ends_quietly(appc):
    process = subprocess.run(f"'{binaries()}/appc' exec 'seq 1 200000' | head -n 1", shell=True, env=appc.environment, cwd=appc.folder,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert process.stdout == "1\n" and "terminate" not in process.stderr


def test_follow_goes_on_through_restarts(appc, name, admin, cleaned, tmp_path):
    cleaned.append(name)
    counter = tmp_path / "counter"
    appc("add", "-a", name, "-u", "-c", f"echo x >> {counter}; echo run $(wc -l < {counter}); sleep 1000")
    process = appc.start("ls", "-o", "-f", "-a", name)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
    reader.start()
    try:
        eventually(lambda: "run 1\n" in lines, "the first run's output")
        admin.ok("POST", f"/appmesh/app/{name}/restart")
        eventually(lambda: "run 2\n" in lines, "the second run's output")
        assert lines.count("run 1\n") == 1
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        reader.join()


# Host.
def test_labels_and_config(appc, admin):
    appc("label", "-a", "-l", "cli-test=yes")
    assert admin.ok("GET", "/appmesh/labels").json["cli-test"] == "yes"
    assert re.search(r"cli-test\W+yes", appc("label")[0])
    appc("label", "-d", "-l", "cli-test")
    assert "cli-test" not in admin.ok("GET", "/appmesh/labels").json
    config = json.loads(appc("config")[0])
    assert config["REST"]["RestListenPort"] and "BaseConfig" in config


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell, stranger):
    assert "appc" in stranger("completion", shell)[0]


def test_bash_completes_verbs_and_app_names(appc, name, cleaned):
    cleaned.append(name)
    appc("add", "-a", name, "-c", "sleep 1000")
    script = f"""
        PATH={binaries()}:$PATH
        source <(appc completion bash)
        COMP_WORDS=(appc dis); COMP_CWORD=1; COMP_LINE="appc dis"; COMP_POINT=8
        $(complete -p appc | sed 's/.*-F \\([^ ]*\\).*/\\1/') appc dis appc; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(appc disable -a {name[:10]}); COMP_CWORD=3; COMP_LINE="appc disable -a {name[:10]}"; COMP_POINT=${{#COMP_LINE}}
        $(complete -p appc | sed 's/.*-F \\([^ ]*\\).*/\\1/') appc {name[:10]} -a; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], env=appc.environment, cwd=appc.folder, capture_output=True, text=True, timeout=60)
    verbs, names = done.stdout.splitlines()
    assert verbs.split() == ["disable"], done
    assert name in names.split(), done


def test_appm_is_the_same_program():
    assert os.path.realpath(binaries() / "appm") == os.path.realpath(binaries() / "appc")


def test_a_process_name_gives_the_terminal_no_orders(appc, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, r"printf '\033[2Jx' > /proc/$$/comm; while :; do sleep 1000; done", shell=True)
    eventually(lambda: "[2J" in admin.app(name).get("pstree", ""), "the name is shown")
    out, _ = appc("view", "-P", "-a", name)
    assert "?[2Jx" in out and "\x1b" not in out
