"""A script that ends without success says what failed, where, and what to do; it never ends without a word."""
import re
import signal
import stat

import pytest
from conftest import ROOT

NOTHING_INSTALLED = "exit 1"  # dpkg-query's answer to names that it does not know
SIZES = """
case "$*" in
  *--assume-no*) echo "0 upgraded, 3 newly installed, 0 to remove and 0 not upgraded."; echo "Need to get 137 MB of archives."
                 echo "After this operation, 753 MB of additional disk space will be used."; exit 1 ;;
"""


def bash_scripts():
    return [file for file in sorted((ROOT / "scripts").iterdir())
            if file.stat().st_mode & stat.S_IXUSR and file.read_text().startswith("#!/usr/bin/env bash")]


def told(done, what, todo, script):
    """The last lines of a failed script."""
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"{script}: ") and re.search(what, line) for line in lines), done.stderr
    assert re.search(rf"^{script}: what to do: .*{todo}", lines[-1]), done.stderr


@pytest.mark.parametrize("file", bash_scripts(), ids=lambda file: file.name)
def test_every_script_says_why_it_ends(file):
    commands = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert commands[0] == '. "$(dirname "$0")/common"'


def test_no_list_of_packages_is_an_error_that_names_the_sources(checkout):
    checkout.replace("dpkg-query", NOTHING_INSTALLED)
    checkout.replace("apt-get", "echo 'E: no network' >&2; exit 100")
    checkout.replace("sudo", '"$@"')
    done = checkout.run("scripts/prepare", "build")
    told(done, r"failed with status 100 in scripts/prepare, line \d+: .*apt-get update", "/etc/apt", "scripts/prepare")
    assert "E: no network" in done.stderr


def test_an_unknown_package_is_named(checkout):
    checkout.replace("dpkg-query", NOTHING_INSTALLED)
    checkout.replace("apt-get", 'case "$*" in *--assume-no*) echo "E: Unable to locate package mold" >&2; exit 100 ;; esac')
    checkout.replace("sudo", '"$@"')
    done = checkout.run("scripts/prepare", "build")
    told(done, "cannot install .*mold", "Debian 12", "scripts/prepare")
    assert "E: Unable to locate package mold" in done.stderr


def test_what_is_installed_is_said_in_one_line_with_its_size_and_a_failure_shows_the_end_of_the_log(checkout):
    checkout.replace("dpkg-query", NOTHING_INSTALLED)
    checkout.replace("apt-get", SIZES + "  *install*) echo pmstatus:x:10.0:Unpacking >&3; echo 'dpkg: error: no space left'; exit 100 ;; esac")
    checkout.replace("sudo", '"$@"')
    done = checkout.run("scripts/prepare", "build")
    told(done, "did not install .*status 100", ".*build/prepare.log", "scripts/prepare")
    assert len([line for line in done.stderr.splitlines() if "installing 3 packages (137 MB to fetch, 753 MB on disk): " in line]) == 1
    assert "dpkg: error: no space left" in done.stderr


def test_a_plain_user_without_sudo_is_told_what_root_shall_run(checkout):
    checkout.replace("dpkg-query", NOTHING_INSTALLED)
    checkout.replace("id", "echo 1000")
    for name in ("bash", "env", "dirname", "awk", "sort", "apt-get", "date", "cat"):
        checkout.replace(name, f'exec /usr/bin/{name} "$@"') if name != "bash" else (checkout.programs / name).symlink_to("/bin/bash")
    done = checkout.run("scripts/prepare", "build", PATH=str(checkout.programs))
    told(done, "no sudo", "apt-get install .*clang-19", "scripts/prepare")


def test_a_script_that_called_a_script_points_at_its_words(checkout):
    checkout.replace("scripts/prepare", "echo 'prepare says why' >&2; exit 7")
    (checkout.folder / "src").mkdir()
    (checkout.folder / "sdk/cpp").mkdir(parents=True)
    done = checkout.run("scripts/start")
    told(done, r"failed with status 7 in scripts/start, line \d+: scripts/prepare start", "scripts/prepare says it above", "scripts/start")
    assert "about" in done.stderr and "on this machine" in done.stderr, "how long it takes is said first"


@pytest.mark.parametrize("script", ["bench", "fuzz", "lint", "fresh"])
def test_every_other_script_points_at_what_failed_too(script, checkout):
    checkout.replace("scripts/prepare", "exit 7")
    checkout.replace("scripts/build", "exit 7")
    done = checkout.run(f"scripts/{script}")
    told(done, r"failed with status 7 in scripts/", "says it above", f"scripts/{script}")


