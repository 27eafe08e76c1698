"""Publishes numbered pictures (H.264 by x264) and a tone (Opus, or AAC) over WHIP until it is told to end (SIGTERM)."""

import argparse

import common
from common import FPS, HEIGHT, WIDTH, Gst

VIDEO = f"""
webrtcbin name=peer bundle-policy=max-bundle
appsrc name=pictures is-live=true do-timestamp=false format=time
  caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1
  ! queue max-size-buffers=4 ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=60 threads=1
  ! video/x-h264,profile=constrained-baseline
  ! rtph264pay config-interval=-1 aggregate-mode=zero-latency mtu=1200
  ! application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000 ! peer.
"""
AUDIO = """
audiotestsrc is-live=true wave=sine ! audioconvert ! opusenc ! rtpopuspay
  ! application/x-rtp,media=audio,encoding-name=OPUS,payload=111,encoding-params=(string)2 ! peer.
"""
AAC = """
audiotestsrc is-live=true wave=sine freq=440 ! audioconvert ! audio/x-raw,rate=44100,channels=2
  ! voaacenc bitrate=96000 ! aacparse ! rtpmp4gpay mtu=1200
  ! application/x-rtp,media=audio,encoding-name=MPEG4-GENERIC,payload=97 ! peer.
"""


class Publisher(common.Peer):
    """Pushes a picture whenever one is due by the pipeline's clock."""

    def __init__(self, url: str, local: str, audio: str) -> None:
        super().__init__(VIDEO + audio, url, local)
        self.number, self.begun = 0, None
        for index in range(2 if audio else 1):
            transceiver = self.peer.emit("get-transceiver", index)
            transceiver.set_property("direction", common.GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        self.source = self.pipeline.get_by_name("pictures")
        common.GLib.timeout_add(5, self.push)
        self.peer.connect("on-negotiation-needed", self.offer)

    def push(self) -> bool:
        clock = self.pipeline.get_clock()
        if clock is None or self.pipeline.get_state(0)[1] != Gst.State.PLAYING:
            return True
        now = clock.get_time() - self.pipeline.get_base_time()
        self.begun = now if self.begun is None else self.begun
        while self.begun + self.number * Gst.SECOND // FPS <= now:
            buffer = Gst.Buffer.new_wrapped(common.draw(self.number))
            buffer.pts = self.begun + self.number * Gst.SECOND // FPS
            buffer.duration = Gst.SECOND // FPS
            self.source.emit("push-buffer", buffer)
            self.number += 1
        return True


parser = argparse.ArgumentParser()
parser.add_argument("--whip", required=True)
parser.add_argument("--local", required=True)
sound = parser.add_mutually_exclusive_group()
sound.add_argument("--no-audio", action="store_const", dest="audio", const="", default=AUDIO)
sound.add_argument("--aac", action="store_const", dest="audio", const=AAC)
args = parser.parse_args()
publisher = Publisher(args.whip, args.local, args.audio)
publisher.run()
common.report(sent=publisher.number)
