/** The player as a package for other pages' builds: one module and what it loads later, hls.js left to the bundler that uses it. `npm run package` */
import { fileURLToPath } from "node:url";
import { minify } from "terser";
import { defineConfig, type Plugin } from "vite";

/** Vite leaves the white space in what a library brings, and this makes less of it than Rolldown's own minifier. */
const small: Plugin = {
  name: "small",
  async generateBundle(_, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.type !== "chunk") continue;
      const options = {
        module: true,
        ecma: 2020,
        compress: { passes: 3, pure_getters: true, keep_fargs: false },
      } as const;
      file.code = (await minify(file.code, options)).code ?? file.code;
    }
  },
};

export default defineConfig({
  publicDir: false,
  plugins: [small],
  build: {
    target: "es2022",
    outDir: "package/dist",
    lib: {
      entry: fileURLToPath(new URL("src/bicast/package.ts", import.meta.url)),
      formats: ["es"],
      fileName: () => "bicast-player.js",
    },
    rolldownOptions: {
      external: ["hls.js"],
      // What is loaded later takes words and the like from the player itself, and not both from a third module.
      preserveEntrySignatures: "allow-extension",
      output: { minify: true, chunkFileNames: "[name].js" },
    },
  },
});
