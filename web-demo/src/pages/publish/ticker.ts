/** A worker that ticks: timers of a page in the background are slowed to one a second, those of its workers are not. */

let timer: ReturnType<typeof setTimeout> | undefined;

/** A number starts ticking at that many per second; 0 stops. Ticks fall on a grid, so that delays do not add up. */
addEventListener("message", ({ data: fps }: MessageEvent<number>) => {
  clearTimeout(timer);
  if (!(fps > 0)) return;
  const began = performance.now();
  const tick = (count: number) => {
    postMessage(count);
    // A late tick is followed by the next one on the grid, not by a burst of those that were missed.
    const next = Math.max(count + 1, Math.ceil(((performance.now() - began) * fps) / 1000));
    timer = setTimeout(() => tick(next), began + (next * 1000) / fps - performance.now());
  };
  tick(0);
});
