-- How the page looks: narrow and wide, light and dark, printed.
return [[
:root { color-scheme: light dark; --page: #ffffff; --text: #1d2329; --faint: #545d67; --line: #cfd6dd; --panel: #f3f5f7;
  --link: #0b57a4; --good: #11632f; --fair: #1a5f7a; --bad: #a3231d; --odd: #7a4b00; --open: #545d67; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181c; --text: #e4e8ec; --faint: #a3adb7; --line: #3a434c; --panel: #1e242a; --link: #8cc2ff;
    --good: #7fd69a; --fair: #7cc8e8; --bad: #ff9a92; --odd: #eabf72; --open: #a3adb7; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 72rem; padding: 0.75rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; margin: 1.6rem 0 0.6rem; }
h1 { font-size: 1.5rem; margin-top: 0.4rem; }
h2 { font-size: 1.25rem; border-top: 1px solid var(--line); padding-top: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1.05rem; }
p, ul, dl { max-width: 46rem; }
ul { padding-left: 1.2rem; }
a { color: var(--link); }
small, .stamp, figcaption, footer { color: var(--faint); font-size: 0.875rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.875em; }
pre { background: var(--panel); padding: 0.75rem; overflow-x: auto; border-radius: 0.4rem; }
.banner { border: 2px solid var(--bad); color: var(--bad); padding: 0.5rem 0.75rem; font-weight: 700; border-radius: 0.4rem; }
.wide { overflow-x: auto; margin: 0.75rem 0 1.25rem; overflow-wrap: normal; }
table { border-collapse: separate; border-spacing: 0; font-size: 0.9375rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; background: var(--panel); }
tbody th { font-weight: 400; position: sticky; left: 0; background: var(--page); min-width: 7rem; max-width: 22rem; }
details td, details th { min-width: 4.5rem; }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
td a { color: inherit; text-decoration: underline dotted; text-underline-offset: 0.2em; }
#records td, #records th { white-space: nowrap; }
#records tbody th { min-width: 0; }
tr:target > * { background: var(--panel); outline: 2px solid var(--link); }
details { margin: 0.5rem 0; }
summary { cursor: pointer; padding: 0.4rem 0; }
.totals { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0.5rem; max-width: none; }
.totals li { background: var(--panel); border-left: 0.3rem solid currentColor; border-radius: 0.3rem;
  padding: 0.35rem 0.75rem; }
.totals strong { font-size: 1.35rem; }
.verdict { font-weight: 600; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); } .odd { color: var(--odd); }
.open { color: var(--open); }
figure { margin: 1rem 0 1.5rem; }
figure img { display: block; width: 30rem; max-width: 100%; height: auto; background: #ffffff; padding: 0.5rem;
  border: 1px solid var(--line); border-radius: 0.4rem; }
figcaption { max-width: 46rem; margin-top: 0.4rem; }
dt { color: var(--faint); font-size: 0.875rem; }
dd { margin: 0 0 0.5rem; }
@media (min-width: 40rem) {
  dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; }
  dd { margin: 0; }
}
@media print {
  :root { color-scheme: light; --page: #ffffff; --text: #000000; --faint: #444444; --line: #aaaaaa; --panel: #f3f5f7;
    --link: #000000; --good: #11632f; --fair: #1a5f7a; --bad: #a3231d; --odd: #7a4b00; --open: #444444; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; }
  tbody th { position: static; }
  #records td, #records th { white-space: normal; }
  tr, figure { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; }
}
]]
