export const STYLE = `
:host { all: initial; display: block; color-scheme: light dark; }
* { box-sizing: border-box; }
.page { --ink: #1b1f27; --soft: #5b6472; --back: #ffffff; --panel: #f4f6f9; --edge: #d5dae2; --mark: #b34700; --blue: #1f6fb2;
  font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--back); padding: 12px; min-height: 100%; }
@media (prefers-color-scheme: dark) {
  .page { --ink: #e8ebf0; --soft: #a0a9b8; --back: #14171d; --panel: #1d222b; --edge: #39414f; --mark: #ffb066; --blue: #74b6ee; }
}
h1 { font-size: 18px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 16px 0 6px; }
p { margin: 4px 0; max-width: 75ch; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.bar { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; margin: 10px 0; }
.bar label { display: flex; gap: 6px; align-items: center; max-width: 100%; }
select, button, input { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--edge); border-radius: 6px;
  padding: 4px 8px; max-width: 100%; min-width: 0; }
button { cursor: pointer; }
button[aria-pressed=true], [role=tab][aria-selected=true] { background: var(--blue); color: var(--back); border-color: var(--blue); }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px; }
.columns { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
.main { flex: 999 1 320px; min-width: 0; }
.side { flex: 1 1 220px; min-width: 0; max-width: 100%; background: var(--panel); border-radius: 8px; padding: 8px 12px; }
.scroll { overflow: auto; max-width: 100%; max-height: 85vh; border: 1px solid var(--edge); border-radius: 6px; }
.read { font-variant-numeric: tabular-nums; min-height: 3em; margin: 6px 0; overflow-wrap: anywhere; }
canvas { display: block; image-rendering: pixelated; }
svg { display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 2px 8px; border-bottom: 1px solid var(--edge); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; max-width: 16em; overflow: hidden; text-overflow: ellipsis; }
.good { color: var(--soft); }
.strip { display: inline-flex; vertical-align: middle; border: 1px solid var(--edge); max-width: 100%; overflow: hidden; }
.strip i { width: 5px; height: 12px; flex: none; }
.heads { display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0; }
.heads button { display: grid; gap: 4px; justify-items: center; }
.thumb { width: 128px; height: 128px; object-fit: contain; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 12px ui-monospace, monospace; }
audio { max-width: 100%; height: 34px; }
.third { flex: 1 1 320px; min-width: 0; }
[hidden] { display: none !important; }
code { font: 12px ui-monospace, monospace; overflow-wrap: anywhere; }
ul { padding-left: 1.2em; }
.bad { color: var(--mark); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; font-size: 12px; color: var(--soft); }
.legend i { display: inline-block; width: 90px; height: 10px; border: 1px solid var(--edge); }
.chance { display: grid; grid-template-columns: minmax(3em, 1fr) 6em 4.5em; gap: 2px 8px; align-items: center; }
.chance b { font-weight: 400; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.chance i { display: block; height: 8px; background: var(--blue); }
`;
