/** "Spoil my network": what one viewer's line does, as buttons and sliders. */

import type { Network } from "../../rest/lines-wire";
import { h, setText } from "../../ui/dom";
import * as format from "../../ui/format";
import type { LineKeeper } from "./line-keeper";
import {
  networkWords,
  PRESETS,
  percent,
  presetOf,
  RATES,
  rateStop,
  rateWords,
  tcpWords,
  tooSlowWords,
} from "./presets";

interface Slider {
  readonly element: HTMLElement;
  show(network: Network): void;
}

/** The controls of one line. */
export class NetworkPanel {
  readonly element: HTMLElement;
  readonly #buttons: readonly HTMLButtonElement[];
  readonly #words = h("p", { class: "net-words", role: "status" });
  readonly #tcp = h("p", { class: "muted small" });
  readonly #slow = h("p", { class: "net-slow small" });
  #needed: number | null = null;
  readonly #passed: HTMLElement;
  readonly #problem = h("p", { class: "net-problem small", role: "alert" });
  readonly #fields: HTMLFieldSetElement;
  readonly #sliders: readonly Slider[];
  readonly #udp = h("input", { type: "checkbox", role: "switch" });

  constructor(
    private readonly keeper: LineKeeper,
    who: string,
  ) {
    this.#passed = h("p", { class: "muted small passed", "data-testid": `passed-${who}` });
    this.#buttons = PRESETS.map(({ id, name, network }) => {
      const button = h(
        "button",
        {
          type: "button",
          class: "preset",
          title: networkWords(network),
          "aria-pressed": "false",
          "data-testid": `preset-${who}-${id}`,
        },
        name,
      );
      button.addEventListener("click", () => keeper.set(network));
      return button;
    });
    const slide = (name: string, most: number, step: number, unit: SliderUnit) =>
      slider(`${who}-${unit.key}`, name, most, step, unit, (change) =>
        keeper.set({ ...keeper.network, ...change }),
      );
    this.#sliders = [
      slide("Loss, each way", 60, 1, {
        key: "loss",
        of: ({ lossRatio }) => Math.round(lossRatio * 100),
        to: (value) => ({ lossRatio: value / 100 }),
        words: ({ lossRatio }) => percent(lossRatio),
      }),
      slide("Delay, each way", 1_000, 10, {
        key: "delay",
        of: ({ delayMs }) => delayMs,
        to: (value) => ({ delayMs: value }),
        words: ({ delayMs }) => `${delayMs} ms`,
      }),
      slide("Jitter (UDP)", 500, 10, {
        key: "jitter",
        of: ({ jitterMs }) => jitterMs,
        to: (value) => ({ jitterMs: value }),
        words: ({ jitterMs }) => `${jitterMs} ms`,
      }),
      slide("Rate to the viewer", RATES.length - 1, 1, {
        key: "rate",
        of: ({ rateKbps }) => rateStop(rateKbps),
        to: (value) => ({ rateKbps: RATES[value] ?? null }),
        words: ({ rateKbps }) => rateWords(rateKbps),
      }),
    ];
    this.#udp.dataset.testid = `${who}-udp`;
    this.#udp.addEventListener("change", () => keeper.set({ ...keeper.network, udp: this.#udp.checked }));
    const switcher = h("label", { class: "switch" }, this.#udp, h("span", {}, "UDP passes"));
    this.#fields = h(
      "fieldset",
      { class: "net-fields" },
      h("div", { class: "presets", role: "group", "aria-label": `Network of ${who}` }, ...this.#buttons),
      this.#words,
      this.#tcp,
      this.#slow,
      h(
        "details",
        {},
        h("summary", { "data-testid": `sliders-${who}` }, "Fine tuning"),
        h("div", { class: "sliders" }, ...this.#sliders.map((one) => one.element), switcher),
      ),
      this.#passed,
    );
    this.element = h(
      "section",
      { class: "network", "data-testid": `network-${who}`, "aria-label": "Spoil this viewer's network" },
      h("h3", {}, "Spoil this network"),
      this.#fields,
      this.#problem,
    );
    keeper.on("change", () => this.refresh());
    this.refresh();
  }

  /** What the feed has at least, in kbit/s. */
  set needed(kbps: number | null) {
    this.#needed = kbps;
    this.refresh();
  }

  /** Shows the line as it is. */
  refresh(): void {
    const { network, state, line, problem } = this.keeper;
    const preset = presetOf(network);
    this.#buttons.forEach((button, index) => {
      button.ariaPressed = String(PRESETS[index] === preset);
    });
    this.#fields.disabled = state !== "open";
    for (const one of this.#sliders) one.show(network);
    this.#udp.checked = network.udp;
    setText(this.#words, networkWords(network));
    const tcp = tcpWords(network);
    setText(this.#tcp, tcp ?? "");
    this.#tcp.hidden = tcp === null;
    const slow = tooSlowWords(network, this.#needed);
    setText(this.#slow, slow ?? "");
    this.#slow.hidden = slow === null;
    setText(this.#passed, line === null ? "" : passedWords(line.passed));
    this.#passed.hidden = line === null;
    const told =
      state === "off" || problem === null ? "" : [problem.problem.detail, problem.problem.hint].join(" ");
    setText(this.#problem, told);
    this.#problem.hidden = told === "";
    this.element.hidden = state === "off";
  }
}

function passedWords({ toViewer, fromViewer }: NonNullable<LineKeeper["line"]>["passed"]): string {
  const all = toViewer.udpPackets + toViewer.udpDropped;
  const dropped = all > 0 ? `, ${format.count(toViewer.udpDropped)} lost` : "";
  const held = toViewer.tcpHeld + fromViewer.tcpHeld;
  const waited = held > 0 ? `, waited ${format.count(held)} times` : "";
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  return `Passed so far: ${format.count(toViewer.udpPackets)} UDP packets${dropped}; ${megabytes(toViewer.tcpBytes)} over TCP${waited}.`;
}

interface SliderUnit {
  readonly key: string;
  readonly of: (network: Network) => number;
  readonly to: (value: number) => Partial<Network>;
  readonly words: (network: Network) => string;
}

function slider(
  testid: string,
  name: string,
  most: number,
  step: number,
  unit: SliderUnit,
  onChange: (change: Partial<Network>) => void,
): Slider {
  const input = h("input", { type: "range", min: 0, max: most, step, value: 0, "data-testid": testid });
  const value = h("output", {});
  input.addEventListener("input", () => onChange(unit.to(Number(input.value))));
  return {
    element: h("label", { class: "slider" }, h("span", {}, name), value, input),
    show(network) {
      const at = String(unit.of(network));
      if (input.value !== at) input.value = at;
      setText(value, unit.words(network));
      input.setAttribute("aria-valuetext", unit.words(network));
    },
  };
}
