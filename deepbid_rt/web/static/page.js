// The page of a session: polls pictures and figures, and shows them. It cannot change the session.

import {Plot} from "./plot.js";

const STATUS_MS = 500;
const RETRY_MS = 1000;
const SPAN_S = 60;
const AGE_MS = 250;
const ROUND_TRIPS = 20;
const NO_ACCESS = [401, 429];
const WARNINGS = ["disk", "picture", "clock"];
const MOTION_STATUSES = ["tracked", "held", "foreign", "restarted"];

const by = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
const show = (id, text) => { if (by(id).textContent !== text) by(id).textContent = text; };
const number = (value, digits = 0) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const grouped = (value) => value.toLocaleString("en");

const latency = new Plot(by("latency"), [{color: "--trace", of: (point) => point[1]}], false);
const motion = new Plot(by("motion"), [
  {color: "--dy", of: (point) => point[2]},
  {color: "--dx", of: (point) => point[3]},
], true);

const choice = {plane: 0, channel: 0};
let points = [];
let serial = 0;
// The last answer of the session; null while there is none.
let session = null;
// The picture on the screen: when its frame arrived at the session, on the session's clock; null before the first.
let arrivedMs = null;
// How far the session's clock is ahead of this browser's, with the time that each request took: [ahead, round trip].
let clocks = [];

async function pollPictures() {
  let after = 0;
  let requested = "";
  for (;;) {
    // Browsers do not call this for hidden pages, so these send no requests.
    await new Promise(requestAnimationFrame);
    const wanted = `plane=${choice.plane}&channel=${choice.channel}`;
    if (wanted !== requested) after = 0;
    requested = wanted;
    try {
      const answer = await fetch(`picture.jpg?${wanted}&after=${after}`);
      if (answer.status === 204) continue;
      if (answer.status === 503) show("frame", "too many browsers show this page");
      if (!answer.ok) throw new Error(answer.statusText);
      const bitmap = await createImageBitmap(await answer.blob());
      after = Number(answer.headers.get("X-Serial"));
      paint(bitmap, answer.headers);
      bitmap.close();
    } catch {
      after = 0;
      await pause(RETRY_MS);
    }
  }
}

function paint(bitmap, facts) {
  const width = bitmap.width / 2;
  ["raw", "denoised"].forEach((id, side) => {
    const canvas = by(id);
    if (canvas.width !== width || canvas.height !== bitmap.height) {
      canvas.width = width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, -side * width, 0);
  });
  const raw = facts.get("X-Not-Denoised") === "1";
  show("title", raw ? "NOT DENOISED: raw" : "denoised");
  by("title").className = raw ? "bad" : "";
  arrivedMs = Number(facts.get("X-Arrived-Ms"));
  const frame = facts.get("X-Frame");
  show("frame", `frame ${grouped(Number(frame))}`);
  by("denoised").dataset.frame = frame;
  const limits = ["X-Black", "X-White"].map((key) => number(Number(facts.get(key)), 0));
  show("levels", `black to white: ${limits.join(" to ")} counts, the same on both sides`);
}

async function pollStatus() {
  for (;;) {
    if (!document.hidden) {
      try {
        const asked = performance.now();
        const answer = await fetch(`status.json?after=${serial}&plane=${choice.plane}`);
        if (!answer.ok) throw new Error(NO_ACCESS.includes(answer.status) ? "no access: open the address with the token" : "");
        session = await answer.json();
        compareClocks(session.now_ms, asked, performance.now());
        showStatus();
      } catch (error) {
        session = null;
        showAlarms([]);
        showHealth(error.message.startsWith("no access") ? error.message : "no connection", "bad");
        serial = 0;
        points = [];
      }
    }
    await pause(STATUS_MS);
  }
}

// The answer was made at some time between the two: the shorter the round trip, the better the estimate.
function compareClocks(sessionMs, asked, answered) {
  clocks.push([sessionMs - (asked + answered) / 2, answered - asked]);
  clocks = clocks.slice(-ROUND_TRIPS);
}

function ageOfPicture() {
  if (arrivedMs === null || !clocks.length) return null;
  const [ahead] = clocks.reduce((best, each) => (each[1] < best[1] ? each : best));
  return Math.max(0, performance.now() + ahead - arrivedMs);
}

function showHealth(text, tone) {
  show("state", text);
  by("state").className = `pill ${tone}`;
  document.body.dataset.tone = tone;
  document.title = tone === "good" ? "deepbid-rt" : `${text} – deepbid-rt`;
}

// Runs between the answers of the session as well, so that a picture ages when nothing arrives any more.
function showAge() {
  const age = ageOfPicture();
  const limits = session?.picture;
  const late = age !== null && (!limits || age > limits.late_ms);
  const frozen = age !== null && (!limits || age > limits.frozen_ms);
  show("age", duration(age));
  by("age").className = frozen ? "bad" : late ? "warn" : "";
  by("pictures").className = frozen ? "stale" : "";
  by("frozen").hidden = !frozen;
  show("frozen", frozen ? `NOT LIVE: ${duration(age)} old` : "");
  if (!session) return;
  const {text, tone} = session.headline;
  if (tone !== "good" || !late) showHealth(text, tone);
  else showHealth(frozen ? "no new picture" : "picture is late", frozen ? "bad" : "warn");
}

