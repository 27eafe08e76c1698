/** What to send and how: the form of the publish page. */

import { h } from "../../ui/dom";
import { notice } from "../../ui/parts";
import { canCapture, type PictureKind, type SoundKind } from "./sources";

/** What the form says. */
export interface Choice {
  readonly feed: string;
  readonly token: string;
  readonly picture: PictureKind;
  readonly sound: SoundKind;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly bitrateBps: number;
  readonly cameraId: string;
  readonly microphoneId: string;
}

const SIZES: readonly (readonly [string, number, number])[] = [
  ["1080p", 1920, 1080],
  ["720p", 1280, 720],
  ["540p", 960, 540],
  ["360p", 640, 360],
];

/** The form; it reports a choice when it is valid and sent. */
export class PublishForm {
  readonly element: HTMLFormElement;
  readonly #feed = h("input", {
    name: "feed",
    required: true,
    maxlength: 64,
    pattern: "[A-Za-z0-9_\\-][A-Za-z0-9_.\\-]*",
    title: "1 to 64 of A-Z a-z 0-9 - _ . and no dot at the beginning",
    autocomplete: "off",
    spellcheck: "false",
    "data-testid": "feed-input",
  });
  readonly #token = h("input", { name: "token", type: "password", autocomplete: "off" });
  readonly #size = select(
    "size",
    SIZES.map(([name]) => [name, name]),
    "720p",
  );
  readonly #fps = select(
    "fps",
    ["60", "30", "25", "24", "15"].map((fps) => [fps, fps]),
    "30",
  );
  readonly #bitrate = h("input", {
    name: "bitrate",
    type: "number",
    min: 100,
    max: 20000,
    step: 100,
    value: 2500,
    required: true,
  });
  readonly #camera = select("camera", [["", "Default"]], "");
  readonly #microphone = select("microphone", [["", "Default"]], "");
  readonly #cameraField = field("Camera", this.#camera);
  readonly #microphoneField = field("Microphone", this.#microphone);

  constructor(feed: string, buttons: HTMLElement, onStart: (choice: Choice) => void) {
    this.#feed.value = feed;
    const capture = canCapture();
    const pictures = radios(
      "picture",
      [
        ["canvas", "Test picture"],
        ["camera", "Camera", !capture],
        ["screen", "Screen", !capture],
      ],
      "canvas",
    );
    const sounds = radios(
      "sound",
      [
        ["tone", "Beep"],
        ["microphone", "Microphone", !capture],
        ["none", "None"],
      ],
      "tone",
    );
    this.element = h(
      "form",
      { class: "form", "data-testid": "publish-form" },
      field("Feed", this.#feed, "The name in its address. Viewers find it in the feed list."),
      h("fieldset", {}, h("legend", {}, "Picture"), pictures),
      this.#cameraField,
      h("fieldset", {}, h("legend", {}, "Sound"), sounds),
      this.#microphoneField,
      capture
        ? null
        : notice(
            "info",
            "Camera and screen are off",
            "Browsers offer them only to https pages and to localhost. The test picture works here.",
          ),
      h(
        "div",
        { class: "row" },
        field("Size", this.#size),
        field("Frame rate", this.#fps),
        field("Max. kbit/s", this.#bitrate),
      ),
      h(
        "details",
        {},
        h("summary", {}, "Server with a token"),
        field("Token", this.#token, "Sent as a bearer token; leave it empty for an open server."),
      ),
      buttons,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      onStart(this.#choice());
    });
    this.element.addEventListener("change", () => this.#arrange());
    if (capture) {
      void this.refreshDevices();
      navigator.mediaDevices.addEventListener("devicechange", () => void this.refreshDevices());
    }
    this.#arrange();
  }

  /** Lists the devices again; their names are told only after the first permission. */
  async refreshDevices(): Promise<void> {
    if (!canCapture()) return;
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    fill(
      this.#camera,
      devices.filter((device) => device.kind === "videoinput"),
      "Camera",
    );
    fill(
      this.#microphone,
      devices.filter((device) => device.kind === "audioinput"),
      "Microphone",
    );
  }

  /** While something is sent, only the bitrate may change. */
  lock(locked: boolean): void {
    for (const control of this.element.querySelectorAll<HTMLInputElement | HTMLSelectElement>(
      "input, select",
    )) {
      const fixed =
        control.name === "sound" || control.name === "picture"
          ? control.dataset.unavailable === "true"
          : false;
      control.disabled = (locked && control !== this.#bitrate) || fixed;
    }
  }

  /** The bitrate as it stands, in bits per second; null while it is not valid. */
  get bitrateBps(): number | null {
    return this.#bitrate.validity.valid ? this.#bitrate.valueAsNumber * 1000 : null;
  }

  #choice(): Choice {
    const data = new FormData(this.element);
    const text = (name: string) => String(data.get(name) ?? "");
    const [, width, height] = SIZES.find(([name]) => name === text("size")) ?? ["", 1280, 720];
    return {
      feed: text("feed").trim(),
      token: text("token"),
      picture: text("picture") as PictureKind,
      sound: text("sound") as SoundKind,
      width,
      height,
      fps: Number(text("fps")),
      bitrateBps: Number(text("bitrate")) * 1000,
      cameraId: text("camera"),
      microphoneId: text("microphone"),
    };
  }

  #arrange(): void {
    const { picture, sound } = this.#choice();
    this.#cameraField.hidden = picture !== "camera";
    this.#microphoneField.hidden = sound !== "microphone";
  }
}

function field(name: string, control: HTMLElement, hint: string | null = null): HTMLElement {
  return h(
    "label",
    { class: "field" },
    h("span", {}, name),
    control,
    hint === null ? null : h("span", { class: "hint" }, hint),
  );
}

function select(
  name: string,
  options: readonly (readonly [string, string])[],
  chosen: string,
): HTMLSelectElement {
  return h(
    "select",
    { name },
    ...options.map(([value, label]) => h("option", { value, selected: value === chosen }, label)),
  );
}

function radios(
  name: string,
  options: readonly (readonly [string, string, boolean?])[],
  chosen: string,
): HTMLElement {
  return h(
    "div",
    { class: "segmented" },
    ...options.map(([value, label, unavailable = false]) =>
      h(
        "label",
        {},
        h("input", {
          type: "radio",
          name,
          value,
          checked: value === chosen,
          disabled: unavailable,
          "data-unavailable": String(unavailable),
          "data-testid": `${name}-${value}`,
        }),
        label,
      ),
    ),
  );
}

function fill(list: HTMLSelectElement, devices: readonly MediaDeviceInfo[], kind: string): void {
  const chosen = list.value;
  const named = devices.filter((device) => device.deviceId !== "");
  list.replaceChildren(
    h("option", { value: "" }, "Default"),
    ...named.map((device, index) =>
      h("option", { value: device.deviceId }, device.label || `${kind} ${index + 1}`),
    ),
  );
  if (named.some((device) => device.deviceId === chosen)) list.value = chosen;
}
