// Every record behind the page: a table over all of them, and one in full.
"use strict";
{
  const PAGE = 100;
  const SHARED = ["model", "calibration", "data", "environment", "peak_memory"];
  const SHARED_OF_SPEC = ["method", "calibration", "task"];
  const TITLES = {
    result: "Result", spec: "Specification", model: "Model", calibration: "Calibration data",
    data: "Evaluation data", compression: "Compression", environment: "Environment",
    timings: "Seconds", peak_memory: "Peak memory in bytes",
  };

  let cache;
  const records = () => (cache ??= read());

  function read() {
    const { shared, records } = JSON.parse(document.getElementById("data").textContent);
    for (const record of records) {
      for (const name of SHARED) record[name] = shared[record[name]];
      for (const name of SHARED_OF_SPEC) record.spec[name] = shared[record.spec[name]];
    }
    return records.sort((a, b) => (a.created < b.created) - (a.created > b.created)); // newest first
  }

  const label = (record) => record.compression?.label ?? record.spec.method.name;
  const removed = (record) => `${Number((100 * record.spec.ratio).toFixed(4))}%`;
  const headline = (record) => record.result?.metrics.find((metric) => metric.slice === null);
  const address = (id) => `#run=${encodeURIComponent(id)}`;

  function shown(value) {
    if (value === null || value === undefined) return "none";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return String(value);
    return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(8)));
  }

  /** Any part of a record: a list of terms, a table of equal objects, or text. */
  function described(value) {
    if (Array.isArray(value)) {
      const objects = value.length > 0 && value.every((one) => one && typeof one === "object" && !Array.isArray(one));
      return objects ? tabulated(value) : element("span", { text: value.map(shown).join(", ") || "none" });
    }
    if (value === null || typeof value !== "object") return element("span", { text: shown(value) });
    const list = element("dl");
    for (const [name, part] of Object.entries(value)) {
      list.append(element("dt", { text: name.replaceAll("_", " ") }), element("dd", {}, described(part)));
    }
    return list;
  }

  function tabulated(rows) {
    const names = Object.keys(rows[0]);
    const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col", text: name.replaceAll("_", " ") })));
    const body = rows.map((row) =>
      element("tr", {}, ...names.map((name) => element("td", {}, described(row[name])))));
    const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
    return element("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Metrics" }, table);
  }

  function full(record) {
    const { result, error, status, created, digest, reference, run_id } = record;
    const about = { status, ...(error ? { error } : {}), "run id": run_id, created, digest };
    const parts = [described(about)];
    const dense = reference && records().some((other) => other.run_id === reference);
    if (dense) parts.push(element("p", {}, element("a", { href: address(reference), text: "Its dense reference" })));
    for (const [name, title] of Object.entries(TITLES)) {
      const value = name === "result" ? result?.metrics : record[name];
      if (value) parts.push(element("h3", { text: title }), described(value));
    }
    if (result) {
      const { batch_size, skipped } = result;
      parts.push(element("p", { className: "note", text: `Batch size ${batch_size}; ${skipped.length} skipped.` }));
    }
    parts.push(element("p", { className: "note", text: `Samples and layers: harness show ${run_id}` }));
    return parts;
  }

  // The record that the address names is open in the dialog.
  const dialog = document.getElementById("record");

  function follow() {
    const named = /^#run=(.+)$/.exec(location.hash);
    if (!named) {
      dialog.close();
      return;
    }
    const ids = named[1].split(",").map(decoded);
    const found = records().filter((record) => ids.includes(record.run_id));
    const [first] = found;
    const title = first
      ? [label(first), ...(first.spec.ratio ? [`${removed(first)} removed`] : []), first.spec.task.name].join(", ")
      : `There is no record ${ids.join(", ")}`;
    const close = element("button", { type: "button", text: "Close", autofocus: true });
    close.addEventListener("click", () => dialog.close());
    const bar = element("div", { className: "bar" },
      element("h2", { id: "record-title", text: found.length > 1 ? `${title} (${found.length} records)` : title }), close);
    dialog.replaceChildren(bar, ...found.flatMap((record, at) =>
      found.length > 1 ? [element("h2", { text: `${at + 1}. ${record.run_id}` }), ...full(record)] : full(record)));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  }

  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#run=")) history.replaceState(null, "", location.pathname + location.search);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  addEventListener("hashchange", follow);
  // The same link again, after its record was closed, changes no address.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#run=']");
    if (link && link.hash === location.hash) follow();
  });
  follow();

  // All records, a page at a time.
  const COLUMNS = [
    ["Record", (record) => record.run_id],
    ["Status", (record) => record.status],
    ["Model", (record) => record.spec.model],
    ["Method", label],
    ["Removed", (record) => record.spec.ratio, removed],
    ["Task", (record) => record.spec.task.name],
    ["Value", (record) => headline(record)?.value ?? null],
    ["Std. error", (record) => headline(record)?.stderr ?? null],
    ["Metric", (record) => headline(record)?.name ?? null],
    ["n", (record) => headline(record)?.n ?? null],
    ["Seed", (record) => record.spec.calibration?.seed ?? null],
    ["Device", (record) => record.environment.device_name],
    ["Created", (record) => record.created],
  ];
  const NUMBERS = new Set(["Removed", "Value", "Std. error", "n", "Seed"]);

  function recordsTable(place) {
    let wanted = [];
    let order = null;
    let start = 0;
    const body = element("tbody");
    const headings = COLUMNS.map(([name], column) => {
      const heading = element("th", { scope: "col", text: name });
      makeSortable(heading, (direction) => {
        order = direction && { column, descending: direction === "descending" };
        start = 0;
        fill();
      });
      return heading;
    });
    const { tools, status } = filterTools("Filter records", (words) => {
      wanted = words;
      start = 0;
      fill();
    });
    const back = element("button", { type: "button", text: "Previous" });
    const next = element("button", { type: "button", text: "Next" });
    back.addEventListener("click", () => { start -= PAGE; fill(); });
    next.addEventListener("click", () => { start += PAGE; fill(); });
    tools.append(back, next);
    const head = element("thead", {}, element("tr", {}, ...headings));
    const table = element("table", {}, element("caption", { text: "All records" }), head, body);
    place.append(tools, element("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "All records" }, table));

    function fill() {
      const chosen = records().filter((record) => matches(COLUMNS.map(([, key]) => key(record) ?? "").join(" "), wanted));
      if (order) {
        const key = COLUMNS[order.column][1];
        chosen.sort((a, b) => compare(key(a), key(b), order.descending));
      }
      body.replaceChildren(...chosen.slice(start, start + PAGE).map(row));
      const end = Math.min(start + PAGE, chosen.length);
      status.textContent = chosen.length ? `${start + 1} to ${end} of ${chosen.length}` : "none";
      back.disabled = start === 0;
      next.disabled = end === chosen.length;
    }

    function row(record) {
      const [, ...rest] = COLUMNS;
      const link = element("a", { href: address(record.run_id), text: record.run_id, className: "name" });
      const cells = rest.map(([name, key, format]) => {
        const value = key(record);
        const text = value === null ? "" : format ? format(record) : shown(value);
        const content = element("span", { className: "name", text });
        return element("td", { className: NUMBERS.has(name) ? "number" : "" }, content);
      });
      return element("tr", {}, element("th", { scope: "row", className: "code" }, link), ...cells);
    }

    fill();
  }

  recordsTable(document.getElementById("records-table"));
}
