// The page of a session: polls pictures and figures, and shows them. It cannot change the session.

import {Plot} from "./plot.js";

const STATUS_MS = 500;
const RETRY_MS = 1000;
const SPAN_S = 60;
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
        const answer = await fetch(`status.json?after=${serial}`);
        if (!answer.ok) throw new Error(answer.statusText);
        showStatus(await answer.json());
      } catch {
        showState("no connection", "bad");
        serial = 0;
        points = [];
      }
    }
    await pause(STATUS_MS);
  }
}

function showState(text, mood) {
  show("state", text);
  by("state").className = `pill ${mood}`;
  by("pictures").className = mood === "good" ? "" : "stale";
  document.title = mood === "good" ? "deepbid-rt" : `${text} – deepbid-rt`;
}

function showStatus(session) {
  if (session.state === "failed") showState("failed", "bad");
  else if (session.source === "lost") showState("microscope lost", "bad");
  else if (session.source === "undescribed") showState("frames without a description", "bad");
  else if (session.source === "stalled") showState("stalled", "warn");
  else if (session.state === "running") showState("running", "good");
  else showState(session.state, "warn");

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
  by("lost").className = lost ? "bad" : "good";
  show("waiting", grouped(session.frames.waiting));
  show("line-phase", number(session.line_phase_px, 2) + (session.aligned_px ? ", moved" : ""));
  const recent = points.filter((point) => point[0] > now - 5).length;
  show("rate", number(recent / Math.min(5, Math.max(1, now - (points[0]?.[0] ?? now))), 1));
  const {total} = session.latency_ms;
  for (const quantile of ["p50", "p99"]) {
    show(quantile, duration(total[quantile]));
  }

  const causes = {...session.lost, "refused frames": session.refused, "bad messages": session.bad_messages};
  table("causes", Object.entries(causes).map(([cause, count]) => [cause, grouped(count), count ? "bad" : ""]));
  table("stages", Object.entries(session.latency_ms).map(
    ([stage, ms]) => [stage, `${number(ms.p50, 1)} / ${number(ms.p99, 1)}`, ""]));
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
