"use strict";
// Everything that was sent by somebody is put into the page as text, never as HTML.
const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const EVERY = 3000; // ms between two looks
const byId = name => document.getElementById(name);
const number = (value, digits = 0) => value === null || value === undefined ? "–"
  : value.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits});
const time = stamp => new Date(stamp).toISOString().replace("T", " ").slice(0, 19);
const plain = text => String(text).replace(/[<>&]/g, " "); // Plotly reads some tags in labels

function fill(table, heads, rows) {
  const make = (kind, cells) => {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const [text, name] = Array.isArray(cell) ? cell : [cell, ""];
      const own = document.createElement(kind);
      own.textContent = text;
      if (name) own.className = name;
      if (kind === "th") own.scope = "col";
      if (name === "body") own.title = text;
      row.append(own);
    }
    return row;
  };
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.append(make("th", heads));
  body.append(...rows.map(cells => make("td", cells)));
  table.replaceChildren(head, body);
}

function tile(name, value, beside = "") {
  const box = document.createElement("div"), title = document.createElement("dt"), text = document.createElement("dd");
  title.textContent = name;
  text.textContent = value;
  if (beside) {
    const small = document.createElement("small");
    small.textContent = " " + beside;
    text.append(small);
  }
  box.append(title, text);
  return box;
}

function draw(name, traces, title, more = {}) {
  const ink = getComputedStyle(document.body).color, line = "rgba(128,128,128,.25)";
  const layout = {
    margin: {l: 55, r: 15, t: 8, b: 35}, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: {color: ink, size: 12}, legend: {orientation: "h", y: -0.18}, hovermode: "x unified",
    xaxis: {type: "date", gridcolor: line}, yaxis: {title: {text: title}, gridcolor: line, rangemode: "tozero"}, ...more,
  };
  Plotly.react(name, traces, layout, {displayModeBar: false, responsive: true});
}

function showStatus(data) {
  const health = data.health, status = byId("status"), now = data.switches;
  const parts = [`pricer ${health.pricer}`];
  if (health.vector_ends && data.clock === "wall") {
    parts.push(`last window ended ${number(Math.max(0, (data.now - health.vector_ends) / 1000))} s ago`);
  } else if (health.vector_ends) parts.push(`last window ended ${time(health.vector_ends)} UTC`);
  else parts.push("no window has ended yet");
  if (now.kill) parts.push("KILL SWITCH: base prices for everybody");
  if (now.shadow) parts.push("shadow mode: base prices are served");
  if (health.fault) parts.push(health.fault);
  if (health.stale) parts.push("prices are stale");
  status.textContent = parts.join(" · ");
  status.className = health.status === "ok" && !now.kill ? "" : "bad";
}

function showTiles(data) {
  const last = data.windows.at(-1), share = last && last.agents;
  const tiles = [
    tile("sessions in the last window", last ? number(last.sessions) : "–"),
    tile("orders", last ? number(last.orders) : "–"),
    tile("views an order", last ? number(last.look_to_book, 1) : "–"),
    tile("late events", number(data.health.late_events)),
    tile("refused events", number(data.num_dead_letters)),
  ];
  if (share) {
    const error = share.error === null ? "" : `± ${number(196 * share.error, 1)}`;
    tiles.splice(3, 0, tile("share of agents", `${number(100 * share.share, 1)} %`, error));
    tiles.splice(4, 0, tile("leaked a session, at c = 1", number(last.coi_leak, 3)));
  }
  byId("tiles").replaceChildren(...tiles);
}

function showCharts(data) {
  const ends = data.windows.map(own => new Date(own.ends));
  const some = data.products.slice(0, PALETTE.length);
  draw("prices", some.map((own, place) => ({
    x: ends, y: own.prices.map(price => price === null ? null : price / own.base), name: plain(own.name), mode: "lines",
    line: {color: PALETTE[place], shape: "hv", width: 2}, customdata: own.prices, hovertemplate: "%{customdata:.2f}",
  })), "price / base price", {yaxis: {title: {text: "price / base price"}, gridcolor: "rgba(128,128,128,.25)"}});
  draw("demand", [
    {x: ends, y: data.windows.map(own => own.proxy), name: "weighted events", mode: "lines", line: {color: PALETTE[0]}},
    {x: ends, y: data.windows.map(own => own.views), name: "views", mode: "lines", line: {color: PALETTE[4]}},
    {x: ends, y: data.windows.map(own => own.orders), name: "orders", mode: "lines", line: {color: PALETTE[2]}},
  ], "in a window");
  const judged = data.windows.filter(own => own.agents);
  byId("agents-part").hidden = judged.length === 0;
  if (judged.length) {
    const at = judged.map(own => new Date(own.ends)), share = judged.map(own => own.agents.share);
    const half = judged.map(own => own.agents.error === null ? 0 : 1.96 * own.agents.error);
    const edge = sign => share.map((own, i) => Math.min(1, Math.max(0, own + sign * half[i])));
    const bound = {x: at, mode: "lines", line: {width: 0}, showlegend: false, hoverinfo: "skip"};
    draw("agents", [
      {...bound, y: edge(-1)}, {...bound, y: edge(1), fill: "tonexty", fillcolor: "rgba(0,114,178,.2)"},
      {x: at, y: share, mode: "lines", name: "share of agents", line: {color: PALETTE[0]}, showlegend: false},
    ], "share", {yaxis: {range: [0, 1], title: {text: "share"}, gridcolor: "rgba(128,128,128,.25)"}});
  }
}

