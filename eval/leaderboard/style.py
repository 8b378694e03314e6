"""The page's style sheet; its hash is in the page's content policy."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #faf9f6; --surface: #ffffff; --sunken: #f3f1ec; --ink: #1d1c1a; --muted: #69655e;
  --faint: #c9c4ba; --line: #e7e3da; --accent: #4a45d6; --right: #17753a; --wrong: #b42318;
  --warn-page: #fff6df; --warn-line: #e9b949; --warn-ink: #6b4300; --heat: 74, 69, 214;
  --run-majority: #a39d92; --run-base: #5b7089; --run-1: #4a45d6; --run-2: #0f8a74;
  --run-3: #c2571a; --run-4: #b0317f; --run-5: #7a6a00; --run-6: #1f78b4;
  --run-7: #8c4a2f; --run-8: #d0416a; --run-9: #4f8a10; --run-10: #7b2d9e;
  --text: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121214; --surface: #1a1a1e; --sunken: #222227; --ink: #ecebe7; --muted: #a19d95;
    --faint: #4b4a50; --line: #2c2c33; --accent: #a9a7ff; --right: #5fd08a; --wrong: #ff8d80;
    --warn-page: #2c2410; --warn-line: #8a6a1c; --warn-ink: #f3d692; --heat: 150, 147, 255;
    --run-majority: #7d7a74; --run-base: #8fa6c2; --run-1: #a09dff; --run-2: #4fd1b5;
    --run-3: #f2a065; --run-4: #ee85c0; --run-5: #d6c556; --run-6: #7cc4f0;
    --run-7: #d9a183; --run-8: #ff8fa9; --run-9: #a8d65c; --run-10: #cf9bf0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 var(--text); }
main, .top, .foot { max-width: 1280px; margin: 0 auto; padding: 0 28px; }
h1, h2, h3 { line-height: 1.2; letter-spacing: -0.015em; margin: 0; text-wrap: balance; }
h1 { font-size: 32px; font-weight: 680; }
h2 { font-size: 20px; font-weight: 650; }
h3 { font-size: 13px; font-weight: 600; color: var(--muted); letter-spacing: 0; }
p { margin: 0; }
a { color: inherit; text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
section { margin: 52px 0 0; }
.section-head { display: flex; align-items: baseline; gap: 8px 16px; flex-wrap: wrap; }
.section-head + * { margin-top: 14px; }
.quiet { color: var(--muted); font-size: 13px; }
.number { font-variant-numeric: tabular-nums; }
.error { color: var(--muted); font-size: 0.82em; font-weight: 400; }
.mono { font-family: var(--mono); font-size: 12.5px; }

.top { padding-top: 48px; }
.eyebrow { color: var(--muted); font-size: 13px; font-weight: 600; margin-bottom: 6px; }
.lede { color: var(--muted); margin-top: 8px; max-width: 90ch; }
.notice { margin-top: 22px; padding: 12px 16px; border: 1px solid var(--warn-line);
  border-radius: 10px; background: var(--warn-page); color: var(--warn-ink); max-width: 90ch; }
.notice strong { font-weight: 680; }
.notice + .notice { margin-top: 8px; }

.cards { display: flex; flex-wrap: wrap; gap: 14px; margin-top: 26px; }
.card { flex: 1 1 190px; min-width: 0; max-width: 360px; padding: 16px 18px 18px;
  background: var(--surface); border: 1px solid var(--line); border-radius: 12px; }
.card .name { display: flex; align-items: center; gap: 8px; font-weight: 600; min-width: 0; }
.card .name span:last-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.card .big { font-size: 34px; font-weight: 660; letter-spacing: -0.02em; line-height: 1.25;
  margin-top: 6px; }
.card .big .error { font-size: 15px; letter-spacing: 0; }
.card .track { margin-top: 8px; height: 6px; }

.dot { flex: none; width: 10px; height: 10px; border-radius: 50%; background: currentColor; }
.dot.hollow { background: none; border: 2px solid currentColor; }
.tag { display: inline-block; font-size: 11.5px; line-height: 18px; padding: 0 7px;
  border-radius: 9px; background: var(--sunken); color: var(--muted); white-space: nowrap;
  font-weight: 500; }
.tag.warn { background: var(--warn-page); color: var(--warn-ink);
  box-shadow: inset 0 0 0 1px var(--warn-line); }
.c-majority { color: var(--run-majority); } .c-base { color: var(--run-base); }
.c-1 { color: var(--run-1); } .c-2 { color: var(--run-2); } .c-3 { color: var(--run-3); }
.c-4 { color: var(--run-4); } .c-5 { color: var(--run-5); } .c-6 { color: var(--run-6); }
.c-7 { color: var(--run-7); } .c-8 { color: var(--run-8); } .c-9 { color: var(--run-9); }
.c-10 { color: var(--run-10); }

.controls { display: flex; flex-wrap: wrap; gap: 8px; align-items: center;
  margin-bottom: 12px; }
.controls input { font: inherit; font-size: 14px; color: inherit; background: var(--surface);
  border: 1px solid var(--line); border-radius: 8px; padding: 6px 11px; width: 230px; }
.controls input::placeholder { color: var(--muted); opacity: 1; }
.controls button { font: inherit; font-size: 13px; color: var(--muted); background: none;
  border: 1px solid var(--line); border-radius: 999px; padding: 4px 12px; cursor: pointer; }
.controls button[aria-pressed=true] { color: var(--ink); background: var(--surface);
  border-color: var(--faint); }
.controls button[aria-pressed=false] { text-decoration: line-through; }

.sheet { overflow-x: auto; background: var(--surface); border: 1px solid var(--line);
  border-radius: 12px; }
table { border-collapse: separate; border-spacing: 0; width: 100%; }
.board th, .board td { padding: 9px 12px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
.board tbody tr:last-child > * { border-bottom: 0; }
.board thead th { font-size: 12.5px; line-height: 1.35; font-weight: 500; color: var(--muted);
  vertical-align: bottom; }
.board thead tr:last-child th { white-space: normal; overflow-wrap: break-word;
  min-width: 88px; max-width: 150px; }
.board thead .groups th { padding-bottom: 0; border-bottom: 0; font-weight: 650;
  color: var(--ink); text-align: left; }
.board th:first-child, .board td:first-child { position: sticky; left: 0; z-index: 1;
  background: var(--surface); text-align: left; }
.board tbody th { font-weight: 600; max-width: 300px; }
.board tbody th .run { display: flex; align-items: center; gap: 9px; }
.board tbody th .run span:nth-child(2) { overflow: hidden; text-overflow: ellipsis; }
.board .mean { font-weight: 600; }
.board .edge { border-left: 1px solid var(--line); }
.board th button { all: unset; cursor: pointer; display: inline-block; }
.board th button:hover { color: var(--ink); }
.board th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
.board th[aria-sort=none] button:hover::after { content: " \\2193"; color: var(--faint); }
.board th[aria-sort=descending] button::after { content: " \\2193"; color: var(--accent); }
.board th[aria-sort=ascending] button::after { content: " \\2191"; color: var(--accent); }
.board .metric { display: block; font-weight: 400; font-size: 11.5px; margin-top: 2px; }
.board .best { color: var(--accent); font-weight: 680; }
.board .bar { display: block; width: 100%; min-width: 58px; height: 3px; margin-top: 4px;
  border-radius: 2px; background: var(--sunken); fill: var(--faint); overflow: hidden; }
.board .best + .bar, .board .best ~ .bar { fill: var(--accent); }
.board .none { color: var(--faint); }
[hidden] { display: none !important; }

.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; }
.legend span { display: inline-flex; align-items: center; gap: 7px; }
.family { margin-top: 26px; }
.family > h3 { padding: 0 0 8px; }
.tasks { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; }
.task + .task { border-top: 1px solid var(--line); }
.task > summary { display: grid; grid-template-columns: 250px 1fr 92px; gap: 20px;
  align-items: center; padding: 11px 18px; cursor: pointer; list-style: none; }
.task > summary::-webkit-details-marker { display: none; }
.task > summary:hover { background: var(--sunken); }
.task[open] > summary { border-bottom: 1px solid var(--line); }
.task:first-child > summary { border-radius: 11px 11px 0 0; }
.task:last-child:not([open]) > summary { border-radius: 0 0 11px 11px; }
.task .title { display: block; position: relative; padding-left: 19px; font-weight: 600;
  overflow-wrap: break-word; }
.task .title::before { content: ""; position: absolute; left: 1px; top: 0.53em; width: 6px;
  height: 6px; border-right: 1.6px solid var(--muted); border-bottom: 1.6px solid var(--muted);
  transform: rotate(-45deg); transition: transform 0.15s; }
.task[open] .title::before { transform: rotate(45deg); }
.task .facts { display: block; color: var(--muted); font-size: 12.5px; margin-left: 19px; }
.task .lead { text-align: right; font-weight: 640; }
.track { display: block; width: 100%; height: 30px; overflow: visible; }
.track .rail, .track .tick { stroke: var(--line); }
.track .span { stroke: var(--faint); stroke-width: 2; }
.track .whisker { stroke: currentColor; stroke-width: 2; opacity: 0.45; }
.track circle { fill: currentColor; stroke: var(--surface); stroke-width: 1.5; }
.track circle.hollow { fill: none; stroke: currentColor; stroke-width: 2; }
.track rect { fill: currentColor; }
.track rect.rest { fill: var(--sunken); }
.scale { display: grid; grid-template-columns: 250px 1fr 92px; gap: 20px; padding: 6px 18px 0;
  color: var(--muted); font-size: 11.5px; }
.scale div { display: flex; justify-content: space-between; }

.inside { padding: 20px 18px 24px; display: grid; grid-template-columns: minmax(0, 1fr);
  gap: 26px; }
.halves { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 3fr); gap: 36px; }
.bars { display: grid; grid-template-columns: minmax(0, auto) minmax(48px, 1fr) auto;
  gap: 9px 14px; align-items: center; }
.halves > * { min-width: 0; }
.bars .who { display: flex; align-items: center; gap: 8px; max-width: 220px; min-width: 0; }
.bars .who span:last-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars .track { height: 16px; }
.bars .whisker { stroke: var(--ink); opacity: 0.7; stroke-width: 1.5; }
.difference { margin-top: 14px; font-size: 13.5px; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 4px 16px; margin: 0; font-size: 13px;
  align-content: start; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
.rows { display: grid; gap: 12px; margin-top: 10px; }
.row { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 22px;
  padding: 14px 16px; background: var(--sunken); border-radius: 10px; }
.row pre { margin: 0; font: 12.5px/1.5 var(--mono); white-space: pre-wrap;
  overflow-wrap: anywhere; max-height: 15em; overflow-y: auto; }
.picture { display: block; width: 84px; height: 84px; margin-bottom: 6px; fill: var(--ink);
  background: var(--surface); border: 1px solid var(--line); shape-rendering: crispEdges; }
.answers { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 8px 14px;
  align-content: start; font-size: 13px; }
.answers .who { color: var(--muted); max-width: 130px; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.mark { font-weight: 700; margin-right: 6px; }
.mark.right { color: var(--right); } .mark.wrong { color: var(--wrong); }
.mark.part { color: var(--muted); }
.matrices { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 26px 40px;
  margin-top: 10px; overflow-x: auto; }
.matrix { width: auto; font-size: 12.5px; }
.matrix caption { text-align: left; font-weight: 600; padding-bottom: 6px; }
.matrix th { font-weight: 500; color: var(--muted); padding: 3px 8px; text-align: right;
  max-width: 130px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix thead th { vertical-align: bottom; text-align: center; }
.matrix td { min-width: 42px; height: 30px; text-align: center; padding: 0 6px;
  border: 1px solid var(--surface); border-radius: 6px; background: var(--sunken); }
.h1 { background: rgba(var(--heat), 0.12) !important; }
.h2 { background: rgba(var(--heat), 0.24) !important; }
.h3 { background: rgba(var(--heat), 0.38) !important; }
.h4 { background: rgba(var(--heat), 0.54) !important; }
.h5 { background: rgba(var(--heat), 0.72) !important; color: var(--surface); }

.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr));
  gap: 14px; }
.curve { background: var(--surface); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 14px; min-width: 0; }
.curve p { display: flex; justify-content: space-between; gap: 10px; font-size: 13px; }
.curve p span:first-child { font-weight: 600; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.curve svg { display: block; width: 100%; height: 84px; margin-top: 8px; overflow: visible; }
.curve polyline { fill: none; stroke: var(--run-1); stroke-width: 1.8; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
.curve polyline.validation { stroke: var(--run-3); stroke-dasharray: 4 3; }
.curve line { stroke: var(--line); vector-effect: non-scaling-stroke; }
.curve p span:last-child { flex: none; }
.curve .axis { color: var(--muted); font-size: 11.5px; margin-top: 4px; }
.curve .axis span:first-child { font-weight: 400; }
.key { display: inline-block; width: 18px; border-top: 2px solid var(--run-1);
  vertical-align: middle; margin-right: 6px; }
.key.validation { border-top: 2px dashed var(--run-3); }

.usages { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(480px, 100%), 1fr));
  gap: 14px; margin: 14px 0; }
.usage { background: var(--surface); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 14px; min-width: 0; font-size: 13px; }
.usage > p { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 12px;
  margin-bottom: 10px; }
.usage > p span:first-child { font-weight: 600; overflow-wrap: anywhere; }
.usage .bars { gap: 3px 12px; }
.cells { display: block; width: 100%; height: 16px; border-radius: 3px; }
.cells line { stroke: var(--ink); stroke-width: 1.5; }
.u0 { fill: var(--sunken); }
.u1 { fill: rgba(var(--heat), 0.12); } .u2 { fill: rgba(var(--heat), 0.28); }
.u3 { fill: rgba(var(--heat), 0.5); } .u4 { fill: rgba(var(--heat), 0.75); }
.u5 { fill: rgb(var(--heat)); }

.method th, .method td { text-align: left; padding: 7px 14px; font-size: 13px;
  border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere;
  min-width: 130px; }
.method.wide { min-width: 860px; }
.method.wide th, .method.wide td { min-width: 70px; overflow-wrap: break-word; }
.method.wide tbody th { white-space: normal; overflow-wrap: anywhere; max-width: 340px;
  min-width: 150px; }
.method tbody tr:last-child > * { border-bottom: 0; }
.method tbody th { font-weight: 500; color: var(--muted); white-space: nowrap; }
.method thead th { font-weight: 600; }
.foot { color: var(--muted); font-size: 13px; padding-top: 36px; padding-bottom: 60px; }
.foot p { max-width: 88ch; }
.foot p + p { margin-top: 8px; }

@media (max-width: 860px) {
  main, .top, .foot { padding-left: 16px; padding-right: 16px; }
  .top { padding-top: 30px; }
  h1 { font-size: 26px; }
  section { margin-top: 40px; }
  .task > summary { grid-template-columns: 1fr auto; gap: 6px 14px; padding: 12px 14px; }
  .task > summary .track { grid-row: 2; grid-column: 1 / -1; width: calc(100% - 16px);
    margin: 0 8px; }
  .scale { display: none; }
  .halves, .row { grid-template-columns: minmax(0, 1fr); gap: 18px; }
  .inside { padding: 18px 14px 22px; }
  .board th, .board td { padding: 8px 11px; }
  .card { max-width: none; }
  .board tbody th { max-width: 150px; }
  .board tbody th .tag { display: none; }
  .controls input { width: 100%; }
  .bars .who { max-width: 110px; }
  .bars .number .error { display: block; }
  .method.wide { min-width: 640px; }
}
@media print {
  .controls { display: none; }
  .sheet { overflow: visible; }
}
"""
