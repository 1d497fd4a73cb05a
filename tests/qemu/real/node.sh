# node: the event loop, a server with its client, worker threads, child processes, files, promises. Each start of node costs more than
# what is done in it, so that there are few.
node -e 'console.log([1, 2, 3].map((x) => x * x), process.argv.length, 2n ** 70n); setImmediate(() => { console.log("immediate"); setTimeout(() => console.log("timeout"), 20) }); process.nextTick(() => console.log("tick")); Promise.resolve().then(() => console.log("promise")); console.log("now")'
cat > server.mjs <<'END'
import http from "node:http";
import fs from "node:fs";
import crypto from "node:crypto";
import zlib from "node:zlib";
const server = http.createServer((q, r) => { let n = 0; q.on("data", (d) => (n += d.length)); q.on("end", () => r.end(`${q.method} ${q.url} ${n}`)); });
// On a busy machine the pauses between requests, and within them, are long: no clock of the server's closes a connection.
server.keepAliveTimeout = 600000; server.headersTimeout = 0; server.requestTimeout = 0;
await new Promise((ok) => server.listen(0, "127.0.0.1", ok));
const base = `http://127.0.0.1:${server.address().port}`;
console.log(await (await fetch(base + "/a")).text());
console.log(await (await fetch(base + "/b", { method: "POST", body: "x".repeat(200000) })).text());
console.log((await Promise.all([1, 2, 3, 4].map((i) => fetch(`${base}/${i}`).then((r) => r.text())))).join());
server.close(); server.closeAllConnections();
fs.mkdirSync("d"); fs.writeFileSync("d/f", "text");
console.log(await fs.promises.readFile("d/f", "utf8"), fs.readdirSync("d"), fs.statSync("d/f").size);
await fs.promises.rm("d", { recursive: true }); console.log(fs.existsSync("d"));
console.log(crypto.createHash("sha256").update("x").digest("hex"), zlib.gunzipSync(zlib.gzipSync("zipped")).toString());
crypto.scrypt("a", "b", 8, (e, k) => console.log(k.toString("hex")));
END
node server.mjs
node -e 'const { Worker } = require("worker_threads"); const w = [1, 2, 3].map((i) => new Promise((ok) => new Worker("const { parentPort, workerData } = require(\"worker_threads\"); let s = 0; for (let i = 0; i < 1e5; i++) s += i % workerData; parentPort.postMessage(s)", { eval: true, workerData: i }).on("message", ok))); Promise.all(w).then((r) => console.log(r.join(" "))); const c = require("child_process"); console.log(c.execSync("echo from a shell").toString().trim()); const p = c.spawn("cat"); p.stdout.on("data", (d) => console.log("cat:", d.toString())); p.on("close", (code) => console.log("closed", code)); p.stdin.end("input"); const f = c.spawn(process.execPath, ["-e", "process.send(7)"], { stdio: ["ignore", 1, 2, "ipc"] }).on("message", (m) => console.log("message", m)); c.exec("exit 3", (e) => console.log("exit", e.code));' | sort
node -e 'process.on("SIGUSR2", () => { console.log("signal"); clearInterval(t); process.exitCode = 5 }); const t = setInterval(() => {}, 1000); process.kill(process.pid, "SIGUSR2")'; echo $?
node -e 'throw new Error("thrown")' 2>/dev/null; echo $?
