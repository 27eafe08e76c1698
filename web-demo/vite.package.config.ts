/** The player as a package for other pages' builds: one module, hls.js left to the bundler that uses it. `npm run package` */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: {
    target: "es2022",
    outDir: "package/dist",
    lib: {
      entry: fileURLToPath(new URL("src/bicast/package.ts", import.meta.url)),
      formats: ["es"],
      fileName: () => "bicast-player.js",
    },
    // Library mode would leave the white space in.
    rolldownOptions: { external: ["hls.js"], output: { minify: true } },
  },
});
