/**
 * The pages and `player.js`, the element alone, as static files for `bicast serve`. In development `/v1`, `/whip`, `/whep` and `/hls` are passed on to a
 * running gateway (BICAST_URL, default http://127.0.0.1:8080), or answered by the mock with `npm run dev:mock`.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { mockApi } from "./mock/api.ts";

const page = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const gateway = process.env.BICAST_URL ?? "http://127.0.0.1:8080";
const routes = ["/v1", "/whip", "/whep", "/hls"];

export default defineConfig(({ mode }) => ({
  // Relative, so that the same files work at any path and on any origin.
  base: "./",
  plugins: mode === "mock" ? [mockApi()] : [],
  build: {
    target: "es2022",
    sourcemap: false,
    // hls.js alone is larger than the default limit; it is its own chunk, loaded only where HLS plays.
    chunkSizeWarningLimit: 700,
    rolldownOptions: {
      input: {
        index: page("index.html"),
        watch: page("watch.html"),
        publish: page("publish.html"),
        compare: page("compare.html"),
        operate: page("operate.html"),
        player: page("src/bicast/player.ts"),
      },
      // Pages elsewhere name it in a script tag: its address must not change with its content.
      output: { entryFileNames: ({ name }) => (name === "player" ? "player.js" : "assets/[name]-[hash].js") },
    },
  },
  server: {
    proxy: mode === "mock" ? {} : Object.fromEntries(routes.map((route) => [route, { target: gateway }])),
  },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
}));
