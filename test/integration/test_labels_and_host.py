"""Labels, the API description, and the answers that need no user."""


def test_labels_are_set_listed_and_deleted(admin):
    assert admin.ok("PUT", "/appmesh/label/rack", query={"value": "r1 / left"}).status == 200
    labels = admin.ok("GET", "/appmesh/labels").json
    assert labels["rack"] == "r1 / left" and {"HOST_NAME", "arch", "os_version"} <= set(labels)
    assert all(isinstance(value, str) for value in labels.values())
    assert admin.ok("DELETE", "/appmesh/label/rack").status == 200
    assert admin.ok("DELETE", "/appmesh/label/rack").status == 200, "also when absent"
    assert "rack" not in admin.ok("GET", "/appmesh/labels").json
    missing = admin.request("PUT", "/appmesh/label/rack")
    assert missing.status == 400 and "query value required" in missing.text


def test_labels_outlive_the_daemon(fresh_daemon):
    admin = fresh_daemon.client()
    admin.ok("PUT", "/appmesh/label/rack", query={"value": "r1"})
    fresh_daemon.kill()
    fresh_daemon.start()
    assert admin.ok("GET", "/appmesh/labels").json["rack"] == "r1"


def test_the_description_of_the_api_is_served(admin):
    answer = admin.ok("GET", "/openapi.yaml", token=None)
    assert answer.headers["Content-Type"].startswith("application/x-yaml")
    assert "/appmesh/app/run" in answer.text and "/appmesh/login" in answer.text