def test_a_configuration_that_fails_is_told(checkout):
    checkout.replace("scripts/prepare", "exit 0")
    checkout.replace("cmake", "echo 'CMake Error: no compiler' >&2; exit 1")
    done = checkout.run("scripts/build", "release")
    told(done, r"line \d+: cmake --preset", "rm -rf build/release", "scripts/build")
    assert "CMake Error: no compiler" in done.stderr


BUILD = """
[ "$1" != -v ] || { for i in $(seq 50); do echo "clang++ $i"; done; exit 0; }
for i in $(seq 50); do echo "@$i/50@Building CXX object $i.o"; done
"""


def ready_to_build(checkout, ninja):
    checkout.replace("scripts/prepare", "exit 0")
    checkout.replace("build/release/build.ninja", "")
    checkout.replace("ninja", ninja)


def test_a_build_shows_one_line_that_counts_and_v_shows_everything(checkout):
    ready_to_build(checkout, BUILD)
    done = checkout.run("scripts/build", "release")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert 8 <= len(lines) <= 12 and lines[-1] == "[50/50] building build/release", lines
    assert "50 steps, at most about" in done.stdout
    assert len(checkout.run("scripts/build", "release", V="1").stdout.splitlines()) == 50


def test_a_build_that_fails_shows_what_the_compiler_said(checkout):
    ready_to_build(checkout, BUILD + "echo 'FAILED: x.o'; echo 'x.cpp:1: error: expected a type'; exit 1")
    done = checkout.run("scripts/build", "release")
    told(done, "the build of build/release failed", "compiler", "scripts/build")
    assert "x.cpp:1: error: expected a type" in done.stderr


def test_a_warning_passes_but_not_in_the_tests(checkout):
    ready_to_build(checkout, BUILD + "echo 'x.cpp:1:2: warning: unused variable'")
    assert checkout.run("scripts/build", "release").returncode == 0
    done = checkout.run("scripts/build", "release", WARNINGS="fail")
    told(done, "1 warnings", "named above", "scripts/build")


def test_words_reach_the_terminal_from_where_those_of_commands_do_not(checkout):
    checkout.replace("scripts/one", '. "$(dirname "$0")/common"\nquiet() { { echo "$unset"; } 2>/dev/null; }\nquiet')
    checkout.replace("scripts/two", '. "$(dirname "$0")/common"\nquiet() { { false; } 2>/dev/null; }\nquiet')
    for script in ("one", "two"):
        done = checkout.run(f"scripts/{script}")
        assert done.returncode == 1
        assert re.search(rf"^scripts/{script}: (ended|failed) with status 1", done.stderr, re.MULTILINE), done.stderr


def test_what_ends_by_a_signal_says_so_and_cleans_up(checkout):
    checkout.replace("scripts/slow", '. "$(dirname "$0")/common"\ncleanup() { echo cleaned; }\necho begun\nwhile :; do sleep 0.05; done')
    for number, status, words in ((signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "asked to end")):
        process = checkout.popen("scripts/slow")
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert process.returncode == status and words in err and out == "cleaned\n"


def test_unknown_words_are_refused(checkout):
    for script in ("prepare", "test", "stop"):
        done = checkout.run(f"scripts/{script}", "nonsense")
        told(done, "'nonsense'", "scripts/|choose", f"scripts/{script}")
    told(checkout.run("scripts/build"), "which preset", "scripts/build release", "scripts/build")


def test_hints_name_commands_that_need_no_make():
    for file in [*bash_scripts(), ROOT / "scripts/tally"]:
        assert not re.search(r"\bmake (start|stop|stop-all|test|build|fresh|lint|format|bench)\b", file.read_text()), file


@pytest.mark.parametrize("death", ["kill -9 $$", "exit 0", "exit 5"])
def test_the_last_line_of_ci_is_the_count_also_when_the_tests_died(death, checkout):
    checkout.replace("scripts/test", f"echo 'half a line'; {death}")
    done = checkout.run(".ci/run")
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_tests_on_a_machine_that_cannot_be_prepared_end_with_the_count(checkout):
    checkout.replace("scripts/prepare", "exit 7")
    done = checkout.run(".ci/run")
    assert done.returncode != 0 and done.stdout.splitlines()[-1] == "0 passed, 1 failed"
