/** Where moments of a feed lie on both paths: the types of `GET /v1/feeds/{id}/timeline`, validated where they enter. */

import { boolean, list, nullable, number, object, oneOf, type Reader, text } from "../bicast/check";

/** A moment of a feed, in all its names. */
export interface Moment {
  /** Ticks of the master clock. */
  readonly mediaTime: number;
  /** Ticks per second. */
  readonly clockRate: number;
  /** What `requestVideoFrameCallback` tells of the frame of that time. */
  readonly rtpTimestamp: number;
  /** UTC, rounded to the millisecond. */
  readonly programTime: string;
  /** UTC in milliseconds since 1970, with fractions. */
  readonly unixMs: number;
}

/** Bytes of a file. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** A moment in a segment. Times are in ticks of the rendition's timescale. */
export interface SegmentPosition {
  readonly number: number;
  readonly url: string;
  /** Whether the whole file can be fetched. */
  readonly complete: boolean;
  readonly mediaTime: number;
  readonly duration: number;
  readonly init: string | null;
  /** The part, while it can be fetched by itself. */
  readonly part: { readonly index: number; readonly url: string | null } | null;
  /** The part's bytes in the segment's file. */
  readonly byteRange: ByteRange | null;
  /** The frame that is shown. */
  readonly frame: {
    readonly mediaTime: number;
    readonly duration: number;
    readonly keyframe: boolean;
    readonly byteRange: ByteRange;
  } | null;
}

/** What a rendition has of a moment. */
export interface RenditionPosition {
  readonly rendition: string;
  readonly state: "available" | "gap" | "coming" | "nothing";
  readonly mediaTime: number;
  readonly timescale: number;
  readonly playlist: string;
  readonly segment: SegmentPosition | null;
}

/** Where a moment lies. */
export interface Position extends Moment {
  /** Whose stay it is in; null where nobody published. */
  readonly epoch: number | null;
  readonly instance: string;
  readonly renditions: readonly RenditionPosition[];
}

/** What can be asked for, and the moment that was. */
export interface FeedTimeline {
  readonly feed: string;
  readonly window: { readonly oldest: Moment; readonly newest: Moment } | null;
  /** The publishers' stays of which something is in the window, oldest first. */
  readonly epochs: readonly {
    readonly epoch: number;
    readonly begin: Moment;
    readonly instance: string;
    readonly segment: number;
    /** What hls.js calls `cc`. */
    readonly discontinuitySequence: number;
  }[];
  readonly position: Position | null;
}

/** How a moment is named: by one of these. */
export type MomentQuery =
  | { readonly programTime: string | number }
  | { readonly mediaTime: number }
  | { readonly rtpTimestamp: number };

const members = {
  mediaTime: number,
  clockRate: number,
  rtpTimestamp: number,
  programTime: text,
  unixMs: number,
};
const moment: Reader<Moment> = object<Moment>(members);
const byteRange: Reader<ByteRange> = object<ByteRange>({ offset: number, length: number });

const segment: Reader<SegmentPosition> = object<SegmentPosition>({
  number,
  url: text,
  complete: boolean,
  mediaTime: number,
  duration: number,
  init: nullable(text),
  part: nullable(object({ index: number, url: nullable(text) })),
  byteRange: nullable(byteRange),
  frame: nullable(object({ mediaTime: number, duration: number, keyframe: boolean, byteRange })),
});

const position: Reader<Position> = object<Position>({
  ...members,
  epoch: nullable(number),
  instance: text,
  renditions: list(
    object<RenditionPosition>({
      rendition: text,
      state: oneOf("available", "gap", "coming", "nothing"),
      mediaTime: number,
      timescale: number,
      playlist: text,
      segment: nullable(segment),
    }),
  ),
});

const feedTimeline: Reader<FeedTimeline> = object<FeedTimeline>({
  feed: text,
  window: nullable(object({ oldest: moment, newest: moment })),
  epochs: list(
    object({
      epoch: number,
      begin: moment,
      instance: text,
      segment: number,
      discontinuitySequence: number,
    }),
  ),
  position: nullable(position),
});

/** The timeline of a feed, or a `WireError` that names the member that was wrong. */
export const parseFeedTimeline = (json: unknown): FeedTimeline => feedTimeline(json, "");
