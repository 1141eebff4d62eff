"""The App value: what goes to the daemon, what comes from it."""

import json
from datetime import datetime, timezone

import pytest

from appmesh import App

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=timezone.utc)
ATTRIBUTES = [
    "name",
    "command",
    "shell",
    "session_login",
    "description",
    "metadata",
    "working_dir",
    "status",
    "docker_image",
    "stdout_cache_num",
    "stdout_cache_size",
    "start_time",
    "end_time",
    "start_interval_seconds",
    "cron",
    "retention",
    "health_check_cmd",
    "permission",
    "env",
    "sec_env",
    "user",
    "owner",
    "pid",
    "pstree",
    "container_id",
    "memory",
    "cpu",
    "fd",
    "health",
    "return_code",
    "starts",
    "register_time",
    "last_start_time",
    "last_exit_time",
    "next_start_time",
    "last_error",
    "version",
    "task_id",
    "task_status",
    "subscription_id",
]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_each_attribute_is_none_until_it_is_set(attribute):
    assert getattr(App(), attribute) is None


def test_an_empty_app_is_an_empty_object():
    assert App().to_dict() == {}
    assert str(App()) == "{}"


def test_empty_members_are_dropped_at_every_depth_but_zero_and_false_stay():
    app = App({"name": "n", "description": "", "status": 0, "shell": False, "env": {"A": "", "B": "b"}})
    app.metadata = {"x": {}}
    assert app.to_dict() == {"name": "n", "status": 0, "shell": False, "env": {"B": "b"}}


def test_text_is_parsed_as_json():
    app = App('{"name": "n", "pid": 7, "cpu": 1.5, "unknown": 1}')
    assert (app.name, app.pid, app.cpu) == ("n", 7, 1.5)
    assert "unknown" not in app.to_dict()


def test_what_is_no_object_is_refused():
    with pytest.raises(TypeError):
        App("[]")


def test_environment_open_and_secret():
    app = App()
    app.set_env("A", "1")
    app.set_env("B", "2", secure=True)
    assert app.to_dict() == {"env": {"A": "1"}, "sec_env": {"B": "2"}}


def test_two_apps_share_nothing():
    first = App({"env": {"A": "1"}})
    second = App({"env": {"A": "1"}})
    first.set_env("B", "2")
    first.behavior.set_control_behavior(1, App.Behavior.Action.REMOVE)
    assert second.env == {"A": "1"}
    assert second.behavior.control == {}


def test_permission_is_others_then_group():
    app = App()
    app.set_permission(App.Permission.READ, App.Permission.DENY)
    assert app.permission == 12


def test_behaviour():
    app = App()
    app.behavior.set_exit_behavior(App.Behavior.Action.KEEPALIVE)
    app.behavior.set_control_behavior(3, App.Behavior.Action.STANDBY)
    assert app.to_dict() == {"behavior": {"exit": "keepalive", "control": {"3": "standby"}}}
    again = App(str(app))
    assert again.behavior.exit == "keepalive"
    assert again.behavior.control == {"3": "standby"}


def test_times():
    app = App()
    app.set_valid_time(NOON, None)
    assert (app.start_time, app.end_time) == (int(NOON.timestamp()), None)
    app.daily_limitation.set_daily_range(NOON, NOON.replace(hour=14))
    assert app.daily_limitation.daily_end - app.daily_limitation.daily_start == 7200


def test_limits():
    app = App({"resource_limit": {"memory_mb": 10}})
    app.resource_limit.cpu_shares = 512
    assert json.loads(str(app)) == {"resource_limit": {"cpu_shares": 512, "memory_mb": 10}}