async function pollAge() {
  for (;;) {
    showAge();
    await pause(AGE_MS);
  }
}

function showAlarms(alarms) {
  by("alarms").hidden = !alarms.length;
  const shown = JSON.stringify(alarms);
  if (by("alarms").dataset.shown === shown) return;
  by("alarms").dataset.shown = shown;
  by("alarms").replaceChildren(...alarms.map(({kind, text}) => {
    const item = document.createElement("li");
    item.className = WARNINGS.includes(kind) ? "warn" : "bad";
    item.append(Object.assign(document.createElement("b"), {textContent: kind}), " ", text);
    return item;
  }));
}

function showStatus() {
  showAlarms(session.alarms);
  showAge();
  const good = document.body.dataset.tone === "good";

  const {engine, runtime} = session;
  show("engine", runtime.startsWith(engine) ? runtime : `${engine} · ${runtime}`);
  const {stream} = session;
  if (stream) {
    const [channels, lines, pixels] = stream.shape;
    show("geometry", `${pixels} × ${lines} at ${number(stream.rate_hz, 1)} Hz`);
    show("delay", `${stream.delay_frames} frames`);
    showChoices("plane", stream.planes);
    showChoices("channel", channels);
  }
  points = points.concat(session.points);
  serial = session.serial;
  const now = Date.now() / 1000;
  points = points.filter((point) => point[0] > now - SPAN_S - 2);

  const lost = Object.values(session.lost).reduce((sum, count) => sum + count, 0);
  show("in", grouped(session.frames.in));
  show("out", grouped(session.frames.out));
  show("lost", grouped(lost));
  by("lost").className = lost ? "bad" : good ? "good" : "";
  show("source", session.source);
  by("source").className = session.source === "live" ? "" : "warn";
  show("waiting", grouped(session.frames.waiting));
  const count = session.peers === null ? "–" : grouped(session.peers);
  show("peers", session.unprotected ? `${count}, unprotected` : count);
  by("peers").className = session.unprotected ? "warn" : "";
  by("peers").title = session.unprotected;
  show("line-phase", number(session.line_phase_px, 2) + (session.aligned_px ? ", moved" : ""));
  const recent = points.filter((point) => point[0] > now - 5).length;
  show("rate", number(recent / Math.min(5, Math.max(1, now - (points[0]?.[0] ?? now))), 1));
  for (const quantile of ["p50", "p99"]) {
    const value = session.latency_ms.total?.[quantile] ?? null;
    show(quantile, value === null && session.frames.out ? "unknown" : duration(value));
  }

  const refused = Object.entries(session.refused_by_cause).filter(([, count]) => count)
    .map(([cause, count]) => [`refused: ${cause}`, count]);
  const causes = {...session.lost, ...Object.fromEntries(refused), "bad messages": session.bad_messages};
  table("causes", Object.entries(causes).map(([cause, count]) => [cause, grouped(count), count ? "bad" : ""])
    .concat([["duplicates, dropped", grouped(session.duplicates), ""]]));
  table("stages", Object.entries(session.latency_ms).map(
    ([stage, ms]) => [stage, ms.p50 === null ? (session.frames.out ? "unknown" : "–") : `${number(ms.p50, 1)} / ${number(ms.p99, 1)}`, ""]));
  by("motion-card").hidden = !session.motion;
  by("motion-status").parentElement.hidden = !session.motion;
  if (session.motion) {
    table("motion-status", MOTION_STATUSES.map((name) => [name, grouped(session.motion[name]), ""]));
    motion.draw(points, now);
  }
  latency.draw(points, now);
  by("recordings").replaceChildren(...(session.recordings.length ? session.recordings : ["nothing is recorded"])
    .map((path) => Object.assign(document.createElement("li"), {textContent: path})));
}

function duration(ms) {
  if (ms === null) return "–";
  return ms < 1000 ? `${number(ms, ms < 10 ? 1 : 0)} ms` : `${number(ms / 1000, 1)} s`;
}

function table(id, rows) {
  const cells = rows.map(([name, value, mood]) => {
    const row = document.createElement("tr");
    row.append(...[name, value].map((text) => Object.assign(document.createElement("td"), {textContent: text})));
    row.lastChild.className = mood;
    return row;
  });
  by(id).replaceChildren(...cells);
}

// Shows a list of planes or channels, unless there is only one.
function showChoices(kind, count) {
  const current = by(`${kind}-choice`);
  if ((current?.options.length ?? 1) === count) return;
  current?.parentElement.remove();
  choice[kind] = 0;
  if (count < 2) return;
  const label = Object.assign(document.createElement("label"), {textContent: `${kind} `});
  const list = Object.assign(document.createElement("select"), {id: `${kind}-choice`});
  for (let n = 0; n < count; n++) list.add(new Option(String(n)));
  list.addEventListener("change", () => { choice[kind] = list.selectedIndex; });
  label.append(list);
  by("choices").append(label);
}

pollPictures();
pollStatus();
pollAge();
