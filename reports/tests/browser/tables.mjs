// Tables sort and filter, by keyboard too, and remember nothing. Each check throws with words.

import { strict as assert } from "node:assert";

/** The rows of a table that are shown, each by its text and by what its cell in a column is worth. */
async function shown(table, column = 0) {
  return table.evaluate((element, column) => {
    const rows = [...element.tBodies[0].rows].filter((row) => !row.hidden);
    return rows.map((row) => ({
      text: row.textContent.toLowerCase(),
      key: row.cells[column]?.querySelector("data")?.value ?? row.cells[column]?.textContent.trim() ?? "",
    }));
  }, column);
}

const texts = (rows) => rows.map((row) => row.text);

/** Presses Tab until an element of this selector has the focus. */
async function tabTo(page, selector) {
  for (let presses = 0; presses < 400; presses += 1) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate((selector) => document.activeElement.matches(selector), selector);
    if (found) return;
  }
  assert.fail(`Tab does not reach ${selector}`);
}

async function sortsByKeyboard(page) {
  await tabTo(page, "button.sort");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus is seen");
  const table = page.locator("table:has(:focus)");
  const before = texts(await shown(table));
  const state = () => page.evaluate(() => document.activeElement.closest("th").getAttribute("aria-sort"));
  await page.keyboard.press("Enter");
  assert.equal(await state(), "ascending");
  const up = texts(await shown(table));
  assert.deepEqual([...up].sort(), [...before].sort(), "no row is lost");
  await page.keyboard.press("Space");
  assert.equal(await state(), "descending");
  await page.keyboard.press("Enter");
  assert.equal(await state(), null);
  assert.deepEqual(texts(await shown(table)), before, "the third press gives the order of the page back");
}

/** Numbers sort by size, whatever prefix their unit has. */
async function sortsNumbers(table) {
  const columns = await table.evaluate((element) =>
    [...element.tHead.rows[0].cells].flatMap((head, at) => (head.querySelector("button.sort") ? [at] : [])),
  );
  for (const column of columns) {
    const button = table.locator("thead th").nth(column).locator("button.sort");
    await button.click();
    const keys = (await shown(table, column)).map((row) => row.key).filter((key) => key !== "");
    const numbers = keys.map(Number);
    if (numbers.every((value) => !Number.isNaN(value))) {
      assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), "numbers sort by size");
    }
    await button.click();
    await button.click();
  }
  return columns.length;
}

async function filters(tools) {
  const table = tools.locator("xpath=following-sibling::*[1]/descendant-or-self::table[1]");
  const input = tools.locator("input");
  const status = tools.getByRole("status");
  const all = texts(await shown(table));
  const word = all.at(-1).split(/\s+/).find((word) => word.length > 2) ?? all.at(-1).trim();
  await input.fill(word.toUpperCase());
  const some = texts(await shown(table));
  assert.deepEqual(some, all.filter((text) => text.includes(word)), `rows with ${word}`);
  assert.equal(await status.textContent(), `${some.length} of ${all.length} rows`);
  await input.fill("no row says this");
  assert.equal((await shown(table)).length, 0);
  assert.equal(await status.textContent(), `0 of ${all.length} rows`);
  await input.fill("");
  assert.deepEqual(texts(await shown(table)), all);
}

/** Checks the tables of a page; returns how many columns were sorted and tables filtered. */
export async function checkTables(page) {
  if ((await page.locator("button.sort").count()) === 0) return { sorted: 0, filtered: 0 };
  // Where all tables that can be sorted are folded away, Tab reaches none of their buttons.
  await page.evaluate(() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  await sortsByKeyboard(page);
  let sorted = 0;
  for (const table of await page.locator("main table:has(button.sort)").all()) sorted += await sortsNumbers(table);
  const tools = await page.locator(".tools:has(input)").all();
  for (const each of tools) await filters(each);
  if (tools.length > 0) {
    await tools[0].locator("input").fill("x");
    await page.reload();
    assert.equal(await page.locator(".tools input").first().inputValue(), "", "nothing is remembered");
  }
  return { sorted, filtered: tools.length };
}
