"""Logging on and off, where the token lies, and what happens without one."""

import stat
import subprocess

from appc_program import APPC, run_on_terminal


def token_file(appc):
    return appc.home / "tokens" / f"127.0.0.1:{appc.daemon.port}" / ".token"


def test_logon_stores_a_token_for_the_user_alone(stranger):
    result = stranger("logon", "-U", "admin", "-X", stranger.daemon.PASSWORD, "-t", "PT1H")
    assert result.returncode == 0
    assert result.stdout == ""
    assert stat.S_IMODE(token_file(stranger).stat().st_mode) == 0o600
    assert stat.S_IMODE(token_file(stranger).parent.stat().st_mode) == 0o700
    assert stranger.daemon.asked("POST", "/appmesh/login")[0][2]["X-Expire-Seconds"] == "3600"
    info = stranger("loginfo")
    assert "User: admin\n" in info.stdout and stranger.daemon.url in info.stdout


def test_show_token_prints_only_the_token(stranger):
    result = stranger("logon", "-U", "admin", "-X", stranger.daemon.PASSWORD, "--show-token")
    assert result.stdout.strip() in stranger.daemon.tokens


def test_wrong_password_is_not_logged_in(stranger):
    result = stranger("logon", "-U", "admin", "-X", "wrong")
    assert result.returncode == 4
    assert "Incorrect user name or password" in result.stderr


def test_commands_without_a_login_say_what_to_do(stranger):
    result = stranger("ls")
    assert (result.returncode, result.stdout) == (4, "")
    assert "appc logon" in result.stderr


def test_a_token_that_the_daemon_refuses_is_not_logged_in(appc):
    appc.daemon.tokens.clear()
    result = appc("ls")
    assert result.returncode == 4
    assert "appc logon" in result.stderr


def test_nothing_is_asked_without_a_terminal(stranger):
    for words in (["logon"], ["logon", "-U", "admin"], ["ls", "-U", "admin"], ["logon", "-U", "totp", "-X", stranger.daemon.PASSWORD]):
        result = stranger(*words, input="answer\n")
        assert result.returncode == 4, words
        assert "no terminal" in result.stderr


def test_user_and_password_log_on_for_one_call_only(stranger):
    assert stranger("ls", "-U", "admin", "-X", stranger.daemon.PASSWORD).returncode == 0
    assert stranger("ls", env={"APPMESH_USER": "admin", "APPMESH_PASSWORD": stranger.daemon.PASSWORD}).returncode == 0
    assert not token_file(stranger).exists()
    assert stranger("ls").returncode == 4


def test_logoff_ends_the_login_on_both_sides(appc):
    assert appc("logout").returncode == 0
    assert not appc.daemon.tokens
    assert not token_file(appc).exists()
    assert appc("loginfo").returncode == 4
    assert appc("logoff").returncode == 0


def test_the_password_is_not_echoed_on_a_terminal(stranger):
    password = stranger.daemon.PASSWORD
    code, text = run_on_terminal(stranger, ["logon"], [("User:", "admin"), ("Password of admin:", password)])
    assert code == 0, text
    assert password not in text
    assert token_file(stranger).exists()


def test_the_daemon_used_last_is_the_default(appc):
    result = subprocess.run([APPC, "ls"], env=appc.env, capture_output=True, text=True, cwd=appc.folder, timeout=60)
    assert result.returncode == 0, result.stderr


def test_a_changed_own_password_needs_a_new_logon(appc):
    result = appc("passwd", "--stdin", input="old\nnew\n")
    assert result.returncode == 0, result.stderr
    assert appc.daemon.asked("POST", "/appmesh/user/self/passwd")[0][3] == b'{"old_password":"b2xk","new_password":"bmV3"}'
    assert not token_file(appc).exists()
