/** The look of `<bicast-player>`. It stands on every page, so it brings everything along and takes nothing but a few variables. */

/** `--bicast-accent`, `--bicast-live` and `--bicast-radius` may be set from outside. */
export const ELEMENT_CSS = `
:host { display: block; position: relative; aspect-ratio: 16 / 9; color: #fff; background: #06080c; container-type: inline-size;
  border-radius: var(--bicast-radius, 12px); overflow: hidden; contain: content; font: 14px/1.4 system-ui, sans-serif;
  user-select: none; }
:host([hidden]), [hidden] { display: none !important; }
:host(:focus-visible) { outline: 2px solid var(--bicast-accent, #4f7cff); outline-offset: 2px; }
:host(:fullscreen) { border-radius: 0; }
.stage, .stage > * { position: absolute; inset: 0; width: 100%; height: 100%; }
.stage { isolation: isolate; }
.stage > * { object-fit: contain; }
#still { z-index: 3; visibility: hidden; }
.overlay { position: absolute; inset: 0; display: grid; place-items: center; padding: 16px 16px 72px; text-align: center;
  background: #06080ce0; opacity: 0; visibility: hidden; transition: opacity .2s, visibility .2s; }
.overlay[data-shown=true] { opacity: 1; visibility: visible; }
.overlay[data-over=picture] { background: #06080cb0; }
.words { max-width: 44ch; }
p { margin: 0; }
.title { font-size: 17px; font-weight: 650; }
.detail { margin-top: 6px; color: #c6ccd8; }
.chrome { position: absolute; inset: auto 0 0 0; padding: 40px 12px 8px; background: linear-gradient(transparent, #000a 45%, #000d);
  transition: opacity .25s; }
:host([data-idle]) { cursor: none; }
:host([data-idle]) .chrome { opacity: 0; }
.row { display: flex; align-items: center; gap: 4px; }
button { font: inherit; color: inherit; background: none; border: 0; border-radius: 8px; cursor: pointer; min-height: 36px; padding: 0 10px; }
button:hover { background: #ffffff26; }
button:focus-visible, .bar:focus-visible, input:focus-visible { outline: 2px solid #fff; outline-offset: 1px; }
.icon { width: 38px; padding: 0; display: grid; place-items: center; flex: none; }
svg { width: 22px; height: 22px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
.toggle svg, .back svg { fill: currentColor; stroke: none; }
.retry { margin-top: 12px; background: #ffffff2e; }
.status { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: #d5dae4; font-size: 13px; padding: 0 6px; }
.latency { font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; padding: 0 6px; }
.live { display: flex; align-items: center; gap: 7px; font-weight: 650; font-size: 13px; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.live i { width: 8px; height: 8px; border-radius: 50%; background: #8b93a3; }
.live[data-live=true] i { background: var(--bicast-live, #ff4d4f); box-shadow: 0 0 0 3px #ff4d4f40; }
.path { background: #ffffff1f; font-weight: 600; font-size: 12.500px; min-height: 28px; white-space: nowrap; }
.path[data-path=realtime] { background: var(--bicast-accent, #4f7cff); }
.bar { position: relative; padding: 8px 0; cursor: pointer; touch-action: none; border-radius: 6px; }
.track { height: 4px; border-radius: 2px; background: #ffffff40; transition: height .12s; }
.bar:hover .track, .bar:focus-visible .track { height: 7px; }
.played { height: 100%; border-radius: inherit; background: var(--bicast-accent, #4f7cff); position: relative; }
.played::after { content: ""; position: absolute; right: -7px; top: 50%; width: 14px; height: 14px; margin-top: -7px; border-radius: 50%;
  background: #fff; box-shadow: 0 1px 4px #0008; }
.tip { position: absolute; bottom: 26px; transform: translateX(-50%); padding: 4px; border-radius: 8px; background: #10141cf2; text-align: center;
  font-size: 12.500px; font-variant-numeric: tabular-nums; pointer-events: none; box-shadow: 0 4px 18px #0009; }
.tip canvas { display: block; width: 160px; border-radius: 5px; margin-bottom: 3px; }
.tip span { padding: 0 6px; }
.volume { width: 76px; accent-color: #fff; }
.popover { position: absolute; right: 12px; bottom: 62px; min-width: 210px; max-height: calc(100% - 80px); overflow: auto; padding: 6px; border-radius: 12px;
  background: #151a24f5; box-shadow: 0 10px 34px #000a; }
.popover h3 { margin: 8px 10px 2px; font-size: 11.500px; font-weight: 600; color: #98a1b3; text-transform: uppercase; letter-spacing: .05em; }
.popover button { display: block; width: 100%; text-align: left; min-height: 32px; padding: 0 10px 0 30px; position: relative; }
.popover [aria-checked=true]::before { content: "✓"; position: absolute; left: 10px; }
.stats { position: absolute; left: 10px; top: 10px; max-width: calc(100% - 20px); margin: 0; padding: 8px 12px; border-radius: 10px;
  background: #0a0d13d9; display: grid; grid-template-columns: auto 1fr; gap: 1px 12px; font: 12px/1.5 ui-monospace, monospace; overflow: hidden; }
dt { color: #98a1b3; }
dd { margin: 0; overflow-wrap: anywhere; }
@container (max-width: 620px) { .volume, .back, .latency { display: none; } }
@container (max-width: 420px) { .pip, .status { display: none; } .row { justify-content: space-between; } .icon { width: 34px; } }
@media (prefers-reduced-motion: reduce) { .overlay, .chrome, .track { transition: none; } }
`;
