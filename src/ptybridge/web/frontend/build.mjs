// Bundles the pages: node build.mjs OUTPUT_DIRECTORY SOURCES_HASH
//
// Scripts and styles get names that hold a hash of their content, so that browsers may keep them for ever; the pages
// (*.html) name them. manifest.json says what is there and from which sources, licenses.txt whose code is in it.

import { build } from "esbuild";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const [output, sources] = process.argv.slice(2);
if (!output || !sources) throw new Error("usage: node build.mjs OUTPUT_DIRECTORY SOURCES_HASH");

const pages = (await readdir(join(here, "pages"))).filter((name) => name.endsWith(".html")).sort();
await mkdir(output, { recursive: true });
const result = await build({
  absWorkingDir: here,
  entryPoints: pages.map((page) => `src/${basename(page, ".html")}/main.ts`),
  outdir: output,
  outbase: "src",
  entryNames: "[dir]-[hash]",
  chunkNames: "shared-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  charset: "utf8",
  legalComments: "none", // licenses.txt has them whole
  loader: { ".svg": "file" },
  metafile: true,
  logLevel: "warning",
});

const files = {};
for (const [path, { entryPoint, cssBundle }] of Object.entries(result.metafile.outputs)) {
  const name = basename(path);
  if (!entryPoint) continue;
  const page = basename(dirname(entryPoint));
  files[`${page}.js`] = name;
  if (cssBundle) files[`${page}.css`] = basename(cssBundle);
}
for (const name of await readdir(join(here, "pages"))) {
  if (name.endsWith(".html")) continue;
  files[name] = name;
  await writeFile(join(output, name), await readFile(join(here, "pages", name)));
}
for (const page of pages) {
  const text = await readFile(join(here, "pages", page), "utf8");
  const html = text.replace(/\{\{([\w.-]+)\}\}/g, (_, name) => {
    if (!files[name]) throw new Error(`${page} names ${name}, which was not built`);
    return files[name];
  });
  await writeFile(join(output, page), html);
}
await writeFile(join(output, "licenses.txt"), await licenses(Object.keys(result.metafile.inputs)));
for (const name of await readdir(output)) {
  const content = await readFile(join(output, name));
  if (!/\.(js|css|svg|txt)$/.test(name) || content.length < 1024) continue;
  await writeFile(join(output, `${name}.br`), brotliCompressSync(content));
  await writeFile(join(output, `${name}.gz`), gzipSync(content, { level: 9 }));
}
await writeFile(join(output, "manifest.json"), `${JSON.stringify({ sources, pages, files }, null, 2)}\n`);

async function licenses(inputs) {
  const packages = new Set();
  for (const input of inputs) {
    const match = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (match) packages.add(match[1]);
  }
  const parts = ["The pages of ptybridge hold code of these packages.\n"];
  for (const name of [...packages].sort()) {
    const root = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    const file = (await readdir(root)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(join(root, file), "utf8") : "";
    parts.push(`== ${name} ${version} (${license}) ==\n\n${text}`);
  }
  return parts.join("\n");
}
