"""Publishes numbered pictures (H.264 by libx264) and silence (Opus) over WHIP until it is told to end (SIGTERM)."""

import argparse
import asyncio
import fractions
import signal
import time

from aiortc import AudioStreamTrack, MediaStreamTrack, RTCPeerConnection, RTCRtpSender
from av import VideoFrame

import common

WIDTH, HEIGHT, FPS = 640, 360, 30


class Numbered(MediaStreamTrack):
    """Pictures with their number as a barcode along the top, and a band that moves."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.began = None

    async def recv(self) -> VideoFrame:
        if self.began is None:
            self.began = time.monotonic()
        await asyncio.sleep(max(0.0, self.began + self.number / FPS - time.monotonic()))
        frame = draw(self.number)
        frame.pts = self.number * 90_000 // FPS
        frame.time_base = fractions.Fraction(1, 90_000)
        self.number += 1
        return frame


def draw(number: int) -> VideoFrame:
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    side = common.box_side(WIDTH)
    luma, stride = frame.planes[0], frame.planes[0].line_size
    boxes = bytearray(stride)
    for bit in range(common.BITS + 1):
        if bit == common.BITS or number >> bit & 1:
            boxes[bit * side : (bit + 1) * side] = b"\xeb" * side
    for at in range(WIDTH):
        boxes[at] = max(boxes[at], 16)
    ground, band = bytes([100]) * stride, bytes([180]) * stride
    top = side + number * 4 % (HEIGHT - side - 24)
    rows = [ground] * HEIGHT
    rows[:side] = [bytes(boxes)] * side
    rows[top : top + 24] = [band] * 24
    luma.update(b"".join(rows))
    for plane in frame.planes[1:]:
        plane.update(bytes([128]) * plane.buffer_size)
    return frame


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--whip", required=True)
    parser.add_argument("--local", required=True)
    args = parser.parse_args()
    common.gather_only(args.local)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)

    connection = RTCPeerConnection()
    track = Numbered()
    video = connection.addTransceiver(track, direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
    connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
    session = await common.exchange(connection, args.whip)
    await common.connected(connection)
    await told.wait()
    await common.leave(connection, session)
    common.report(sent=track.number)


asyncio.run(main())
