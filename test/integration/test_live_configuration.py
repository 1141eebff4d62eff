"""Configuration that acts without a restart of the daemon: zone, grace, health checks, back-off, output bound."""
import time

from harness import processes
from harness.waiting import eventually, stays

HOUR = 3600


def configure(client, **base):
    return client.request("POST", "/appmesh/config", body={"BaseConfig": base})


def test_another_zone_plans_cron_anew_and_shows_other_times(new_daemon):
    admin = new_daemon(BaseConfig_PosixTimezone=None).start().client()
    assert configure(admin, PosixTimezone="+00").status == 200
    admin.add("noon", "true", start_interval_seconds="0 12 * * *", cron=True)
    admin.add("grid", "true", start_interval_seconds=HOUR)
    eventually(lambda: admin.app("grid").get("last_exit_time"), "its first start, a second after it was added, is over")
    noon, grid = (eventually(lambda: admin.app(name).get("next_start_time"), "a plan") for name in ("noon", "grid"))
    assert noon % (24 * HOUR) == 12 * HOUR
    assert configure(admin, PosixTimezone="-03:30").status == 200
    moved = eventually(lambda: (at := admin.app("noon")["next_start_time"]) != noon and at, "it is planned anew")
    assert moved % (24 * HOUR) == 15.5 * HOUR and moved > time.time()
    assert admin.app("noon")["next_start_time_TEXT"].endswith("T12:00:00-03:30")
    assert admin.app("grid")["next_start_time"] == grid, "what is no cron stays"
    assert configure(admin, PosixTimezone="Asia/Tokyo").status == 200
    eventually(lambda: admin.app("noon")["next_start_time"] % (24 * HOUR) == 3 * HOUR, "and again")
    assert admin.app("noon")["next_start_time_TEXT"].endswith("T12:00:00+09")


def test_a_zone_that_is_none_is_refused_and_changes_nothing(fresh_daemon):
    admin = fresh_daemon.client()
    before = admin.ok("GET", "/appmesh/config").json
    for zone in ("Atlantis/Capital", "../../etc/passwd", "+99", "soon"):
        answer = configure(admin, PosixTimezone=zone)
        assert answer.status == 400 and "BaseConfig.PosixTimezone" in answer.message, answer
    assert admin.ok("GET", "/appmesh/config").json == before


def test_another_grace_holds_for_the_next_stop(new_daemon):
    daemon = new_daemon(BaseConfig_StopGraceSeconds=None).start()
    admin = daemon.client()
    configure(admin, StopGraceSeconds=HOUR)
    admin.add("stubborn", "trap '' TERM; while :; do sleep 0.1; done", shell=True)
    eventually(lambda: len(daemon.processes_of("stubborn")) >= 2, "it runs and ignores what asks it to end")
    pid = admin.app("stubborn")["pid"]
    configure(admin, StopGraceSeconds=0)
    admin.disable("stubborn")
    eventually(lambda: not processes.alive(pid), "it is killed at once")


def test_another_interval_holds_for_the_next_health_check(new_daemon, tmp_path):
    admin = new_daemon(BaseConfig_HealthCheckSeconds=None).start().client()
    configure(admin, HealthCheckSeconds=HOUR)
    checks = tmp_path / "checks"
    admin.add("checked", "sleep 100000", health_check_cmd=f"echo x >> {checks}")
    eventually(lambda: checks.exists() and admin.app("checked")["health"] == 0, "the first check")
    stays(lambda: len(checks.read_text().split()) == 1, "the next one is an hour away", seconds=1.5)
    configure(admin, HealthCheckSeconds=1)
    eventually(lambda: len(checks.read_text().split()) >= 3, "checks come every second")


def test_a_lower_back_off_limit_cuts_the_wait(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("loop", "exit 1", shell=True, behavior={"exit": "restart"})
    waiting = eventually(lambda: "restart in 4 s (back-off)" in (app := admin.app("loop")).get("last_error", "") and app, "it backs off")
    configure(admin, BackoffLimitSeconds=0)
    eventually(lambda: admin.app("loop")["starts"] >= waiting["starts"] + 3, "it is started again and again without a wait")
    configure(admin, BackoffLimitSeconds=HOUR)
    eventually(lambda: "back-off" in admin.app("loop").get("last_error", ""), "it backs off again")


def test_a_lower_output_bound_cuts_what_is_kept(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("talker", "head -c 2000000 /dev/zero | tr '\\0' x; sleep 100000", shell=True)
    eventually(lambda: admin.output("talker", 1_999_000).body, "it has said all")
    assert admin.output("talker").body.startswith(b"x")
    configure(admin, OutputLimitBytes=65536)

    def first_kept():
        answer = admin.output("talker")
        return int(answer.headers["X-Output-Position"]) - len(answer.body)
    eventually(lambda: first_kept() > 1_000_000, "its head is given back")
    assert admin.output("talker", 1_999_000).body, "positions stay"
