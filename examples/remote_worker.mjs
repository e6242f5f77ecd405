// A worker of Node and no package: it runs four jobs at once, of types `shout` and `visit`, until SIGTERM.
//
//     gotaskq run --no-workers &
//     node examples/remote_worker.mjs http://127.0.0.1:8000
//
// Where the service has tokens, put one with scope `work` in TOKEN. With BURST=1 it ends once no job is due.
import { setTimeout as sleep } from "node:timers/promises";

const service = process.argv[2] ?? "http://127.0.0.1:8000";
const { TOKEN, BURST, WAIT = 10, LEASE = 30, GRACE = 20 } = process.env; // the last three in seconds
const PLACES = 4;

// What runs a job, by its type. It returns the result or throws why there is none; `signal` tells it to end.
const handlers = {
  shout: ({ text }) => text.toUpperCase(),
  async visit({ url }, signal) {
    const page = await fetch(url, { signal });
    if (page.status === 429) throw { snooze: Number(page.headers.get("retry-after")) || 60 };
    return { status: page.status, length: (await page.text()).length };
  },
};

const running = new Map(); // the attempts, and a promise of each one's end
let isStopping = false, isQuiet = false;

// Call the service; null where it is away or busy, after a pause. Throws what it refuses: 409 says the lease is over.
async function call(path, body = {}) {
  const headers = { "content-type": "application/json", ...(TOKEN && { authorization: `Bearer ${TOKEN}` }) };
  const request = { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(30_000) };
  const answer = await fetch(service + path, request).catch(() => null);
  const text = await answer?.text().catch(() => null);
  if (text && answer.ok) return JSON.parse(text);
  if (text && answer.status < 500 && answer.status !== 429) throw new Error(`${answer.status} ${text}`);
  await sleep(1000 * (answer?.headers.get("retry-after") ?? 2));
  return null;
}

// Run one job, and say what came of it until the service has heard: each call may be repeated, a lease is settled once.
async function run({ lease, job }, attempt) {
  const say = async (act, body) => (await call(`/leases/${lease}/${act}`, body)) ?? say(act, body);
  if (isStopping) return say("release"); // the wish was on its way when we were told
  keep(lease, attempt).catch(() => attempt.abort()); // the job is somebody else's by now
  try {
    await say("complete", { result: await handlers[job.type](job.payload, attempt.signal) });
  } catch (error) {
    if (attempt.signal.aborted) await say("release");
    else if (error?.snooze) await say("snooze", { delay: error.snooze });
    else await say("fail", { error: String(error), traceback: error?.stack });
  }
}

// Renew the lease three times in its length, for as long as the attempt runs.
async function keep(lease, attempt) {
  while ((await sleep((LEASE * 1000) / 3, true, { ref: false })) && running.has(attempt)) {
    const answer = await call(`/leases/${lease}/heartbeat`, { lease: Number(LEASE) });
    if (answer?.state === "cancel") attempt.abort();
    if (answer?.state === "quiet") isQuiet = true;
  }
}

// Take no more jobs; those that still run when the grace is over are given back.
function stop() {
  isStopping = true;
  setTimeout(() => running.forEach((_, attempt) => attempt.abort()), GRACE * 1000).unref();
}
process.once("SIGTERM", stop).once("SIGINT", stop); // a second Ctrl-C does not wait

while (!isStopping) {
  const wish = { types: Object.keys(handlers), max: PLACES - running.size, worker: `node-${process.pid}` };
  const taken = await call("/leases", { ...wish, wait: BURST ? 0 : Number(WAIT), lease: Number(LEASE) });
  for (const lent of taken?.leases ?? []) {
    const attempt = new AbortController();
    running.set(attempt, run(lent, attempt).catch(console.error).finally(() => running.delete(attempt)));
  }
  if (BURST && taken?.leases.length === 0) break;
  // A service that drains is asked again when all that runs has ended: another may answer by then.
  while (running.size === PLACES || (isQuiet && running.size > 0)) await Promise.race(running.values());
  isQuiet = false;
}
await Promise.all(running.values());
