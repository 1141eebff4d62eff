"""The page that Prometheus scrapes, read with Prometheus' own client library."""
from prometheus_client.parser import text_string_to_metric_families

from harness.waiting import eventually


def samples(client, path="/appmesh/metrics"):
    answer = client.ok("GET", path, token=None)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]


def value(all_samples, name, **labels):
    found = [s.value for s in all_samples if s.name == name and labels.items() <= s.labels.items()]
    return found[0] if found else None


def test_the_page_needs_no_user_and_every_series_names_the_host(admin):
    host = admin.ok("GET", "/appmesh/labels").json["HOST_NAME"]
    for path in ("/metrics", "/appmesh/metrics"):
        page = samples(admin, path)
        assert page and all(sample.labels["host"] == host for sample in page)
    assert value(page, "appmesh_metrics_scrapes_total") >= 2


def test_requests_are_counted_by_route_and_status(admin):
    def count(status):
        return value(samples(admin), "appmesh_http_requests_total", method="GET", route="/appmesh/app/{name}",
                     status_code=status) or 0
    before = count("404")
    admin.request("GET", "/appmesh/app/no-such-app")
    assert count("404") == before + 1
    page = samples(admin)
    assert value(page, "appmesh_http_request_duration_seconds_count", method="GET",
                 route="/appmesh/app/{name}") >= before + 1
    assert value(page, "appmesh_http_requests_in_flight") >= 1, "the scrape itself"


def test_a_running_app_shows_its_process_and_a_disabled_one_does_not(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000")
    pid = eventually(lambda: admin.app(name).get("pid"), "the app runs")

    page = samples(admin)
    assert value(page, "appmesh_application_process_id", application=name) == pid
    assert value(page, "appmesh_application_running", application=name) == 1
    assert value(page, "appmesh_application_process_resident_memory_bytes", application=name) > 0
    assert value(page, "appmesh_application_process_open_fds", application=name) >= 3
    assert value(page, "appmesh_application_process_starts_total", application=name) == 1

    admin.ok("POST", f"/appmesh/app/{name}/disable")
    eventually(lambda: "pid" not in admin.app(name), "the app is gone")
    page = samples(admin)
    assert value(page, "appmesh_application_enabled", application=name) == 0
    assert value(page, "appmesh_application_process_resident_memory_bytes", application=name) is None


def test_tasks_are_counted_by_their_end(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000")
    eventually(lambda: admin.app(name).get("pid"), "the app runs")
    late = admin.request("POST", f"/appmesh/app/{name}/task", body=b"x", query={"timeout": "1"})
    assert late.status == 408
    page = samples(admin)
    finished = "appmesh_application_tasks_finished_total"
    assert value(page, finished, application=name, outcome="timed_out") == 1
    assert value(page, finished, application=name, outcome="answered") == 0
    assert value(page, "appmesh_application_tasks_submitted_total", application=name) == 1
    assert value(page, "appmesh_application_tasks_queued", application=name) == 0
