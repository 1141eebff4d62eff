// The published client, unchanged: files and tasks. Prints one JSON line a step; test_javascript.py reads them.
// Its TCP client puts a length of four bytes before a message, as daemons before 1.6 wanted it. Published daemons since
// then refuse that, and so does ours: at once, so that nobody waits.
// usage: node matrix.mjs URL TCP_PORT CA_FILE PASSWORD SCRATCH
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { AppMeshClient } from "appmesh";
import { AppMeshServer } from "appmesh/server";
// Not among the package's exports, but its documentation imports it by this path.
import { AppMeshClientTCP } from "./node_modules/appmesh/src/appmesh_tcp.js";

const [url, tcpPort, caFile, password, scratch] = process.argv.slice(2);
const tls = { ca: fs.readFileSync(caFile), rejectUnauthorized: true };
console.log = console.error = console.warn = () => {};
const say = (step, ok, detail = "") => process.stdout.write(JSON.stringify({ step, ok, detail: String(detail) }) + "\n");
const address = ["127.0.0.1", Number(tcpPort)];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function eventually(check, what) {
  for (let turn = 0; turn < 600; turn++) {
    if (await check()) return;
    await sleep(50);
  }
  assert.fail(`did not happen: ${what}`);
}

async function step(name, action) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("did not end within 40 s")), 40000)));
  try {
    await Promise.race([action(), late]);
    say(name, true);
  } catch (error) {
    say(name, false, error.stack ?? error);
  } finally {
    clearTimeout(timer);
  }
}

async function files(client, transport) {
  const [source, remote, back] = ["source", "remote", "back"].map((name) => path.join(scratch, `${transport}-${name}`));
  const content = crypto.randomBytes(200003);
  fs.writeFileSync(source, content, { mode: 0o640 });
  await client.upload_file(source, remote, true);
  await client.list_labels(); // over TCP an answer to the next request means that the upload is done
  assert.deepEqual(fs.readFileSync(remote), content);
  await client.download_file(remote, back, true);
  assert.deepEqual(fs.readFileSync(back), content);
  assert.equal(fs.statSync(remote).mode & 0o777, 0o640);
}

async function tasks(client, server, name) {
  await client.add_app(name, { name, command: "echo $APP_MESH_PROCESS_KEY; sleep 1000", shell: true });
  let key = "";
  await eventually(async () => (key = (await client.get_app_output(name)).output.trim()), "the key of the process");
  process.env.APP_MESH_PROCESS_KEY = key;
  process.env.APP_MESH_APPLICATION_NAME = name;
  const work = (async () => {
    for (let turn = 0; turn < 3; turn++) await server.task_return(String(await server.task_fetch()).toUpperCase());
  })();
  for (const text of ["one", "two words", "three"]) assert.equal(String(await client.run_task(name, text, 20)), text.toUpperCase());
  await work;
  assert.equal(await client.delete_app(name), true);
}

const https = new AppMeshClient(url, tls);
await step("https: login", () => https.login("admin", password));
await step("https: file round trip", () => files(https, "https"));
await step("https: worker and run_task", () => tasks(https, new AppMeshServer(url, tls), "interop-js-task"));

await step("tcp: frames of the older kind are refused at once", async () => {
  await assert.rejects(new AppMeshClientTCP(tls, address).login("admin", password), /connection/i);
});
process.exit(0);
