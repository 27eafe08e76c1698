/** What every page has around its content: the bar at the top with the theme switch, the line at the bottom. */

import { byId, h, ICONS, icon } from "./dom";

type Page = "feeds" | "watch" | "publish" | "compare" | "operate";
type Theme = "auto" | "light" | "dark";

const KEY = "bicast-theme";
const ORDER: readonly Theme[] = ["auto", "light", "dark"];
const LOOKS: Readonly<Record<Theme, { icon: string; name: string }>> = {
  auto: { icon: ICONS.auto, name: "as the system" },
  light: { icon: ICONS.sun, name: "light" },
  dark: { icon: ICONS.moon, name: "dark" },
};

/** Fills the header and the footer; `page` is the one we are on. */
export function openShell(page: Page): void {
  const link = (href: string, name: string, of: Page) =>
    h("a", { href, "aria-current": page === of ? "page" : null }, name);
  byId("top").append(
    h(
      "a",
      { class: "brand", href: "./", "aria-label": "bicast, live feeds" },
      mark(),
      h("span", {}, "bicast"),
    ),
    h(
      "nav",
      { "aria-label": "Pages" },
      link("./", "Feeds", "feeds"),
      link("./compare.html", "Side by side", "compare"),
      link("./publish.html", "Publish", "publish"),
      link("./operate.html", "Operate", "operate"),
    ),
    themeButton(),
  );
  byId("foot").append(
    h("p", {}, "One live feed, two paths, one timeline."),
    h(
      "p",
      {},
      h("a", { class: "foot-link", href: "./v1/openapi.json" }, "API"),
      " · ",
      h("a", { class: "foot-link", href: "./metrics" }, "Metrics"),
    ),
  );
}

function mark(): SVGSVGElement {
  const svg = icon("M4 8.500c6 0 6 7 12 7h4M4 15.500c6 0 6-7 12-7h4", 26);
  svg.classList.add("mark");
  return svg;
}

function themeButton(): HTMLButtonElement {
  const button = h("button", { class: "icon-button", type: "button", "data-testid": "theme" });
  let theme = stored();
  const render = () => {
    const { icon: path, name } = LOOKS[theme];
    button.replaceChildren(icon(path));
    button.title = `Colours: ${name}`;
    button.setAttribute("aria-label", `Colours: ${name}. Change`);
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length] ?? "auto";
    try {
      if (theme === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // Storage is forbidden: the choice holds for this page only.
    }
    render();
  });
  render();
  return button;
}

function stored(): Theme {
  try {
    return ORDER.find((theme) => theme === localStorage.getItem(KEY)) ?? "auto";
  } catch {
    return "auto";
  }
}
