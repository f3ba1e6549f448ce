// What axe does not see: words drawn outside their chart, labels that say nothing, columns that nobody finds.

/** Faults of the page that is open, as words. Runs in the page. */
export function layoutFaults({ isWide, isPaper }) {
  const text = (element) => element.textContent.trim().slice(0, 40);
  const visible = (selector, inside = document) => [...inside.querySelectorAll(selector)].filter((own) => own.checkVisibility());
  const faults = [];
  for (const label of visible("svg text")) {
    const [own, chart] = [label, label.closest("svg")].map((element) => element.getBoundingClientRect());
    const over = Math.max(own.right - chart.right, chart.left - own.left, chart.top - own.top, own.bottom - chart.bottom);
    if (over > 2) faults.push(`"${text(label)}" is drawn ${over.toFixed(0)} px outside its chart`);
    if (/^-0(\.0*)?( |$)/.test(text(label))) faults.push(`an axis has the label "${text(label)}"`);
  }
  for (const chart of visible("svg.roofline")) {
    const names = visible("text.name", chart).map((name) => [text(name), name.getBoundingClientRect()]);
    for (const [at, [name, box]] of names.entries()) {
      const hit = names.slice(at + 1).find(([, other]) => {
        const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        return across > 1 && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 3;
      });
      if (hit) faults.push(`"${name}" and "${hit[0]}" are drawn over each other`);
    }
  }
  if (isPaper) {
    // On paper, nothing in a table is larger than the table says.
    for (const words of visible("td *")) {
      const [own, table] = [words, words.closest("table")].map((element) => Number.parseFloat(getComputedStyle(element).fontSize));
      if (own > table + 0.1) faults.push(`"${text(words)}" is printed larger than its table`);
    }
    return faults;
  }
  for (const frame of visible(".scroll")) {
    if (frame.scrollWidth <= frame.clientWidth + 1) continue;
    const table = frame.querySelector("table");
    const name = frame.getAttribute("aria-labelledby");
    const cut = `table "${name}" is cut, ${frame.clientWidth} of ${frame.scrollWidth} px are seen`;
    // A column for each of many sides fits nowhere.
    if (isWide && !table.classList.contains("many")) faults.push(cut);
    if (!getComputedStyle(frame).backgroundAttachment.includes("local")) faults.push(`${cut}, and nothing shows it`);
    // What the table says of each row is seen before anybody scrolls.
    frame.scrollLeft = 0;
    const { left, right } = frame.getBoundingClientRect();
    const row = visible("tbody tr:has(td:not(.num) > .badge)", table)[0];
    const badge = row && visible("td:not(.num) > .badge", row)[0].getBoundingClientRect();
    if (badge && (badge.right > right + 1 || badge.left < left - 1)) faults.push(`${cut}, without the verdict`);
    // Of an interval whose number is seen both ends are, but where a page is at 400 %.
    const ranges = frame.clientWidth < 340 ? [] : visible("tbody .range", table);
    const isCut = ({ left, right: end }) => left < right - 1 && end > right + 1;
    if (table.classList.contains("series") && ranges.some((range) => isCut(range.getBoundingClientRect()))) faults.push(`${cut}, through an interval`);
  }
  return faults;
}
