// SPDX-License-Identifier: Apache-2.0
//
// The dry-run report as one page: the JSON report, and the script that draws it.
#include "partition/partitions.h"

namespace stator {
namespace {

const char* const kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Stator dry run</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { --engine: #1d7a4f; --torch: #c2571a; --line: #d5d9de; --text: #1f2933; --soft: #66727f; }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--text); margin: 0 auto; max-width: 1100px;
  padding: 24px; background: #fff; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 28px 0 8px; }
.soft { color: var(--soft); } code { font: 12px ui-monospace, monospace; }
.bar { height: 10px; border-radius: 5px; background: var(--torch); overflow: hidden; margin: 10px 0; }
.bar div { height: 100%; background: var(--engine); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top;
  padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); } th { color: var(--soft);
  font-weight: 500; } td.number, th.number { text-align: right; white-space: nowrap; }
.flow { position: relative; padding-right: 120px; }
.part { border: 1px solid var(--line); border-left: 6px solid var(--torch); border-radius: 6px;
  margin: 22px 0; padding: 8px 14px; background: #fff; position: relative; }
.part.engine { border-left-color: var(--engine); }
.part summary { cursor: pointer; list-style: none; } .part b { margin-right: 10px; }
.part ul { columns: 2; margin: 8px 0 4px; padding-left: 18px; }
.end { border-left-color: var(--soft); }
svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
svg path { fill: none; stroke: #9aa5b1; stroke-width: 1.5; }
.settings { white-space: pre-wrap; overflow-wrap: anywhere; }
</style></head><body>
<script id="report" type="application/json">)";

const char* const kTail = R"(</script>
<div id="page"></div>
<script>
"use strict";
const report = JSON.parse(document.getElementById("report").textContent);
const page = document.getElementById("page");
function add(parent, tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  parent.appendChild(element);
  return element;
}
function scaled(value, unit) {
  const steps = ["", "k", "M", "G", "T", "P"];
  let i = 0;
  while (value >= 1000 && i + 1 < steps.length) { value /= 1000; ++i; }
  return value.toFixed(value < 10 && i > 0 ? 2 : 0) + " " + steps[i] + unit;
}
function table(parent, heads, rows) {
  const t = add(parent, "table"), head = add(add(t, "thead"), "tr"), body = add(t, "tbody");
  for (const h of heads) add(head, "th", h.text, h.number ? "number" : "");
  for (const row of rows) {
    const tr = add(body, "tr");
    row.forEach((cell, i) => add(tr, "td", cell, heads[i].number ? "number" : ""));
  }
}
add(page, "h1", "Dry run");
add(page, "div", "The graph consists of " + report.total_operators + " Total Operators, of which " +
    report.supported_operators + " operators are supported, " +
    report.coverage_percent.toFixed(2) + "% coverage", "soft");
add(add(page, "div", undefined, "bar"), "div").style.width = report.coverage_percent + "%";

add(page, "h2", "Graph");
const flow = add(page, "div", undefined, "flow");
const boxes = [];
function box(title, kind, detail, lists) {
  const part = add(flow, lists ? "details" : "div", undefined, "part " + kind);
  const line = lists ? add(part, "summary") : part;
  add(line, "b", title);
  add(line, "span", detail, "soft");
  for (const list of lists || []) {
    add(part, "div", list.title, "soft");
    const ul = add(part, "ul");
    for (const item of list.items) add(add(ul, "li"), "code", item);
  }
  boxes.push(part);
}
box("Inputs", "end", report.inputs);
for (const s of report.segments) {
  const operators = Object.entries(s.operator_counts).map(([name, count]) => count + " x " + name);
  box(s.name, s.engine ? "engine" : "torch",
      (s.engine ? "engine" : "PyTorch") + ", " + s.operators + " operators, " +
      scaled(s.flops, "FLOP") + ", " + scaled(s.bytes, "B"),
      [{title: "operators", items: operators}, {title: "inputs", items: s.inputs},
       {title: "outputs", items: s.outputs}]);
}
box("Outputs", "end", report.outputs);
const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
flow.appendChild(svg);
function draw() {
  svg.replaceChildren();
  const top = flow.getBoundingClientRect().top;
  const places = boxes.map(b => { const r = b.getBoundingClientRect();
    return {top: r.top - top, bottom: r.bottom - top, right: b.offsetLeft + b.offsetWidth,
            middle: b.offsetLeft + 40}; });
  for (const [from, to] of report.edges) {
    const a = places[from + 1], b = places[to < 0 ? boxes.length - 1 : to + 1];
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const next = (to < 0 ? report.segments.length : to) === from + 1;
    const y1 = (a.top + a.bottom) / 2, y2 = (b.top + b.bottom) / 2;
    const reach = a.right + 20 + 12 * Math.min(7, Math.abs((to < 0 ? boxes.length : to) - from));
    path.setAttribute("d", next
      ? `M${a.middle},${a.bottom} L${b.middle},${b.top}`
      : `M${a.right},${y1} C${reach},${y1} ${reach},${y2} ${b.right},${y2}`);
    svg.appendChild(path);
  }
}
draw();
window.addEventListener("resize", draw);
flow.addEventListener("toggle", draw, true);

if (report.in_torch.length) {
  add(page, "h2", "Nodes set to run in PyTorch");
  table(page, [{text: "node"}, {text: "operator"}, {text: "reason"}, {text: "source"},
               {text: "FLOP", number: true}],
        report.in_torch.map(n => [n.node, n.operator, n.reason, n.source, scaled(n.flops, "")]));
}
add(page, "h2", "Recommendations");
const list = add(page, "ul");
for (const text of report.recommendations) add(list, "li", text);
add(page, "h2", "Settings");
add(page, "code", report.settings, "settings");
document.body.dataset.drawn = String(svg.childElementCount);
</script></body></html>
)";

}  // namespace

std::string dry_run_report_html(const std::string& json) {
  // Within a script element nothing but its end has a meaning.
  std::string safe;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '<') {
      safe += "\\u003c";
    } else {
      safe += json[i];
    }
  }
  return std::string(kHead) + safe + kTail;
}

}  // namespace stator
