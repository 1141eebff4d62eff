"""Listing, registering and controlling apps."""

import json
import subprocess

import pytest
from appc_program import APPC, run_on_terminal

HEADER = "ID NAME OWNER STATUS HEALTH PID USER MEMORY %CPU RETURN AGE DURATION STARTS COMMAND".split()


def test_the_program_names_itself(stranger):
    assert "App Mesh CLI" in stranger("--help").stdout
    for words in (["--version"], ["version"]):
        assert stranger(*words).stdout.startswith("appc version "), words


def test_it_has_the_name_that_it_was_called_by(stranger, tmp_path):
    (tmp_path / "appm").symlink_to(APPC)
    out = subprocess.run([tmp_path / "appm", "--version"], env=stranger.env, capture_output=True, text=True, timeout=60).stdout
    assert out.startswith("appm version ")


def test_the_daemons_version_is_told_when_it_is_another(appc):
    assert appc("version").stdout.count("version") == 1
    appc.daemon.script["GET", "/appmesh/resources"] = lambda handler: handler.answer(200, {"appmesh_version": "2.0.1"})
    assert "daemon version 2.0.1 at https://" in appc("version").stdout


@pytest.mark.parametrize("words,told,hint", [
    (["lss"], "there is no command 'lss'", "did you mean: ls?"),
    (["restrat", "-a", "x"], "there is no command 'restrat'", "did you mean: restart?"),
    (["xyzzy"], "there is no command 'xyzzy'", "see: appc --help"),
    (["--forwrad-to", "x", "ls"], "there is no option '--forwrad-to'", "did you mean: --forward-to?"),
    (["ls", "--fromat", "json"], "ls: there is no option '--fromat'", "did you mean: --format?"),
    (["ls", "-q"], "ls: there is no option '-q'", "see: appc view --help"),
    (["rm"], "rm: -a,--app is missing", "see: appc rm --help"),
    (["logs"], "logs: app is missing", "see: appc logs --help"),
    (["ls", "-i", "-1"], "'-1' is not a whole number in 0..1000000", "see: appc view --help"),
    (["ls", "-i", "1"], "-i chooses the output of an older run", ""),
    (["ls", "-o"], "-o needs an app: -a NAME", ""),
    ([], "no command given", "see: appc --help"),
    (["run", "-c", "x", "-e", "A B=1"], "-e 'A B=1': 'A B' is no name of a variable", "give -e once for each variable"),
    (["add", "-a", "x", "-c", "x", "-z", "A B"], "-z 'A B': 'A B' is no name of a variable", "give -e once"),
])
def test_wrong_words_are_named_with_what_to_do(words, told, hint, stranger):
    result = stranger(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert told.replace("ls: ", "view: ") in result.stderr and hint in result.stderr, result.stderr


def test_wrong_usage_is_exit_code_2(stranger):
    for words in ([], ["nonsense"], ["ls", "--nonsense"], ["rm"], ["enable"], ["enable", "-a", "x", "-A"], ["run"],
                  ["exec"], ["run", "-c", "x", "-t", "soon"], ["add", "-a", "x", "-Q", "never"],
                  ["ls", "--format", "xml"], ["add", "-a", "x", "-c", "y", "-b", "tomorrow"]):
        result = stranger(*words)
        assert (result.returncode, result.stdout) == (2, ""), words
        assert result.stderr.startswith("appc: "), words
    assert stranger("ls", url="http://127.0.0.1").returncode == 2


def test_ls_shows_the_columns_of_the_contract(appc):
    assert appc("add", "-a", "web", "-c", "sleep 100").returncode == 0
    run = appc.daemon.start_run("web", "sleep 100")
    for verb in ("ls", "list", "view"):
        lines = appc(verb).stdout.splitlines()
        assert lines[0].split() == HEADER
        assert lines[1].split()[:6] == ["0", "web", "admin", "enabled", "OK", str(run.pid)]
        assert lines[1].endswith("sleep 100")
    assert "\x1b" not in appc("ls").stdout


def test_ls_prints_json_yaml_and_names(appc):
    appc.daemon.apps = {"a": {"name": "a", "command": "x"}, "b": {"name": "b", "command": "y: z"}}
    assert [app["name"] for app in json.loads(appc("ls", "--format", "json").stdout)] == ["a", "b"]
    assert json.loads(appc("ls", "-a", "b", "-j").stdout)["command"] == "y: z"
    assert appc("ls", "--format", "name").stdout == "a\nb\n"
    assert 'command: "y: z"' in appc("ls", "-a", "b", "--format", "yaml").stdout
    assert "LAST_ERROR" in appc("ls", "-l").stdout


def test_a_narrow_terminal_gets_cut_and_coloured_lines_but_not_with_no_color(appc):
    appc("add", "-a", "web", "-c", "echo " + "x" * 300)
    code, text = run_on_terminal(appc, ["ls"], columns=120)
    assert code == 0
    assert "\x1b[32m" in text and "x*" in text
    code, text = run_on_terminal(appc, ["ls"], columns=120, env={"NO_COLOR": "1"})
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120
    assert "x" * 300 in appc("ls").stdout


def test_every_flag_of_add_reaches_its_field(appc):
    words = ("add -a n -c cmd -d text -w /tmp -s disabled -u -G -K check -I image -P 7 -b 2025-01-31T08:00:00 "
             "-x 2026-01-31T08:00:00Z -S 08:00 -E 20:00 -i PT5M -M 10 -V 20 -C 100 -N 3 -p 12 -m meta -e A=1=2 -e B= "
             "-z S=secret -R 5 -Q restart -T 41:keepalive -T -9:standby").split()
    result = appc(*words)
    assert result.returncode == 0, result.stderr
    sent = json.loads(appc.daemon.asked("PUT", "/appmesh/app/n")[0][3])
    assert sent == {
        "name": "n", "command": "cmd", "description": "text", "working_dir": "/tmp", "status": 0, "shell": True,
        "session_login": True, "health_check_cmd": "check", "docker_image": "image", "pid": 7,
        "start_time": 1738310400, "end_time": 1769846400, "daily_limitation": {"daily_start": 28800, "daily_end": 72000},
        "start_interval_seconds": "PT5M", "resource_limit": {"memory_mb": 10, "memory_virt_mb": 20, "cpu_shares": 100},
        "stdout_cache_num": 3, "permission": 12, "metadata": "meta", "env": {"A": "1=2", "B": ""},
        "sec_env": {"S": "secret"}, "retention": "5",
        "behavior": {"exit": "restart", "control": {"41": "keepalive", "-9": "standby"}}}


def test_secrets_and_metadata_can_stay_off_the_command_line(appc):
    (appc.folder / "meta.json").write_text('{"a": 1}')
    assert appc("add", "-a", "n", "-c", "x", "-z", "KEY", "-m", "@meta.json", env={"KEY": "v"}).returncode == 0
    sent = json.loads(appc.daemon.asked("PUT", "/appmesh/app/n")[0][3])
    assert sent["sec_env"] == {"KEY": "v"} and sent["metadata"] == '{"a": 1}'
    assert appc("add", "-a", "n", "-c", "x", "-z", "MISSING").returncode == 2


def test_add_reads_yaml_and_json_and_names_unknown_keys(appc):
    yaml = "name: job\ncommand: sleep 1\nenv: {PORT: 8080}\n"
    assert appc("add", "-D", "std", "-d", "from input", input=yaml).returncode == 0
    sent = json.loads(appc.daemon.asked("PUT", "/appmesh/app/job")[0][3])
    assert sent == {"name": "job", "command": "sleep 1", "env": {"PORT": "8080"}, "description": "from input"}
    (appc.folder / "app.json").write_text('{"name": "j2", "command": "true"}')
    assert appc("reg", "-D", "app.json").returncode == 0
    result = appc("add", "-D", "std", input="name: x\ncomand: y\n")
    assert result.returncode == 1
    assert "comand" in result.stderr
    assert appc("add", "-D", "missing.yaml").returncode == 1


def test_what_ls_printed_can_be_registered_again(appc):
    appc("add", "-a", "web", "-c", "sleep 100", "-e", "A=on")
    appc.daemon.start_run("web", "sleep 100")
    yaml = appc("ls", "-a", "web", "--format", "yaml").stdout
    result = appc("add", "-f", "-D", "std", input=yaml)
    assert result.returncode == 0, result.stderr
    sent = json.loads(appc.daemon.asked("PUT", "/appmesh/app/web")[-1][3])
    assert "pid" not in sent and sent["env"] == {"A": "on"}


def test_an_existing_app_is_changed_only_when_told_so(appc):
    assert appc("add", "-a", "web", "-c", "one").returncode == 0
    result = appc("add", "-a", "web", "-c", "two")
    assert result.returncode == 1
    assert "-f" in result.stderr
    assert appc.daemon.apps["web"]["command"] == "one"
    assert appc("add", "-a", "web", "-c", "two", "-f").returncode == 0
    assert appc.daemon.apps["web"]["command"] == "two"


def test_removing_an_app_that_is_not_there_is_fine(appc):
    appc("add", "-a", "web", "-c", "one")
    assert appc("rm", "-a", "web").returncode == 0
    assert appc("unreg", "-a", "web").returncode == 0
    assert appc("remove", "-f", "-a", "web").returncode == 0
    assert "force=true" in appc.daemon.requests[-1][1]


def test_enable_disable_and_restart_one_or_all(appc):
    appc.daemon.apps = {name: {"name": name, "command": "x", "status": status} for name, status in
                        (("on", 1), ("off", 0), ("demand", 2))}
    assert appc("disable", "-a", "on").returncode == 0
    assert appc.daemon.apps["on"]["status"] == 0
    assert appc("enable", "-A").returncode == 0
    assert [app["status"] for app in appc.daemon.apps.values()] == [1, 1, 2]
    appc.daemon.apps["off"]["status"] = 0
    assert appc("restart", "-A").returncode == 0
    assert appc.daemon.asked("POST", "/appmesh/app/on/restart")
    assert not appc.daemon.asked("POST", "/appmesh/app/off/restart")
    result = appc("enable", "-a", "missing")
    assert result.returncode == 1
    assert "No such application missing" in result.stderr


def test_labels_config_and_log_level(appc):
    assert appc("label").stdout == "arch=x86_64\n"
    assert appc("label", "-a", "-l", "zone=a b=c", "-l", "x=1").returncode == 0
    assert appc.daemon.labels == {"arch": "x86_64", "zone": "a b=c", "x": "1"}
    assert appc("label", "-d", "-l", "x", "--view").stdout == "arch=x86_64\nzone=a b=c\n"
    assert json.loads(appc("config").stdout) == {"BaseConfig": {}}
    assert json.loads(appc("config", "-s", "A.B=5", "-s", "A.C=text").stdout) == {"A": {"B": 5, "C": "text"}}
    assert appc("log", "-L", "DEBUG").returncode == 0


def test_users(appc):
    assert "name: admin" in appc("user").stdout
    assert json.loads(appc("user", "-j").stdout)["roles"] == ["manage"]
    assert appc("user", "-j", '{"name": "u", "key": "k"}').returncode == 0
    assert appc.daemon.asked("PUT", "/appmesh/user/u")
    assert appc("lock", "-t", "u").returncode == 0
    assert appc("lock", "-t", "u", "-k", "false").returncode == 0
    assert appc.daemon.asked("POST", "/appmesh/user/u/unlock")


def test_password_hashes(stranger):
    hashes = stranger("appmgpwd", input="one\ntwo\n").stdout.splitlines()
    assert len(hashes) == 2
    assert all(line.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for line in hashes)
    assert stranger("appmgpwd", "one").stdout.startswith("$argon2id$")


def test_completion_in_bash(appc):
    appc.daemon.apps = {name: {"name": name} for name in ("web", "worker", "other")}
    script = (f"source <({APPC} completion bash); COMP_WORDS=({APPC} -H {appc.daemon.url} ls -a w); COMP_CWORD=5;"
              " _appc; printf '%s\\n' \"${COMPREPLY[@]}\"")
    result = subprocess.run(["bash", "-c", script], env=appc.env, capture_output=True, text=True, timeout=60)
    assert result.stdout == "web\nworker\n"
    for shell in ("zsh", "fish"):
        assert "__complete" in appc("completion", shell).stdout
    assert appc("__complete", "ls", url="https://127.0.0.1:1").returncode in (0, 2)
