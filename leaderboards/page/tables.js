// Sorting and filtering of the tables that stand in the page.
"use strict";

/** An element with properties (`text` is its text) and children; never parses markup. */
function element(name, { text, ...properties } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

document.getElementById("without-scripts").remove();

const collator = new Intl.Collator("en", { numeric: true });

/** Numbers before texts, what is absent last in either direction. */
function compare(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
  return descending ? -order : order;
}

/** Puts a button into a heading that steps through ascending, descending and the first order. */
function makeSortable(heading, sort) {
  const button = element("button", { type: "button", text: heading.textContent });
  button.addEventListener("click", () => {
    const now = heading.getAttribute("aria-sort");
    const next = { ascending: "descending", descending: null }[now] ?? (now ? null : "ascending");
    for (const other of heading.closest("thead").querySelectorAll("[aria-sort]")) {
      other.removeAttribute("aria-sort");
    }
    if (next) heading.setAttribute("aria-sort", next);
    sort(next);
  });
  heading.replaceChildren(button);
}

/** A filter field and, beside it, a line that says how much is shown. */
function filterTools(label, changed) {
  const input = element("input", { type: "search", autocomplete: "off", spellcheck: false });
  const status = element("span", { role: "status" });
  input.addEventListener("input", () => changed(words(input.value)));
  const tools = element("div", { className: "tools" });
  tools.append(element("label", { text: label }, input), status);
  return { tools, status };
}

const words = (text) => text.toLocaleLowerCase("en").split(/\s+/).filter(Boolean);

const matches = (text, wanted) => {
  const lower = text.toLocaleLowerCase("en");
  return wanted.every((word) => lower.includes(word));
};

/** What a cell sorts by: its number, else its text. */
function sortKey(cell) {
  if (!cell) return null;
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.tagName === "TH" || cell.textContent ? cell.textContent : null;
}

for (const table of document.querySelectorAll("main table")) {
  const groups = [...table.tBodies].map((body) => ({
    body,
    head: body.querySelector(".group"),
    rows: [...body.rows].filter((row) => !row.classList.contains("group")),
  }));
  const headings = [...table.querySelectorAll("thead [data-sort]")];
  headings.forEach((heading, column) => {
    makeSortable(heading, (direction) => {
      for (const { body, rows } of groups) {
        const keyed = rows.map((row) => [sortKey(row.cells[column]), row]);
        if (direction) keyed.sort(([a], [b]) => compare(a, b, direction === "descending"));
        body.append(...keyed.map(([, row]) => row));
      }
    });
  });

  const total = groups.reduce((sum, { rows }) => sum + rows.length, 0);
  const { tools, status } = filterTools("Filter rows", (wanted) => {
    let shown = 0;
    for (const { body, head, rows } of groups) {
      let any = false;
      for (const row of rows) {
        row.hidden = !matches(`${head?.textContent ?? ""} ${row.textContent}`, wanted);
        any ||= !row.hidden;
        shown += !row.hidden;
      }
      body.hidden = !any;
    }
    status.textContent = wanted.length ? `${shown} of ${total} rows` : "";
  });
  table.parentElement.before(tools);
}
