"""The page. Everything is rendered here; the script only refreshes the inner part, draws a line and counts downtime."""

from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --bg: #f5f6f8; --card: #fff; --ink: #1c2430; --soft: #66707f; --line: #e2e6ec;
  --good: #15803d; --bad: #b91c1c; --warn: #b45309; --accent: #714b67; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171c; --card: #1d222a; --ink: #e8ebf0; --soft: #98a2b3;
  --line: #2c333e; --good: #4ade80; --bad: #f87171; --warn: #fbbf24; --accent: #d3a4c6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { display: flex; align-items: baseline; gap: 14px; padding-top: 24px; flex-wrap: wrap; }
h1 { font-size: 24px; margin: 0; color: var(--accent); }
h2 { font-size: 14px; margin: 0 0 8px; color: var(--soft); font-weight: 600; }
#live { font-size: 13px; padding: 2px 10px; border-radius: 99px; border: 1px solid currentColor; color: var(--good); }
#live[data-up="no"] { color: #fff; background: var(--bad); border-color: var(--bad); }
.from { color: var(--soft); margin: 6px 0 16px; }
.from b { font-weight: 600; } .from b:not([class]) { color: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  min-width: 0; overflow-x: auto; }
.tile b { display: block; font-size: 25px; white-space: nowrap; font-variant-numeric: tabular-nums; line-height: 1.2; }
.tile small { color: var(--soft); }
.tile.good b { color: var(--good); } .tile.bad { border-color: var(--bad); } .tile.bad b { color: var(--bad); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 12px;
  margin: 12px 0 24px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; color: var(--soft); font-weight: 500; padding: 3px 10px 3px 0; }
