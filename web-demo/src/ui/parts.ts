/** Pieces that several pages use: badges, notices, figures, commands to copy. */

import type { FeedState } from "../bicast/api";
import type { LegState } from "../bicast/leg-state";
import type { BicastError } from "../bicast/problem";
import { h, ICONS, icon, setText } from "./dom";

const STATE_WORDS: Readonly<Record<FeedState | LegState, string>> = {
  starting: "Starting",
  live: "Live",
  offline: "Offline",
  ended: "Ended",
  idle: "Stopped",
  connecting: "Connecting",
  waiting: "Waiting",
  stalled: "Stalled",
  retrying: "Retrying",
  failed: "Failed",
};

/** A state as a coloured word. `update` changes it. */
export function badge(
  state: FeedState | LegState,
): HTMLElement & { update(state: FeedState | LegState): void } {
  const element = h("span", { class: "badge", role: "status" });
  const update = (next: FeedState | LegState) => {
    element.dataset.state = next;
    setText(element, STATE_WORDS[next]);
  };
  update(state);
  return Object.assign(element, { update });
}

/** A boxed sentence: `warning` needs somebody to act, `info` does not, `error` says what failed. */
export function notice(kind: "info" | "warning" | "error", title: string | null, text: string): HTMLElement {
  return h(
    "div",
    { class: `notice ${kind}`, role: kind === "error" ? "alert" : "note" },
    icon(kind === "info" ? ICONS.info : ICONS.warning),
    h("p", {}, title === null ? null : h("strong", {}, `${title}. `), text),
  );
}

/** An error in its own words, with the next step. */
export function problemNotice(error: BicastError, kind: "error" | "info" = "error"): HTMLElement {
  const { title, detail, hint } = error.problem;
  return notice(kind, title, [detail, hint].filter(Boolean).join(" "));
}

/** A list of named figures. `set` writes one; its cell is found by `data-testid`. */
export function figures<K extends string>(
  prefix: string,
  names: Readonly<Record<K, string>>,
): HTMLElement & { set(key: K, value: string): void } {
  const cells = new Map<K, HTMLElement>();
  const element = h("dl", { class: "figures" });
  for (const key of Object.keys(names) as K[]) {
    const cell = h("dd", { "data-testid": `${prefix}-${key}` }, "–");
    cells.set(key, cell);
    element.append(h("div", {}, h("dt", {}, names[key]), cell));
  }
  return Object.assign(element, {
    set(key: K, value: string) {
      const cell = cells.get(key);
      if (cell) setText(cell, value);
    },
  });
}

/** A command with a button that copies it. */
export function command(label: string, text: string, note: string | null = null): HTMLElement {
  const button = h(
    "button",
    { class: "icon-button", type: "button", "aria-label": `Copy: ${label}`, title: "Copy" },
    icon(ICONS.copy),
  );
  const said = h("span", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  const code = h("code", { tabindex: 0 }, text);
  button.addEventListener("click", async () => {
    const done = await copy(text, code);
    button.replaceChildren(icon(done ? ICONS.check : ICONS.copy));
    setText(said, done ? "Copied" : "Selected: press Ctrl+C to copy");
    setTimeout(() => button.replaceChildren(icon(ICONS.copy)), 1_500);
  });
  return h(
    "div",
    { class: "command" },
    h(
      "p",
      { class: "command-label" },
      h("strong", {}, label),
      note === null ? null : h("span", {}, ` ${note}`),
    ),
    h("div", { class: "command-box" }, code, button, said),
  );
}

/** The clipboard needs a secure context; elsewhere the text is selected for the user to copy. */
async function copy(text: string, code: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(code);
    return false;
  }
}
