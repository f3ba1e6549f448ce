// Looks at a published site as a reader would: every page from file://, offline, with scripts off
// and on, narrow and wide, light and dark. Exits 1 on an axe violation, a request that leaves the
// folder, a console error, a page wider than its window, or an error of the Nu checker.
//
//     npm install && node check.mjs SITE [SCREENSHOTS]
//
// CHROMIUM names the browser (default /usr/bin/chromium). `SCREENSHOTS` gets one PNG per look.

import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const site = resolve(process.argv[2] ?? "site");
const shots = process.argv[3] && resolve(process.argv[3]);
const looks = [
  { width: 1280, scheme: "light", scripts: false },
  { width: 390, scheme: "dark", scripts: false },
  { width: 1280, scheme: "dark", scripts: true },
  { width: 390, scheme: "light", scripts: true },
];
/** Pages of one kind look alike: so many of each are opened. */
const PER_FOLDER = 6;
const faults = [];

function pages(folder) {
  const entries = readdirSync(folder).sort().map((name) => join(folder, name));
  const own = entries.filter((path) => path.endsWith(".html"));
  const folders = entries.filter((path) => statSync(path).isDirectory());
  return [...pick(own), ...folders.flatMap(pages)];
}

/** The first and last few: runs sort by time, so both old and new are seen. */
function pick(paths) {
  const half = PER_FOLDER / 2;
  return paths.length <= PER_FOLDER ? paths : [...paths.slice(0, half), ...paths.slice(-half)];
}

async function look(browser, { width, scheme, scripts }) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
    javaScriptEnabled: scripts,
    offline: true,
    // axe is put into the page by us; the page's own policy forbids every script.
    bypassCSP: scripts,
  });
  const page = await context.newPage();
  const name = () => `${relative(site, decodeURI(page.url().slice(7)))} at ${width} px, ${scheme}`;
  page.on("request", (request) => {
    const inside = request.url().startsWith(`${pathToFileURL(site).href}/`) || request.url() === "data:,";
    if (!inside) faults.push(`${name()}: requests ${request.url()}`);
  });
  page.on("requestfailed", (request) => faults.push(`${name()}: cannot load ${request.url()}`));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`${name()}: ${message.text()}`);
  });
  for (const path of pages(site)) {
    await page.goto(pathToFileURL(path).href);
    if (scripts) await judge(page, name());
    if (shots) {
      const file = `${relative(site, path).replaceAll("/", "-").replace(".html", "")}-${width}-${scheme}.png`;
      await page.screenshot({ path: join(shots, file.slice(-120)), fullPage: true });
    }
  }
  await context.close();
}

async function judge(page, name) {
  await page.addScriptTag({ path: require.resolve("axe-core/axe.min.js") });
  const found = await page.evaluate(async () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    const styled = getComputedStyle(document.body).maxWidth !== "none";
    const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
    const { violations } = await globalThis.axe.run({ preload: false });
    return { styled, wide, violations };
  });
  if (!found.styled) faults.push(`${name}: has no stylesheet`);
  if (found.wide) faults.push(`${name}: is wider than its window`);
  for (const { id, help, nodes } of found.violations) {
    const where = nodes.map((node) => `    ${node.html.slice(0, 200)}`).slice(0, 3);
    faults.push([`${name}: axe ${id}: ${help}`, ...where].join("\n"));
  }
}

/** The Nu HTML checker, where Java is installed. */
function validate() {
  const jar = require.resolve("vnu-jar/build/dist/vnu.jar");
  try {
    execFileSync("java", ["-jar", jar, "--format", "gnu", "--errors-only", ...pages(site)], { encoding: "utf8" });
    execFileSync("java", ["-jar", jar, "--css", "--format", "gnu", "--errors-only", join(site, "assay.css")]);
  } catch (error) {
    if (error.code === "ENOENT") console.log("java is not installed: markup was not checked");
    else faults.push(`Nu checker:\n${error.stderr ?? error}`);
  }
}

readFileSync(join(site, "index.html"));
if (shots) mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
for (const each of looks) await look(browser, each);
await browser.close();
validate();
console.log(`${pages(site).length} pages, ${looks.length} looks each: ${faults.length} faults`);
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
