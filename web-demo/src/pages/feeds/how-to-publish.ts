/** How to send something to this server, as commands to copy. */

import { h, setText } from "../../ui/dom";
import { command } from "../../ui/parts";

/** The box under the list; larger and in front when there is nothing to list. */
export function howToPublish(server: string): {
  readonly element: HTMLElement;
  update(hasFeeds: boolean): void;
} {
  const whip = new URL("whip/demo", server).href;
  const title = h("h2", {});
  const text = h("p", { class: "muted" });
  const element = h(
    "section",
    { class: "card empty", "aria-label": "How to publish", "data-testid": "how-to-publish", hidden: true },
    h(
      "div",
      {},
      title,
      text,
      h("a", { class: "button primary", href: "./publish.html" }, "Publish from this browser"),
    ),
    h(
      "div",
      { class: "commands" },
      command("bicast", `bicast publish --test-pattern --whip ${whip}`, "a moving test picture with sound"),
      command(
        "OBS",
        whip,
        "Settings → Stream → Service WHIP → Server; Output → keyframe interval 2 s, B-frames 0",
      ),
      command(
        "ffmpeg 8",
        `ffmpeg -re -i input.mp4 -c:v libx264 -profile:v baseline -bf 0 -g 60 -c:a libopus -ar 48000 -ac 2 -f whip ${whip}`,
      ),
    ),
  );
  return {
    element,
    update(hasFeeds) {
      element.hidden = false;
      setText(title, hasFeeds ? "Send another feed" : "Send the first feed");
      setText(
        text,
        hasFeeds
          ? "The last part of the address is the feed's name: choose another one than those above."
          : "Anything that speaks WHIP can publish here. It appears on this page a second later, over WebRTC and LL-HLS.",
      );
    },
  };
}
