// Looks at a published site as a reader would: every page from file://, offline, with scripts off
// and on, narrow and wide, light and dark, and on paper. Exits 1 on an axe violation, a request that leaves
// the folder, a console error, a page wider than its window, a table or chart that is cut, a table that does not sort or filter,
// a link that leads nowhere, a feed or badge that is no XML, or anything that the Nu checker says, but for one warning that is known.
//
//     npm install && node check.mjs SITE [SCREENSHOTS]
//
// CHROMIUM names the browser (default /usr/bin/chromium). `SCREENSHOTS` gets one PNG per look.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { allPages, files, pages } from "./files.mjs";
import { layoutFaults } from "./layout.mjs";
import { checkLinks } from "./links.mjs";
import { checkTables } from "./tables.mjs";

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const site = resolve(process.argv[2] ?? "site");
const shots = process.argv[3] && resolve(process.argv[3]);
/** 320 px is a page at 400 % (WCAG 1.4.10); 703 px are the breadth of a sheet. */
const looks = [
  { width: 1280, scheme: "light", scripts: false, shoot: true },
  { width: 390, scheme: "dark", scripts: false, shoot: true },
  { width: 1280, scheme: "dark", scripts: true, shoot: true },
  // Every page by axe once; of each kind the same few by the other looks.
  { width: 1280, scheme: "light", scripts: true, all: true },
  { width: 390, scheme: "light", scripts: true, shoot: true },
  { width: 320, scheme: "light", scripts: true },
  { width: 703, scheme: "light", scripts: true, media: "print", shoot: true },
];
let faults = 0;

/** Says at once what is wrong: a look at a whole site takes minutes. */
function fault(words) {
  faults += 1;
  console.error(words);
}

