/** The look of `<bicast-player>`. It stands on every page, so it brings everything along and takes nothing but a few variables. */

/** `--bicast-accent` and `--bicast-radius` may be set from outside. */
export const ELEMENT_CSS = `
:host { display: block; position: relative; aspect-ratio: 16 / 9; color: #fff; background: #06080c;
  border-radius: var(--bicast-radius, 12px); overflow: hidden; contain: content; font: 14px/1.4 system-ui, sans-serif; }
:host([hidden]) { display: none; }
.stage, video, canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
video, canvas { object-fit: contain; background: transparent; }
canvas { z-index: 3; visibility: hidden; }
.overlay { position: absolute; inset: 0; z-index: 4; display: grid; place-items: center; padding: 16px 16px 56px;
  text-align: center; background: #06080ce0; opacity: 0; visibility: hidden; transition: opacity .2s, visibility .2s; }
.overlay[data-shown=true] { opacity: 1; visibility: visible; }
.overlay[data-over=picture] { background: #06080cd0; }
.words { max-width: 44ch; }
p { margin: 0; }
.title { font-size: 17px; font-weight: 650; }
.detail { margin-top: 6px; color: #c6ccd8; }
.bar { position: absolute; inset: auto 0 0 0; z-index: 5; display: flex; align-items: center; gap: 10px; padding: 28px 10px 10px;
  background: linear-gradient(transparent, #000c); }
.status { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: #d5dae4; font-size: 13px; }
.latency { font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }
button { font: inherit; color: inherit; background: #ffffff24; border: 0; border-radius: 8px; padding: 7px 11px; cursor: pointer;
  min-height: 34px; }
button:hover { background: #ffffff3d; }
button:focus-visible { outline: 2px solid #fff; outline-offset: 2px; }
.paths { display: flex; background: #ffffff1f; border-radius: 9px; padding: 2px; }
.paths button { background: transparent; padding: 5px 10px; min-height: 32px; font-weight: 600; font-size: 13px; }
.paths button[aria-pressed=true] { background: var(--bicast-accent, #4f7cff); color: #fff; }
.retry { margin-top: 12px; }
.sound { display: grid; place-items: center; width: 38px; padding: 0; }
@media (prefers-reduced-motion: reduce) { .overlay { transition: none; } }
`;
