"""Watches over WHEP, for some seconds or until so many frames have come, and reports every decoded frame: the number in the
picture and its RTP timestamp."""

import argparse
import asyncio

import aiortc.rtcrtpreceiver
from aiortc import RTCPeerConnection, RTCRtpReceiver
from av import VideoFrame

import common

# aiortc hides RTP's timestamps behind ones that begin at 0. The test is about the very numbers on the wire.
aiortc.rtcrtpreceiver.TimestampMapper.map = lambda self, timestamp: timestamp


def read_number(frame: VideoFrame) -> int | None:
    side = common.box_side(frame.width)
    plane = frame.planes[0]
    row = memoryview(plane)[plane.line_size * (side // 2) :]
    middle = [row[bit * side + side // 2] > 128 for bit in range(common.BITS + 1)]
    if not middle[common.BITS]:
        return None
    return sum(1 << bit for bit in range(common.BITS) if middle[bit])


async def watch(track, seen: list, done) -> None:
    while not done():
        frame = await asyncio.wait_for(track.recv(), 30)
        if track.kind == "video":
            seen.append((read_number(frame), frame.pts))
        else:
            seen.append((None, frame.pts))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--whep", required=True)
    parser.add_argument("--local", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--frames", type=int)
    args = parser.parse_args()
    common.gather_only(args.local)

    connection = RTCPeerConnection()
    video = connection.addTransceiver("video", direction="recvonly")
    codecs = RTCRtpReceiver.getCapabilities("video").codecs
    video.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
    audio = connection.addTransceiver("audio", direction="recvonly")
    session = await common.exchange(connection, args.whep)
    await common.connected(connection)
    loop = asyncio.get_running_loop()
    until = loop.time() + args.seconds
    pictures, sounds = [], []

    def done() -> bool:
        return loop.time() >= until or (args.frames is not None and len(pictures) >= args.frames)

    await asyncio.gather(
        watch(video.receiver.track, pictures, done), watch(audio.receiver.track, sounds, done)
    )
    await common.leave(connection, session)
    common.report(frames=pictures, sounds=len(sounds))


asyncio.run(main())
