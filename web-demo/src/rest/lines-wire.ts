/** Lines of `/v1/demo/lines`: one viewer's own bad network. Types, validated where they enter. */

import { boolean, list, nullable, number, object, type Reader, text } from "../bicast/check";

/** How bad a network is. */
export interface Network {
  /** Share of UDP packets that are lost, each way, 0 to 1. Over TCP what is lost is sent again, so it shows as waiting. */
  readonly lossRatio: number;
  /** Added each way, 0 to 2,000. */
  readonly delayMs: number;
  /** On top of the delay, uniform between 0 and this, 0 to 500. UDP only: TCP keeps its order. */
  readonly jitterMs: number;
  /** Towards the viewer, 64 to 100,000; null where it is not limited. */
  readonly rateKbps: number | null;
  /** Whether UDP passes at all. */
  readonly udp: boolean;
}

/** What passed in one direction since the line began. */
export interface Passed {
  readonly udpPackets: number;
  readonly udpBytes: number;
  readonly udpDropped: number;
  readonly tcpBytes: number;
  /** Segments that waited as a lost one would. */
  readonly tcpHeld: number;
}

/** A line. */
export interface Line {
  readonly id: string;
  readonly port: number;
  /** What a player is given as its server. */
  readonly origin: string;
  readonly network: Network;
  readonly passed: { readonly toViewer: Passed; readonly fromViewer: Passed };
}

const passed: Reader<Passed> = object<Passed>({
  udpPackets: number,
  udpBytes: number,
  udpDropped: number,
  tcpBytes: number,
  tcpHeld: number,
});

const line: Reader<Line> = object<Line>({
  id: text,
  port: number,
  origin: text,
  network: object<Network>({
    lossRatio: number,
    delayMs: number,
    jitterMs: number,
    rateKbps: nullable(number),
    udp: boolean,
  }),
  passed: object<Line["passed"]>({ toViewer: passed, fromViewer: passed }),
});

const lines = object<{ lines: readonly Line[] }>({ lines: list(line) });

/** A line, or a `WireError` that names the member that was wrong. */
export const parseLine = (json: unknown): Line => line(json, "");

/** All lines, or a `WireError`. */
export const parseLines = (json: unknown): readonly Line[] => lines(json, "").lines;
