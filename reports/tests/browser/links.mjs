// Every link of every page leads to a file of the site, and every fragment to an element.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { allPages, files } from "./files.mjs";

/** Addresses that no file of the site has. */
const OUTSIDE = /^(https?|data|urn):/;

const unescape = (text) => text.replaceAll("&amp;", "&").replaceAll("&#39;", "'").replaceAll("&quot;", '"');

/** Links of a page or feed that lead nowhere. */
function broken(site, path, ids) {
  const text = readFileSync(path, "utf8");
  const links = [...text.matchAll(/\s(?:href|src)="([^"]*)"/g)].map((match) => unescape(match[1]));
  const inside = links.filter((link) => !OUTSIDE.test(link));
  const leads = (link) => {
    const [file, fragment] = link.split("#");
    const target = file === "" ? path : join(dirname(path), decodeURI(file));
    if (relative(site, target).startsWith("..") || !existsSync(target)) return false;
    return fragment === undefined || ids(target).has(fragment);
  };
  return inside.filter((link) => !leads(link)).map((link) => `${relative(site, path)}: ${link} leads nowhere`);
}

/** Faults of all links of a site, those of its feeds and its index included. */
export function checkLinks(site) {
  const known = new Map();
  const ids = (path) => {
    if (!known.has(path)) {
      const found = readFileSync(path, "utf8").matchAll(/\sid="([^"]*)"/g);
      known.set(path, new Set([...found].map((match) => unescape(match[1]))));
    }
    return known.get(path);
  };
  const feeds = files(site).filter((path) => path.endsWith(".xml"));
  const faults = [...allPages(site), ...feeds].flatMap((path) => broken(site, path, ids));
  const index = JSON.parse(readFileSync(join(site, "index.json"), "utf8"));
  const named = [index.feed, index.badge, ...index.results, ...index.suites.flatMap((suite) => [suite.feed, suite.badge])];
  named.push(...index.machines.map((machine) => machine.page), ...index.runs.flatMap((run) => [run.page, run.manifest, run.record]));
  named.push(...index.series.flatMap((series) => [series.page, series.json, series.csv]));
  const missing = named.filter((path) => path && !existsSync(join(site, path)));
  return [...faults, ...missing.map((path) => `index.json: ${path} leads nowhere`)];
}
