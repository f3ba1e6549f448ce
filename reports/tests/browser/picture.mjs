// The picture in README: the first page of the example site.
//
//     ci/example-site.sh ASSAY SITE && node picture.mjs SITE ../../../ci/example/site.png

import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [site, picture] = process.argv.slice(2).map((path) => resolve(path));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const page = await browser.newPage({ viewport: { width: 1100, height: 740 }, colorScheme: "light" });
await page.goto(pathToFileURL(join(site, "index.html")).href);
await page.screenshot({ path: picture });
await browser.close();
