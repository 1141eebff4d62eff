// The published client, unchanged, against our daemon. Prints one JSON line a step; test_javascript.py reads them.
// usage: node main.mjs URL CA_FILE PASSWORD
import assert from "node:assert/strict";
import fs from "node:fs";
import { AppMeshClient } from "appmesh";

const [url, caFile, password] = process.argv.slice(2);
const tls = { ca: fs.readFileSync(caFile), rejectUnauthorized: true };
console.log = () => {}; // the client prints its errors there; ours are below
const say = (step, ok, detail = "") => process.stdout.write(JSON.stringify({ step, ok, detail: String(detail) }) + "\n");

async function step(name, action) {
  try {
    await action();
    say(name, true);
  } catch (error) {
    say(name, false, error.stack ?? error);
  }
}

const client = new AppMeshClient(url, tls);
const name = "interop-js";
const rejects = (promise, statusCode) => assert.rejects(promise, (error) => error.statusCode === statusCode);

await step("a wrong password is refused with 401", () => rejects(client.login("admin", "wrong"), 401));
await step("login", () => client.login("admin", password));
await step("the user is known", async () => assert.equal((await client.get_current_user()).name, "admin"));
await step("add an app", async () => {
  const app = await client.add_app(name, {
    name, command: "echo from-js; sleep 1000", shell: true, stdout_cache_num: 3, description: "", metadata: "",
    status: 1, docker_image: "", retention: null, health_check_cmd: null, permission: null, pid: null,
    resource_limit: { cpu_shares: null, memory_mb: null, memory_virt_mb: null },
    behavior: { exit: "standby", control: { 0: "keepalive" } },
  });
  assert.equal(app.name, name);
  assert.equal(app.owner, "admin");
});
await step("list the apps", async () => {
  const app = (await client.list_apps()).find((each) => each.name === name);
  assert.equal(app.status, 1);
  assert.ok(app.pid > 0);
});
await step("get one app", async () => assert.equal((await client.get_app(name)).command, "echo from-js; sleep 1000"));
await step("an unknown app is 404", () => rejects(client.get_app("interop-nobody"), 404));
await step("its health", async () => assert.equal(await client.check_app_health(name), true));
await step("read its output with a long poll", async () => {
  let output = { outPosition: 0, output: "" };
  for (let turn = 0; turn < 50 && output.output === ""; turn++) output = await client.get_app_output(name, 0, 0, 10240, "", 1);
  assert.equal(output.statusCode, 200);
  assert.equal(output.output, "from-js\n");
  assert.equal(output.outPosition, 8);
  assert.equal(output.exitCode, null);
  const more = await client.get_app_output(name, output.outPosition);
  assert.equal(more.output, "");
});
await step("run synchronously", async () => {
  let seen = null;
  const code = await client.run_app_sync({ command: "echo héllo; exit 7", shell: true }, (text) => (seen = text));
  assert.equal(code, 7);
  assert.equal(seen, "héllo\n");
});
await step("run synchronously into the time limit", async () => {
  assert.equal(await client.run_app_sync({ command: "sleep 1000" }, () => {}, "PT1S"), -15);
});
await step("run asynchronously and wait", async () => {
  let seen = "";
  const run = await client.run_app_async({ command: "for i in a b c; do echo $i; sleep 0.3; done; exit 3", shell: true }, 60, 120);
  assert.ok(run.appName && run.procUid);
  assert.equal(await client.wait_for_async_run(run, (text) => (seen += text), 60), 3);
  assert.equal(seen, "a\nb\nc\n");
  await rejects(client.get_app(run.appName), 404);
});
await step("disable and enable", async () => {
  assert.equal(await client.disable_app(name), true);
  assert.equal((await client.get_app(name)).status, 0);
  assert.equal(await client.enable_app(name), true);
  assert.equal((await client.get_app(name)).status, 1);
});
await step("labels", async () => {
  assert.equal(await client.add_label("interop", "js, with a space"), true);
  assert.equal((await client.list_labels()).interop, "js, with a space");
  assert.equal(await client.delete_label("interop"), true);
});
await step("delete, twice", async () => {
  assert.equal(await client.delete_app(name), true);
  assert.equal(await client.delete_app(name), false);
});
await step("renew the token", async () => {
  await client.renew_token(3600);
  assert.ok(Array.isArray(await client.list_apps()));
});
await step("verify a token", async () => {
  const cookie = client._client.defaults.headers.Cookie;
  const token = cookie.split(";")[0].split("=")[1];
  assert.equal((await client.authenticate(token, "app-view", "appmesh-service", false)).success, true);
  assert.equal((await client.authenticate(token, "no-such-permission", "appmesh-service", false)).success, false);
});
await step("log out", async () => {
  const cookie = client._client.defaults.headers.Cookie;
  await client.logout();
  const stale = new AppMeshClient(url, tls);
  stale._client.defaults.headers.Cookie = cookie;
  await rejects(stale.list_apps(), 401);
});
