"""Watches over WHEP until so many frames have come, and reports the number in every decoded picture and how many buffers of sound
came."""

import argparse

import common
from common import Gst, GstWebRTC


class Viewer(common.Peer):
    """Decodes what it is sent."""

    def __init__(self, url: str, local: str, frames: int) -> None:
        super().__init__("webrtcbin name=peer bundle-policy=max-bundle latency=200", url, local)
        self.wanted, self.pictures, self.sounds = frames, [], 0
        receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        video = "encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1"
        audio = "encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"
        for media, codec in [("video", video), ("audio", audio)]:
            caps = Gst.Caps.from_string(f"application/x-rtp,media={media},{codec}")
            self.peer.emit("add-transceiver", receive, caps)
        self.peer.connect("pad-added", self.stream)
        common.GLib.idle_add(lambda: self.offer())

    def stream(self, _, pad: Gst.Pad) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        video = pad.get_current_caps().get_structure(0).get_string("media") == "video"
        decoder = (
            "rtph264depay ! h264parse ! openh264dec ! videoconvert ! video/x-raw,format=I420"
            if video
            else "rtpopusdepay ! opusdec"
        )
        sink = "appsink name=sink emit-signals=true sync=false max-buffers=0"
        bin_ = Gst.parse_bin_from_description(f"queue ! {decoder} ! {sink}", True)
        bin_.get_by_name("sink").connect("new-sample", self.picture if video else self.sound)
        self.pipeline.add(bin_)
        bin_.sync_state_with_parent()
        pad.link(bin_.get_static_pad("sink"))

    def picture(self, sink: Gst.Element) -> Gst.FlowReturn:
        sample = sink.emit("pull-sample")
        _, data = sample.get_buffer().map(Gst.MapFlags.READ)
        # I420 of this width has no padding at the ends of its lines.
        self.pictures.append(common.read_number(bytes(data.data[: common.WIDTH * common.SIDE]), common.WIDTH))
        sample.get_buffer().unmap(data)
        if len(self.pictures) >= self.wanted:
            self.loop.quit()
        return Gst.FlowReturn.OK

    def sound(self, sink: Gst.Element) -> Gst.FlowReturn:
        sink.emit("pull-sample")
        self.sounds += 1
        return Gst.FlowReturn.OK


parser = argparse.ArgumentParser()
parser.add_argument("--whep", required=True)
parser.add_argument("--local", required=True)
parser.add_argument("--frames", type=int, required=True)
args = parser.parse_args()
viewer = Viewer(args.whep, args.local, args.frames)
viewer.run()
common.report(frames=viewer.pictures, sounds=viewer.sounds)
