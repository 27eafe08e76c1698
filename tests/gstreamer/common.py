"""What the GStreamer peers share: signalling over HTTP, the barcode, and the main loop.

Both are `webrtcbin` with signalling around it, which is what GStreamer's own `whipsink` and `whepsrc` are: its SDP, libnice, its
DTLS and SRTP, and its RTP session, jitter buffer and payloaders.
"""

import json
import signal
import sys
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

BITS = 20
WIDTH, HEIGHT, FPS = 640, 360, 30
SIDE = WIDTH // (2 * (BITS + 1)) * 2


class Peer:
    """A pipeline with a webrtcbin named `peer` that offers as soon as its media is known."""

    def __init__(self, pipeline: str, url: str, local: str) -> None:
        Gst.init(None)
        self.url, self.session, self.failure = url, None, None
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(pipeline)
        if not isinstance(self.pipeline, Gst.Pipeline):
            # A single element is not put into one.
            element, self.pipeline = self.pipeline, Gst.Pipeline()
            self.pipeline.add(element)
        self.peer = self.pipeline.get_by_name("peer")
        # libnice leaves loopback out, which is all that a test has.
        self.agent = self.peer.get_property("ice-agent")
        self.agent.emit("add-local-ip-address", local)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("notify::connection-state", self.connection)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.broken)
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, self.loop.quit)

    def offer(self, *_) -> None:
        promise = Gst.Promise.new_with_change_func(self.offered)
        self.peer.emit("create-offer", None, promise)

    def offered(self, promise: Gst.Promise) -> None:
        # The offer lives in the reply.
        reply = promise.get_reply()
        self.peer.emit("set-local-description", reply["offer"], Gst.Promise.new())

    def gathered(self, peer: Gst.Element, _) -> None:
        if peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        # Not in GStreamer's own thread: the request waits for the server.
        GLib.idle_add(self.exchange)

    def exchange(self) -> None:
        offer = self.peer.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(
            self.url,
            data=offer.encode(),
            headers={"Content-Type": "application/sdp", "User-Agent": "GStreamer"},
            method="POST",
        )
        status, location, answer = fetch(request)
        if status != 201:
            return self.fail(f"POST {self.url}: {status}: {answer}")
        self.session = urllib.parse.urljoin(self.url, location)
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())

    def connection(self, peer: Gst.Element, _) -> None:
        if peer.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.fail("the connection failed")

    def broken(self, _, message: Gst.Message) -> None:
        error, details = message.parse_error()
        self.fail(f"{error.message}: {details}")

    def fail(self, why: str) -> None:
        self.failure = self.failure or why
        self.loop.quit()

    def run(self) -> None:
        """Plays until it is told to end (SIGTERM), it is done, or something fails. Says goodbye."""
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.session:
            status, _, text = fetch(urllib.request.Request(self.session, method="DELETE"))
            if status not in (200, 204) and not self.failure:
                self.failure = f"DELETE {self.session}: {status}: {text}"
        self.pipeline.set_state(Gst.State.NULL)
        if self.failure:
            sys.exit(self.failure)


def fetch(request: urllib.request.Request) -> tuple[int, str, str]:
    """One request: status, Location, body."""
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers.get("Location", ""), response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", error.read().decode()


def draw(number: int) -> bytes:
    """A grey I420 picture with its number as a barcode along the top, and a band that moves."""
    boxes = bytearray([16]) * WIDTH
    for bit in range(BITS + 1):
        if bit == BITS or number >> bit & 1:
            boxes[bit * SIDE : (bit + 1) * SIDE] = b"\xeb" * SIDE
    rows = [bytes([100]) * WIDTH] * HEIGHT
    top = SIDE + number * 4 % (HEIGHT - SIDE - 24)
    rows[top : top + 24] = [bytes([180]) * WIDTH] * 24
    rows[:SIDE] = [bytes(boxes)] * SIDE
    return b"".join(rows) + bytes([128]) * (WIDTH * HEIGHT // 2)


def read_number(picture: bytes, stride: int) -> int | None:
    """The number in the luma plane of a picture of WIDTH; none where it has no barcode."""
    row = picture[stride * (SIDE // 2) :]
    boxes = [row[bit * SIDE + SIDE // 2] > 128 for bit in range(BITS + 1)]
    if not boxes[BITS]:
        return None
    return sum(1 << bit for bit in range(BITS) if boxes[bit])


def report(**what) -> None:
    """The last line of the output: what the test reads."""
    print(json.dumps(what), flush=True)
