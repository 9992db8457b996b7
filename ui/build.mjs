// Builds the page into dist/: index.html, assets/ with hashed names, licenses.txt. `make ui` runs it in the cache.
import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

const KEPT = new Set(["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD"]);

const { metafile } = await build({
  entryPoints: { page: "src/main.tsx", icon: "src/icon.svg" },
  outdir: "dist/assets",
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".svg": "copy" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

const files = Object.keys(metafile.outputs).map((path) => basename(path));
const html = readFileSync("index.html", "utf8");
const hashed = (name) => files.find((file) => file.startsWith(name.split(".")[0]) && file.endsWith(name.split(".")[1]));
writeFileSync(
  "dist/index.html",
  html.replace(/assets\/([a-z.]+)/g, (_, name) => `assets/${hashed(name)}`),
);
writeFileSync("dist/licenses.txt", licenses(Object.keys(metafile.inputs)));

/** Name, version, licence and its text of each package whose files are in the bundle. */
function licenses(inputs) {
  const packages = inputs.flatMap((path) => path.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0] ?? []);
  const parts = [...new Set(packages)].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    if (!KEPT.has(license))
      throw new Error(`${name} ${version}: the licence ${license} is not one that may be bundled.`);
    const text = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
    if (!text) throw new Error(`${name} ${version} has no licence text.`);
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, text), "utf8").trim()}\n`;
  });
  return `The page contains these packages.\n\n${parts.join(`\n${"-".repeat(80)}\n\n`)}`;
}
