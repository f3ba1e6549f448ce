// The files of a site, and which of its pages are looked at.

import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";

/** Pages of one kind look alike: so many of each are opened. */
const PER_FOLDER = 4;

/** Every file below a folder. */
export function files(folder) {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}

/** Every page of a site. */
export function allPages(site) {
  return files(site).filter((path) => path.endsWith(".html"));
}

/** Some pages of each kind: the first and last few, for runs sort by time, so both old and new are seen. */
export function pages(site) {
  const folders = new Map();
  for (const path of allPages(site)) {
    const folder = dirname(path);
    folders.set(folder, [...(folders.get(folder) ?? []), path]);
  }
  const half = PER_FOLDER / 2;
  const pick = (paths) => (paths.length <= PER_FOLDER ? paths : [...paths.slice(0, half), ...paths.slice(-half)]);
  return [...folders.values()].flatMap(pick);
}