function uplift(own) {
  if (!own) return ["control", "text"];
  const {value, low, high} = own;
  const told = number(value, 2);
  if (low === null) return [`${told}, too few yet`, "text"];
  const word = low > 0 ? "more" : high < 0 ? "less" : "not told apart";
  return [`${told} (${number(low, 2)} to ${number(high, 2)}): ${word}`, low > 0 ? "text good" : high < 0 ? "text bad" : "text"];
}

function showArms(data) {
  byId("experiment").textContent = data.experiment
    ? `Experiment “${data.experiment}”: sessions that are over; differences to the control a session, with 95 % intervals that hold however often one looks.`
    : "Sessions that are over, since this pricer is at work.";
  const each = (sum, sessions) => sessions ? number(sum / sessions, 2) : "–";
  fill(byId("arms"), ["pricer", "sessions", "orders", "revenue a session", "profit a session",
    ...(data.experiment ? [["difference in revenue", "text"], ["in profit", "text"]] : [])],
    Object.entries(data.arms).map(([name, own]) => [
      name, number(own.sessions), number(own.orders), each(own.revenue, own.sessions), each(own.profit, own.sessions),
      ...(data.experiment ? [uplift(own.uplift && own.uplift.revenue), uplift(own.uplift && own.uplift.profit)] : []),
    ]));
}

function showTables(data) {
  const arms = data.experiment ? Object.keys(data.arms) : [];
  byId("others").textContent = data.others ? `${number(data.others)} more are not shown; these had most interest.` : "";
  fill(byId("products"), ["product", ...(arms.length ? arms.map(name => `price, ${name}`) : ["price"]), "base", "interest",
    "views", "orders", "elasticity", ["moved by", "text"]],
    data.products.map(own => {
      const line = own.line;
      const elasticity = line.elasticity_estimated ? `${number(line.elasticity, 2)} ± ${number(1.96 * line.elasticity_error, 2)}` : "–";
      const prices = arms.length ? arms.map(name => number(own.arms[name] ?? own.price, 2)) : [number(own.price, 2)];
      return [own.name, ...prices, number(own.base, 2), number(line.proxy, 1), number(line.views), number(line.orders),
        elasticity, [(line.moved_by || []).join(", "), "text"]];
    }));
  const hits = Object.entries(data.hits);
  fill(byId("hits"), ["guardrail", "times"], hits.length ? hits.map(([name, times]) => [name, number(times)]) : [["none", "0"]]);
  byId("num-dead").textContent = data.num_dead_letters
    ? `${number(data.num_dead_letters)} in all; the newest:` : "None.";
  fill(byId("dead"), data.dead_letters.length ? ["received", ["topic", "text"], ["field", "text"], ["reason", "text"], ["body", "text"]] : [],
    data.dead_letters.map(own => [time(own.received), [own.topic, "text"], [own.field, "text"], [own.reason, "text"], [own.body, "text body"]]));
}

let key = sessionStorage.getItem("key") || "";

async function look() {
  try {
    const answer = await fetch("data", {headers: key ? {authorization: `Bearer ${key}`} : {}});
    byId("door").hidden = answer.status !== 401;
    const data = await answer.json();
    if (answer.status === 401) {
      byId("status").textContent = key ? "This is not the key." : "This shop's dashboard wants the admin key.";
    } else if (!answer.ok) {
      byId("status").textContent = `${data.field}: ${data.error}`;
      byId("status").className = "bad";
    } else {
      showStatus(data);
      showTiles(data);
      showArms(data);
      showTables(data);
      showCharts(data);
      document.body.dataset.shown = "yes";
    }
  } catch (fault) {
    byId("status").textContent = `The service does not answer (${fault.message}); what is shown is old.`;
    byId("status").className = "bad";
  }
  setTimeout(look, EVERY);
}

byId("door").addEventListener("submit", event => {
  event.preventDefault();
  key = byId("key").value;
  sessionStorage.setItem("key", key);
});
look();