td { border-top: 1px solid var(--line); padding: 4px 10px 4px 0; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.n { text-align: right; } td.wrap { white-space: normal; overflow-wrap: anywhere; }
.bad { color: var(--bad); } .good { color: var(--good); } .warn { color: var(--warn); } .soft { color: var(--soft); }
svg { display: block; width: 100%; height: 72px; } polyline { fill: none; stroke: var(--accent); stroke-width: 2;
  vector-effect: non-scaling-stroke; } rect { fill: var(--bad); opacity: .18; }
#chart { margin-top: 12px; }
"""

# The page stays open while the application is stopped: it shows for how long, and continues automatically.
_SCRIPT = """
"use strict";
const part = document.getElementById("part"), live = document.getElementById("live");
const chart = document.getElementById("line"), span = 180000, points = [];
let downSince = 0, lastOutage = 0;
function draw(now) {
  while (points.length && points[0].t < now - span) points.shift();
  const top = Math.max(1, ...points.map(p => p.v || 0));
  const x = t => (1 - (now - t) / span) * 1000, y = v => 68 - v / top * 62;
  let out = "", line = [];
  const flush = () => { if (line.length) out += `<polyline points="${line.join(" ")}"/>`; line = []; };
  points.forEach((p, i) => {
    if (p.v !== null) { line.push(`${x(p.t).toFixed(1)},${y(p.v).toFixed(1)}`); return; }
    flush();
    const end = i + 1 < points.length ? points[i + 1].t : now;
    out += `<rect x="${x(p.t).toFixed(1)}" y="0" width="${Math.max(1, x(end) - x(p.t)).toFixed(1)}" height="72"/>`;
  });
  flush();
  chart.innerHTML = out;
}
async function refresh() {
  const now = Date.now();
  try {
    const answer = await fetch("/part", {cache: "no-store", signal: AbortSignal.timeout(2000)});
    if (!answer.ok) throw new Error(answer.status);
    part.innerHTML = await answer.text();
    if (downSince) { lastOutage = (now - downSince) / 1000; downSince = 0; }
    points.push({t: now, v: Number(part.querySelector("[data-orders]").dataset.orders)});
    live.textContent = lastOutage ? `live, was down for ${lastOutage.toFixed(1)} s` : "live";
    live.dataset.up = "yes";
  } catch (error) {
    downSince = downSince || now;
    points.push({t: now, v: null});
    live.textContent = `down for ${((now - downSince) / 1000).toFixed(1)} s`;
    live.dataset.up = "no";
  }
  draw(now);
  setTimeout(refresh, live.dataset.up === "yes" ? 1000 : 250);
}
refresh();
"""

STYLE, SCRIPT = _STYLE.strip(), _SCRIPT.strip()


def render(state: dict[str, Any], nonce: str) -> str:
    """The whole page. `nonce` is the one that the Content-Security-Policy allows."""
    title = escape(state["title"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style nonce="{nonce}">{STYLE}</style></head>
<body><header><h1>{title}</h1><span id="live" data-up="yes" role="status">live</span></header>
<main><div id="part">{render_part(state)}</div>
<div class="card" id="chart"><h2>Orders, last three minutes (red: the application did not answer)</h2>
<svg id="line" viewBox="0 0 1000 72" preserveAspectRatio="none" role="img" aria-label="Orders over time"></svg></div>
<p class="soft">The same as JSON: <a href="/api/state">/api/state</a></p></main>
<script nonce="{nonce}">{SCRIPT}</script></body></html>
"""


def render_part(state: dict[str, Any]) -> str:
    """The part that is refreshed every second."""
    orders, attachments, filestore = state["orders"], state["attachments"], state["filestore"]
    missing = attachments["missing"]
    files, tone = ("named by a row, not there", "bad") if missing else ("every row has its file", "good")
    return f"""{_provenance(state["database"], neutralized=state["acting"]["neutralized"])}
<div class="tiles" data-orders="{orders["count"]}" data-missing="{missing}">
{_tile("Orders", f"{orders['count']:,}", f"{orders['confirmed']:,} confirmed")}
{_tile("Revenue", f"€ {float(orders['revenue']):,.0f}", "of confirmed orders")}
{_tile("Attachments", f"{attachments['count']:,}", _bytes(attachments["bytes"]))}
{_tile("Missing files", f"{missing:,}", files, tone)}
{_tile("Files on disk", f"{filestore['files']:,}", f"{filestore['waiting_for_gc']:,} on the garbage checklist")}
</div>
<div class="two"><div class="card"><h2>Newest orders</h2>{_orders(state["newest_orders"])}</div>
<div class="card"><h2>Newest attachments</h2>{_attachments(state["newest_attachments"])}</div></div>"""


def _provenance(database: dict[str, Any], *, neutralized: bool) -> str:
    name = escape(database["name"])
    if database["rollback_id"]:
        origin = f'brought back by <b class="good">rollback {escape(database["rollback_id"][:8])}</b>'
    else:
        origin = "never rolled back"
    labels = {"previous": "the one before, kept for undo", "restored": "being restored, not live yet"}
    beside = "".join(
        f' · beside it <b class="warn">{escape(b["name"])}</b> ({labels[b["kind"]]}{_size_of(b)})'
        for b in database["beside"]
    )
    if neutralized:
        origin += ', <b class="good">neutralised</b>: mail, jobs and payments are off'
    size = _bytes(database["size_bytes"])
    version = escape(database["server_version"].split()[0])
    return f'<p class="from">Database <b>{name}</b> ({size}, PostgreSQL {version}): {origin}{beside}</p>'


def _size_of(beside: dict[str, Any]) -> str:
    return f", {_bytes(beside['size_bytes'])}" if beside["size_bytes"] is not None else ""


def _tile(label: str, value: str, note: str, mark: str = "") -> str:
    return f'<div class="card tile {mark}"><h2>{label}</h2><b>{value}</b><small>{note}</small></div>'


def _orders(rows: list[dict[str, Any]]) -> str:
    lines = "".join(
        f"<tr><td>S{r['id']:05d}</td><td>{escape(r['partner_name'])}</td><td>{_state(r['state'])}</td>"
        f'<td class="n">{r["attachment_count"]}</td><td class="n">{_money(r["amount_total"])}</td></tr>'
        for r in rows
    )
    head = '<tr><th>Order</th><th>Customer</th><th>State</th><th class="n">Files</th><th class="n">Amount</th></tr>'
    return f"<table>{head}{lines}</table>" if rows else '<p class="soft">none</p>'


def _state(state: str) -> str:
    return '<span class="good">confirmed</span>' if state == "sale" else '<span class="soft">draft</span>'


def _attachments(rows: list[dict[str, Any]]) -> str:
    lines = "".join(
        f'<tr><td class="wrap">{escape(r["name"])}</td><td class="soft">{escape(r["store_fname"] or "")[:11]}…</td>'
        f'<td class="n">{_bytes(r["file_size"] or 0)}</td>'
        f"<td>{'<span class=good>there</span>' if r['there'] else '<span class=bad>missing</span>'}</td></tr>"
        for r in rows
    )
    head = '<tr><th>Name</th><th>File</th><th class="n">Size</th><th></th></tr>'
    return f"<table>{head}{lines}</table>" if rows else '<p class="soft">none</p>'


def _money(amount: str) -> str:
    return f"€ {float(amount):,.2f}"


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