/** A page of the site whose requests and errors are faults. */
async function open(browser, { width, scheme, scripts, media }) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
    javaScriptEnabled: scripts,
    offline: true,
  });
  const page = await context.newPage();
  if (media) await page.emulateMedia({ media });
  const name = () => `${relative(site, decodeURI(page.url().slice(7)))} at ${width} px, ${media ?? scheme}`;
  page.on("request", (request) => {
    const inside = request.url().startsWith(`${pathToFileURL(site).href}/`) || request.url() === "data:,";
    if (!inside) fault(`${name()}: requests ${request.url()}`);
  });
  page.on("requestfailed", (request) => fault(`${name()}: cannot load ${request.url()}`));
  page.on("pageerror", (error) => fault(`${name()}: ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error") fault(`${name()}: ${message.text()}`);
  });
  return { context, page, name };
}

async function look(browser, how) {
  const { context, page, name } = await open(browser, how);
  for (const path of how.all ? allPages(site) : pages(site)) {
    await page.goto(pathToFileURL(path).href);
    if (how.scripts) await judge(page, name(), how);
    else await judgeWithoutScripts(page, name());
    if (shots && how.shoot) {
      const stem = relative(site, path).replaceAll("/", "-").replace(".html", "");
      const file = `${stem}-${how.width}-${how.media ?? how.scheme}.png`;
      await page.screenshot({ path: join(shots, file.slice(-120)), fullPage: true });
    }
  }
  await context.close();
}

async function judgeWithoutScripts(page, name) {
  const added = await page.locator("button, input, [hidden]").count();
  if (added > 0) fault(`${name}: has ${added} elements that do nothing without scripts`);
}

async function judge(page, name, { media, width }) {
  await page.evaluate(axe);
  const found = await page.evaluate(async (isPaper) => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    const styled = getComputedStyle(document.body).fontVariantNumeric === "tabular-nums";
    const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
    const rules = { "target-size": { enabled: !isPaper } };
    // Axe tells no contrast over a gradient, and the shade at the edges of a table is one.
    const frames = [...document.querySelectorAll(".scroll")];
    for (const frame of frames) frame.style.background = "none";
    const { violations } = await globalThis.axe.run({ preload: false, rules });
    for (const frame of frames) frame.style.background = "";
    const seen = [...document.querySelectorAll("nav, .tools, .skip")].filter((own) => own.checkVisibility());
    return { styled, wide, violations, seen: seen.length };
  }, media === "print");
  if (!found.styled) fault(`${name}: has no stylesheet`);
  if (found.wide) fault(`${name}: is wider than its window`);
  if (media === "print" && found.seen > 0) fault(`${name}: prints what can only be clicked`);
  const how = { isWide: width >= 1280, isPaper: media === "print" };
  for (const words of await page.evaluate(layoutFaults, how)) fault(`${name}: ${words}`);
  for (const { id, help, nodes } of found.violations) {
    const where = nodes.map((node) => `    ${node.html.slice(0, 200)}`).slice(0, 3);
    fault([`${name}: axe ${id}: ${help}`, ...where].join("\n"));
  }
}

/** Sorts and filters the tables of every page that is looked at. */
async function work(browser) {
  const { context, page, name } = await open(browser, { width: 1280, scheme: "light", scripts: true });
  let total = { sorted: 0, filtered: 0 };
  for (const path of pages(site)) {
    await page.goto(pathToFileURL(path).href);
    try {
      const { sorted, filtered } = await checkTables(page);
      total = { sorted: total.sorted + sorted, filtered: total.filtered + filtered };
    } catch (error) {
      fault(`${name()}: ${error.message}`);
    }
  }
  await context.close();
  console.log(`${total.sorted} columns sorted, ${total.filtered} tables filtered`);
}

/** Feeds and badges are well-formed, and run no script where they are opened. */
async function parse(browser) {
  const { context, page } = await open(browser, { width: 1280, scheme: "light", scripts: true });
  await page.goto("about:blank");
  for (const path of files(site).filter((path) => /\.(xml|svg)$/.test(path))) {
    const wrong = await page.evaluate((text) => {
      const parsed = new DOMParser().parseFromString(text, "application/xml");
      const hostile = parsed.querySelector("parsererror, script, foreignObject, iframe");
      return hostile?.outerHTML.slice(0, 300);
    }, readFileSync(path, "utf8"));
    if (wrong) fault(`${relative(site, path)}: ${wrong}`);
  }
  await context.close();
}

/**
 * What the Nu checker says of every page and no browser does: it finds no origin in a file: address, so that for it `'self'` of the
 * content-security policy is nowhere. Whether the page has its stylesheet and script is looked at in the browser, above.
 */
const KNOWN = /info warning: Resource violates Content Security Policy \(meta tag\): external (stylesheet “(\.\.\/)*assay\.css” blocked by “style-src”|script “(\.\.\/)*assay\.js” blocked by “script-src”) directive\.$/;

/** The Nu HTML checker, where Java is installed. Its warnings are faults, too, but for the one that is known. */
function validate() {
  const jar = require.resolve("vnu-jar/build/dist/vnu.jar");
  for (const what of [allPages(site), ["--css", join(site, "assay.css")]]) {
    const { error, status, stderr } = spawnSync("java", ["-jar", jar, "--format", "gnu", ...what], { encoding: "utf8", maxBuffer: 1 << 28 });
    if (error?.code === "ENOENT") return console.log("java is not installed: markup was not checked");
    const said = (stderr ?? "").split("\n").filter((line) => line && !KNOWN.test(line));
    if (error || said.length > 0) fault(`Nu checker:\n${error ?? said.join("\n")}`);
    else if (status !== 0) fault(`Nu checker: ends with ${status}`);
  }
}

readFileSync(join(site, "index.html"));
if (shots) mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
for (const each of looks) await look(browser, each);
await work(browser);
await parse(browser);
await browser.close();
for (const words of checkLinks(site)) fault(words);
validate();
console.log(`${allPages(site).length} pages, ${pages(site).length} of them by all ${looks.length} looks: ${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
