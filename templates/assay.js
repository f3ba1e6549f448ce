// Tables that can be sorted and filtered. Pages are complete without it; it loads nothing, remembers nothing,
// and only moves and hides rows that are there.
"use strict";

(() => {
  /** Fewer rows are seen at a glance. */
  const FILTERED_FROM = 8;
  const collator = new Intl.Collator("en", { numeric: true });
  const SECONDS = { ms: 1e-3, s: 1, min: 60, h: 3600 };

  /** What a cell is sorted by: what the page says it is worth, else its text; of a number what comes first in the cell. */
  function key(cell) {
    if (!cell) return "";
    const marked = cell.dataset.value ?? cell.querySelector("data")?.value;
    if (marked !== undefined) return marked;
    if (!cell.classList.contains("num")) return cell.textContent.trim();
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.data.trim();
      if (text !== "") return text;
    }
    return "";
  }

  /** The number that a text is, be it a percentage, grouped in threes, or a span of time; else NaN. */
  function number(text) {
    const plain = text.replace(/[\u2009\u202f\u00a0]/g, "").replace("\u2212", "-");
    if (/^(\d+(\.\d+)? (ms|s|min|h)( |$))+$/.test(plain)) {
      const parts = [...plain.matchAll(/(\d+(?:\.\d+)?) (ms|s|min|h)/g)];
      return parts.reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0);
    }
    const match = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?) ?%?$/i.exec(plain);
    return match ? Number(match[1]) : NaN;
  }

  /** The cell of a row in a column, where cells may span several. */
  function cellAt(row, column) {
    let at = 0;
    for (const cell of row.cells) {
      at += cell.colSpan;
      if (at > column) return cell;
    }
    return undefined;
  }

  /** Orders keys: numbers by size if all are, else texts; what is empty comes last whichever way. */
  function comparison(keys, direction) {
    const numbers = keys.map((text) => (text === "" ? 0 : number(text)));
    const numeric = numbers.every((value) => !Number.isNaN(value));
    const compare = (a, b) => (numeric ? numbers[a] - numbers[b] : collator.compare(keys[a], keys[b]));
    return (a, b) => {
      if (keys[a] === "" || keys[b] === "") return (keys[a] === "") - (keys[b] === "");
      return direction * compare(a, b);
    };
  }

  class Table {
    constructor(table) {
      this.table = table;
      this.body = table.tBodies[0];
      this.rows = [...this.body.rows];
      this.heads = [...table.tHead.rows[0].cells];
      this.status = document.createElement("span");
      this.status.setAttribute("role", "status");
      this.tools = document.createElement("p");
      this.tools.className = "tools";
      if (this.rows.length >= FILTERED_FROM) this.addFilter();
      else this.tools.classList.add("away"); // arrows show the order; words are for those who do not see them
      this.heads.forEach((head, column) => this.addSort(head, column));
      this.tools.append(this.status);
      (table.closest(".scroll") ?? table).before(this.tools);
    }

    addSort(head, column) {
      const keys = this.rows.map((row) => key(cellAt(row, column)));
      if (head.colSpan > 1 || keys.every((text) => text === "")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => this.sort(head, keys));
      head.append(button);
    }

    /** Up, then down, then as the page had it. */
    sort(head, keys) {
      const next = { ascending: "descending", descending: undefined }[head.getAttribute("aria-sort")];
      const order = head.hasAttribute("aria-sort") ? next : "ascending";
      for (const other of this.heads) other.removeAttribute("aria-sort");
      const places = this.rows.map((_, at) => at);
      if (order) {
        head.setAttribute("aria-sort", order);
        places.sort(comparison(keys, order === "ascending" ? 1 : -1));
      }
      this.body.append(...places.map((at) => this.rows[at]));
      const name = head.textContent.trim();
      this.say(order ? `Sorted by ${name}, ${order}` : "In the order of the page");
    }

    addFilter() {
      const texts = this.rows.map((row) => row.textContent.toLowerCase());
      const label = document.createElement("label");
      const caption = document.createElement("span");
      const input = document.createElement("input");
      caption.className = "away";
      caption.textContent = ` ${this.table.caption?.textContent.slice(0, 120) ?? "the table"}`;
      input.type = "search";
      input.autocomplete = "off";
      input.spellcheck = false;
      input.addEventListener("input", () => this.filter(texts, input.value));
      label.append("Filter", caption, " ", input);
      this.tools.append(label, " ");
    }

    /** Keeps the rows in which every word is found. */
    filter(texts, wanted) {
      const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      this.rows.forEach((row, at) => {
        row.hidden = !words.every((word) => texts[at].includes(word));
        shown += !row.hidden;
      });
      this.say(words.length === 0 ? "" : `${shown} of ${this.rows.length} rows`);
    }

    say(words) {
      this.status.textContent = words;
    }
  }

  /** One head, one body, no cell over several rows, and something to sort. */
  function isPlain(table) {
    const one = table.tHead?.rows.length === 1 && table.tBodies.length === 1;
    return one && table.tBodies[0].rows.length > 1 && !table.querySelector("[rowspan]");
  }

  for (const table of document.querySelectorAll("main table")) {
    if (isPlain(table)) new Table(table);
  }
})();
