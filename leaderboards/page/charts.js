// Draws each chart when it comes near, and the others when there is time.
"use strict";
{
  const tip = element("div", { className: "tooltip", role: "tooltip", hidden: true });
  document.body.append(tip);

  function tooltip(_handler, event, _item, value) {
    tip.hidden = !value;
    if (!value) return;
    tip.textContent = String(value);
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 4))}px`;
    tip.style.top = `${Math.max(4, event.clientY > height + 16 ? event.clientY - height - 12 : event.clientY + 16)}px`;
  }

  const waiting = new Map();
  for (const chart of document.querySelectorAll(".chart")) {
    waiting.set(chart, JSON.parse(chart.querySelector("script").textContent));
  }

  async function draw(chart) {
    const spec = waiting.get(chart);
    if (!spec) return;
    waiting.delete(chart);
    near.unobserve(chart);
    const plot = chart.querySelector(".plot");
    // The interpreter (ast) needs no eval, which the page's policy forbids.
    const options = { ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip };
    const { view } = await vegaEmbed(plot, spec, options);
    plot.classList.add("drawn");
    view.addEventListener("click", (_event, item) => {
      const runs = item?.datum?.runs;
      if (runs) location.hash = `run=${runs.map(encodeURIComponent).join(",")}`;
    });
  }

  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
    { rootMargin: "400px" },
  );
  waiting.forEach((_, chart) => near.observe(chart));

  const idle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 50));
  async function rest() {
    const [next] = waiting.keys();
    if (!next) return;
    await draw(next);
    idle(rest);
  }
  idle(rest);
}
