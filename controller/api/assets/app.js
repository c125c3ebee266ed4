// Landfall's dashboard: the log tail, the plots, and a question before a rollback. Text only ever enters the page as text.
"use strict";

const page = document.querySelector("[data-app]");

document.querySelectorAll("form[data-ask]").forEach((form) => {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.ask)) event.preventDefault();
  });
});

if (page) {
  const base = "/dashboard/apps/" + encodeURIComponent(page.dataset.app);
  tail(base + "/logs", document.querySelector("#log"), document.querySelector("#live"));
  plot(base + "/stats");
}

function tail(url, box, live) {
  const most = 1000;
  const source = new EventSource(url);
  source.onopen = () => { live.classList.add("on"); live.textContent = "live"; };
  source.onerror = () => { live.classList.remove("on"); live.textContent = "reconnecting"; };
  source.onmessage = (event) => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    const empty = box.querySelector(".empty");
    if (empty) empty.remove();
    event.data.split("\n").forEach((text) => box.append(line(text)));
    while (box.childElementCount > most) box.firstElementChild.remove();
    if (atEnd) box.scrollTop = box.scrollHeight;
  };
}

function line(text) {
  const row = document.createElement("div");
  const parts = /^(\S+) (\w+)(\[[^\]]*\]): ?([\s\S]*)$/.exec(text.replace(/\x1b\[[0-9;]*m/g, ""));
  if (!parts) { row.textContent = text; return row; }
  const time = parts[1].slice(11, 19);
  row.append(span("t", time + " "), span(parts[2] === "app" ? "app" : "platform", parts[2] + parts[3] + " "), parts[4]);
  row.title = parts[1];
  return row;
}

function span(name, text) {
  const one = document.createElement("span");
  one.className = name;
  one.textContent = text;
  return one;
}

function plot(url) {
  const every = 3000, kept = 60, history = new Map();
  const draw = (stats) => {
    stats.forEach((one) => {
      const past = history.get(one.name) || [];
      past.push(one);
      if (past.length > kept) past.shift();
      history.set(one.name, past);
    });
    for (const name of history.keys()) if (!stats.some((one) => one.name === name)) history.delete(name);
    const all = [...history.values()].flat();
    const cpu = Math.max(10, ...all.map((one) => one.cpu_percent));
    const memory = Math.max(1, ...all.map((one) => one.memory_limit_bytes));
    lines("#cpu", kept, (one) => one.cpu_percent / cpu, (one) => one.cpu_percent.toFixed(1) + " %");
    lines("#memory", kept, (one) => one.memory_bytes / memory, (one) => mib(one.memory_bytes) + " of " + mib(one.memory_limit_bytes));
  };
  const lines = (id, width, height, words) => {
    const box = document.querySelector(id), svg = box.querySelector("svg"), legend = box.querySelector("ul");
    svg.replaceChildren(); legend.replaceChildren();
    let colour = 0;
    for (const [name, past] of history) {
      const name6 = "c" + (colour++ % 6);
      const path = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      const from = width - past.length;
      const points = past.map((one, index) => [(from + index) / (width - 1) * 300, 86 - height(one) * 80]);
      if (points.length === 1) points.unshift([points[0][0] - 3, points[0][1]]);
      path.setAttribute("points", points.map((point) => point.map((side) => side.toFixed(1)).join(",")).join(" "));
      path.setAttribute("class", name6);
      svg.append(path);
      const item = document.createElement("li"), mark = document.createElement("i");
      mark.className = name6;
      item.append(mark, name + " · " + words(past[past.length - 1]));
      legend.append(item);
    }
    if (!history.size) legend.append(Object.assign(document.createElement("li"), { textContent: "Nothing runs." }));
  };
  const mib = (bytes) => Math.round(bytes / 1048576) + " MiB";
  const tick = async () => {
    try {
      const answer = await fetch(url, { headers: { accept: "application/json" } });
      if (answer.ok) draw(await answer.json());
    } catch { /* The server is away: the next tick asks again. */ }
    window.setTimeout(tick, document.hidden ? every * 10 : every);
  };
  tick();
}
