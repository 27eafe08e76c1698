/** Room on the realtime path: what is used of which limit, and a form that changes the limits. */

import { type BicastError, toBicastError } from "../../bicast/problem";
import type { Admission, Limits } from "../../rest/operator-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import { problemNotice } from "../../ui/parts";
import { shareOf } from "./history";

type Limited = "viewers" | "egress_bps" | "packets_per_second" | "cpu_share";

interface Meter {
  readonly key: Limited;
  readonly name: string;
  /** Of the form's unit, how much one of the API's is. */
  readonly scale: number;
  readonly unit: string;
  readonly least: number;
  readonly most: number;
  readonly used: (admission: Admission) => number | null;
  readonly words: (value: number | null) => string;
}

const share = (value: number | null) => (value === null ? "–" : `${Math.round(value * 100)} %`);

const METERS: readonly Meter[] = [
  {
    key: "viewers",
    name: "Viewers",
    scale: 1,
    unit: "",
    least: 1,
    most: 1_000_000,
    used: ({ slots }) => slots,
    words: format.count,
  },
  {
    key: "egress_bps",
    name: "Sent",
    scale: 1e-6,
    unit: "Mbit/s",
    least: 0.1,
    most: 1_000_000,
    used: ({ used }) => used.egressBps,
    words: format.bitrate,
  },
  {
    key: "packets_per_second",
    name: "Packets",
    scale: 1,
    unit: "packets/s",
    least: 100,
    most: 1e9,
    used: ({ used }) => used.packetsPerSecond,
    words: (value) => `${format.count(value)}/s`,
  },
  {
    key: "cpu_share",
    name: "CPU",
    scale: 100,
    unit: "% of all cores",
    least: 1,
    most: 100,
    used: ({ used }) => used.cpuShare,
    words: share,
  },
];

/** Meters and form. */
export class CapacityPanel {
  readonly element: HTMLElement;
  readonly #meters = METERS.map((meter) => new MeterRow(meter));
  readonly #waiting = h("p", { class: "muted" });
  readonly #form: HTMLFormElement;
  readonly #inputs = new Map<Limited, HTMLInputElement>();
  readonly #said = h("div", { role: "status" });
  readonly #save = h(
    "button",
    { class: "button primary", type: "submit", "data-testid": "limits-save" },
    "Set limits",
  );
  #limits: Limits | null = null;
  #dirty = false;

  constructor(private readonly save: (limits: Limits) => Promise<Admission>) {
    const fields = METERS.map(({ key, name, unit, least, most }) => {
      const input = h("input", {
        type: "number",
        min: least,
        max: most,
        step: "any",
        placeholder: "no limit",
        inputmode: "decimal",
        "data-testid": `limit-${key}`,
      });
      this.#inputs.set(key, input);
      return h("label", { class: "field" }, h("span", {}, unit === "" ? name : `${name}, ${unit}`), input);
    });
    this.#form = h(
      "form",
      { class: "limits" },
      ...fields,
      h(
        "p",
        { class: "muted small" },
        "An empty field is no limit. It holds until the server's next start; the configuration holds from then on.",
      ),
      h("div", { class: "actions" }, this.#save),
      this.#said,
    );
    this.#form.addEventListener("input", () => {
      this.#dirty = true;
      this.#said.replaceChildren();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.element = h(
      "section",
      { class: "card", "aria-labelledby": "capacity-title", "data-testid": "capacity" },
      h("div", { class: "card-head" }, h("h2", { id: "capacity-title" }, "Room on the WebRTC path")),
      h("div", { class: "meters" }, ...this.#meters.map((meter) => meter.element)),
      this.#waiting,
      h(
        "details",
        { class: "edit" },
        h("summary", { "data-testid": "limits-edit" }, "Change the limits"),
        this.#form,
      ),
    );
  }

  /** Shows what is used. What somebody is typing stays. */
  show(admission: Admission): void {
    this.#limits = admission.limits;
    for (const meter of this.#meters) meter.show(admission);
    const { waiting, offered, shortage } = admission;
    const why = shortage === null ? "" : ` for ${SHORTAGES[shortage] ?? shortage}`;
    setText(
      this.#waiting,
      waiting === 0 && offered === 0
        ? "Nobody waits for a place."
        : `${format.count(waiting)} wait${waiting === 1 ? "s" : ""}${why}; ${format.count(offered)} ${offered === 1 ? "is" : "are"} offered a place.`,
    );
    if (this.#dirty) return;
    for (const { key, scale } of METERS) {
      const limit = admission.limits[key];
      const input = this.#inputs.get(key) as HTMLInputElement;
      const value = limit === null ? "" : String(Number((limit * scale).toPrecision(12)));
      if (input.value !== value) input.value = value;
    }
  }

  async #submit(): Promise<void> {
    if (this.#limits === null) return;
    const wanted = { ...this.#limits } as { -readonly [K in keyof Limits]: Limits[K] };
    for (const { key, scale } of METERS) {
      const { value } = this.#inputs.get(key) as HTMLInputElement;
      const limit = value === "" ? null : Number(value) / scale;
      // All but the share of cores are whole numbers.
      wanted[key] = limit === null || key === "cpu_share" ? limit : Math.round(limit);
    }
    this.#save.disabled = true;
    try {
      const admission = await this.save(wanted);
      this.#dirty = false;
      this.show(admission);
      this.#said.replaceChildren(h("p", { class: "good" }, "The limits hold now."));
    } catch (thrown) {
      const error: BicastError = toBicastError(thrown);
      this.#said.replaceChildren(problemNotice(error));
    } finally {
      this.#save.disabled = false;
    }
  }
}

const SHORTAGES: Readonly<Record<string, string>> = {
  bitrate: "bits per second",
  "packet-rate": "packets per second",
  cpu: "CPU",
  count: "a viewer's place",
};

class MeterRow {
  readonly element: HTMLElement;
  readonly #bar = h("i", {});
  readonly #track: HTMLElement;
  readonly #value = h("span", { class: "num" });

  constructor(private readonly meter: Meter) {
    this.#track = h("span", { class: "meter-track" }, this.#bar);
    this.element = h(
      "div",
      { class: "meter", "data-testid": `meter-${meter.key}` },
      h("span", { class: "meter-head" }, h("span", {}, meter.name), this.#value),
      this.#track,
    );
  }

  show(admission: Admission): void {
    const { key, used, words } = this.meter;
    const limit = admission.limits[key];
    const part = shareOf(used(admission), limit);
    setText(this.#value, `${words(used(admission))}${limit === null ? ", no limit" : ` of ${words(limit)}`}`);
    this.#bar.style.width = `${(part ?? 0) * 100}%`;
    this.element.dataset.level =
      part === null ? "none" : part > 0.95 ? "full" : part > 0.75 ? "high" : "fine";
  }
}
