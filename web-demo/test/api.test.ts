import { describe, expect, it } from "vitest";
import { parseFeed as parsePlayed, parseTime } from "../src/bicast/api";
import { parseProblem } from "../src/bicast/problem";
import { parseFeedTimeline } from "../src/rest/feed-timeline";
import { parseFeed, parseFeeds } from "../src/rest/feed-wire";

/** The server's tests write these files from its own types: both sides read the same JSON. */
const files = import.meta.glob<unknown>("../../tests/fixtures/wire/*.json", {
  eager: true,
  import: "default",
});
const fixture = (name: string): unknown => {
  const found = files[`../../tests/fixtures/wire/${name}.json`];
  if (found === undefined) throw new Error(`no fixture ${name}; there are ${Object.keys(files).join(", ")}`);
  return structuredClone(found);
};

describe("the wire", () => {
  it("reads a live feed", () => {
    const feed = parseFeed(fixture("feed-live"));
    expect(feed.state).toBe("live");
    expect(feed.tracks.map((track) => track.kind)).toEqual(["video", "audio"]);
    expect(feed.tracks[0]?.renditions[0]?.resolution).toEqual({ width: 1280, height: 720 });
    expect(feed.timeline?.anchorUnixMs).toBeGreaterThan(1.7e12);
    expect(feed.paths.realtime.available).toBe(true);
    expect(feed.paths.hls.url).toBe(`/hls/${feed.id}/multivariant.m3u8`);
  });

  it("has program times that the timeline gives too", () => {
    const { timeline, paths } = parseFeed(fixture("feed-live"));
    for (const { liveEdge } of [paths.realtime, paths.hls]) {
      const told = Date.parse(liveEdge?.programTime ?? "");
      const counted = (timeline?.anchorUnixMs ?? 0) + (liveEdge?.mediaTime ?? 0) / 90;
      expect(Math.abs(told - counted)).toBeLessThan(2);
    }
  });

  it("reads lists, the clock and problems", () => {
    expect(parseFeeds(fixture("feeds")).length).toBeGreaterThan(0);
    expect(parseTime(fixture("time"))).toBeGreaterThan(1.7e12);
    const problem = parseProblem(JSON.stringify(fixture("problem")), 404);
    expect(problem.detail).not.toBe("");
    expect(problem.hint).not.toBeNull();
  });

  it("reads where a moment lies", () => {
    const outline = parseFeedTimeline(fixture("timeline"));
    expect(outline.position).toBeNull();
    expect(outline.epochs.map((epoch) => epoch.discontinuitySequence)).toEqual([0, 1]);
    const { position } = parseFeedTimeline(fixture("timeline-position"));
    const [picture, sound] = position?.renditions ?? [];
    expect(picture?.state).toBe("available");
    const { part, byteRange, frame } = picture?.segment ?? {};
    expect(part?.url).toBe(picture?.playlist.replace("media.m3u8", "34.4.m4s"));
    expect(frame?.byteRange.offset).toBeGreaterThan(byteRange?.offset ?? Number.POSITIVE_INFINITY);
    expect(frame?.mediaTime).toBeLessThanOrEqual(position?.mediaTime ?? 0);
    expect(sound?.segment).toBeNull();
    expect(parseProblem(JSON.stringify(fixture("problem-outside-window")), 404).hint).not.toBeNull();
  });

  it("every feed fixture is read", () => {
    const feeds = Object.keys(files).filter((name) => /\/feed-[^/]+\.json$/.test(name));
    expect(feeds.length).toBeGreaterThan(0);
    for (const name of feeds) {
      const feed = parseFeed(structuredClone(files[name]));
      // A player reads less of it, and the same.
      expect(feed).toMatchObject(parsePlayed(structuredClone(files[name])));
    }
  });

  it("names the member that is wrong", () => {
    const broken = fixture("feed-live") as { tracks: { codec: unknown }[]; state: unknown };
    broken.tracks[1] = { ...broken.tracks[1], codec: 12 };
    expect(() => parseFeed(broken)).toThrow("tracks[1].codec: expected a text, got 12");
    const odd = fixture("feed-live") as { state: unknown };
    odd.state = "asleep";
    expect(() => parseFeed(odd)).toThrow('state: expected starting | live | offline | ended, got "asleep"');
    expect(() => parsePlayed(odd)).toThrow("state: expected starting");
    expect(() => parseFeed([])).toThrow("expected an object");
    expect(() => parseFeeds({ feeds: {} })).toThrow("feeds: expected a list");
    expect(() => parseTime({ unixMs: null })).toThrow("unixMs: expected a number");
  });

  it("ignores members it does not know", () => {
    const newer = { ...(fixture("feed-live") as object), drm: { systems: [] } };
    expect(parseFeed(newer)).not.toHaveProperty("drm");
  });
});

describe("parseProblem", () => {
  it("makes words where the server has none", () => {
    expect(parseProblem("<html>", 502, "Bad Gateway")).toEqual({
      type: "about:blank",
      title: "Bad Gateway",
      status: 502,
      detail: "The server answered 502 Bad Gateway.",
      hint: null,
    });
    expect(parseProblem('{"detail":7}', 500).detail).toBe("The server answered 500.");
    expect(parseProblem("null", 500).title).toBe("HTTP 500");
  });
});
