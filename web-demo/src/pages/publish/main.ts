/** The publish page: camera, screen or a test picture as a feed, with what the sender measures. */

import { BicastApi } from "../../bicast/api";
import { type BicastError, toBicastError } from "../../bicast/problem";
import { webRtcMissing } from "../../bicast/rtc-link";
import { listStats, type RtcStat } from "../../bicast/rtc-stats";
import { localNow, ServerClock } from "../../bicast/server-clock";
import { WhipClient } from "../../bicast/whip";
import { byId, h, setText } from "../../ui/dom";
import { badge, problemNotice } from "../../ui/parts";
import { openShell } from "../../ui/shell";
import { type Choice, PublishForm } from "./form";
import { SenderView } from "./sender-view";
import { openSource, type Source } from "./sources";

const STATS_EVERY_MS = 1_000;

openShell("publish");
const api = new BicastApi(new URL(".", location.href).href);
const clock = new ServerClock(api);
clock.start();

const state = badge("idle");
const said = h("p", { class: "lead", role: "status", "aria-live": "polite", "data-testid": "publish-said" });
const trouble = h("div", { class: "notices", "data-testid": "publish-trouble" });
const start = h(
  "button",
  { class: "button primary", type: "submit", "data-testid": "publish-start" },
  "Start",
);
const stop = h(
  "button",
  { class: "button stop", type: "button", hidden: true, "data-testid": "publish-stop" },
  "Stop",
);
const watch = h("a", { class: "button", hidden: true, "data-testid": "publish-watch" }, "Watch it");
const view = new SenderView();
const form = new PublishForm(
  new URLSearchParams(location.search).get("feed") ?? "demo",
  h("div", { class: "actions" }, start, stop, watch),
  (choice) => void begin(choice),
);
stop.addEventListener("click", () => end());
form.element.addEventListener("change", () => {
  if (form.bitrateBps !== null) void sending?.client.setMaxBitrate(form.bitrateBps);
});

byId("main").append(
  h("div", {}, h("div", { class: "title-row" }, h("h1", {}, "Publish"), state), said),
  trouble,
  h(
    "div",
    { class: "publish" },
    h("div", { class: "stack" }, view.picture, view.numbers),
    h("section", { class: "card", "aria-label": "What to send" }, form.element),
  ),
);
const missing = webRtcMissing();
if (missing) {
  fail(missing);
  start.disabled = true;
}
idle("Sends by WHIP. Viewers see it over WebRTC and LL-HLS a moment later.");

interface Sending {
  readonly client: WhipClient;
  readonly source: Source;
  readonly timer: ReturnType<typeof setInterval>;
}
let sending: Sending | null = null;

async function begin(choice: Choice): Promise<void> {
  if (sending) return;
  trouble.replaceChildren();
  start.disabled = true;
  let source: Source;
  try {
    source = await openSource({ ...choice, now: () => clock.now() ?? localNow() });
  } catch (thrown) {
    fail(toBicastError(thrown));
    start.disabled = false;
    return;
  }
  void form.refreshDevices();
  view.show(source.stream, choice.picture === "camera");
  const client = new WhipClient(
    { url: () => api.url(`whip/${encodeURIComponent(choice.feed)}`), token: choice.token || null },
    source.stream,
    { maxBitrateBps: choice.bitrateBps, maxFramerate: choice.fps },
  );
  client.on("state", () => follow(client, choice));
  source.onEnded = () => {
    end();
    setText(said, "The source ended, so sending stopped.");
  };
  const timer = setInterval(() => void measure(client), STATS_EVERY_MS);
  sending = { client, source, timer };
  form.lock(true);
  start.hidden = true;
  stop.hidden = false;
  watch.href = `./watch.html?feed=${encodeURIComponent(choice.feed)}`;
  watch.target = "_blank";
  client.start();
}

function follow(client: WhipClient, choice: Choice): void {
  if (sending?.client !== client) return;
  watch.hidden = client.state !== "connected";
  switch (client.state) {
    case "connecting":
      state.update("connecting");
      setText(said, `Connecting to feed “${choice.feed}”…`);
      break;
    case "connected":
      state.update("live");
      setText(said, `Feed “${choice.feed}” is live.`);
      trouble.replaceChildren();
      break;
    case "retrying":
      state.update("retrying");
      setText(said, "The connection was lost. Trying again by itself…");
      if (client.problem) fail(client.problem);
      break;
    case "failed":
    case "ended":
      if (client.problem) fail(client.problem);
      end();
      state.update("failed");
      setText(said, "Sending did not start.");
      break;
    case "idle":
      break;
  }
}

/** Stops sending and lets go of camera and microphone. */
function end(): void {
  if (!sending) return;
  const { client, source, timer } = sending;
  sending = null;
  clearInterval(timer);
  client.stop();
  source.stop();
  view.clear();
  before = null;
  idle("Stopped. The feed stays for a while, in case you come back.");
}

function idle(text: string): void {
  state.update("idle");
  setText(said, text);
  form.lock(false);
  start.hidden = false;
  start.disabled = missing !== null;
  stop.hidden = true;
  watch.hidden = true;
}

function fail(error: BicastError): void {
  trouble.replaceChildren(problemNotice(error));
}

let before: RtcStat[] | null = null;
async function measure(client: WhipClient): Promise<void> {
  const { peer } = client;
  if (peer === null || client.state !== "connected") {
    before = null;
    view.gap();
    return;
  }
  const report = listStats(await peer.getStats());
  if (sending?.client !== client) return;
  view.update(report, before);
  before = report;
}
