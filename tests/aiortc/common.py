"""What the aiortc peers share: signalling over HTTP, the barcode, and addresses.

aiortc is a WebRTC stack of its own (Python, its own SDP, ICE, DTLS and RTP code; libx264 and libopus through PyAV): what
works with it does not only work because two ends share a mistake.
"""

import asyncio
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription

BITS = 20


def gather_only(address: str) -> None:
    """Makes ICE use one local address. aioice never gathers loopback addresses, which is all that a test has."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]


def box_side(width: int) -> int:
    """The side of a barcode box in a picture of this width."""
    return min(48, width // (2 * (BITS + 1)) * 2)


async def exchange(connection: RTCPeerConnection, url: str) -> str:
    """Offers by POST, takes the answer, and returns the session's URL (WHIP and WHEP: Location)."""
    await connection.setLocalDescription(await connection.createOffer())
    request = urllib.request.Request(
        url,
        data=connection.localDescription.sdp.encode(),
        headers={"Content-Type": "application/sdp", "User-Agent": "aiortc"},
        method="POST",
    )
    status, location, answer = await asyncio.to_thread(fetch, request)
    if status != 201:
        raise RuntimeError(f"POST {url}: {status}: {answer}")
    await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    return urllib.parse.urljoin(url, location)


async def leave(connection: RTCPeerConnection, session: str) -> None:
    """Says goodbye and closes."""
    status, _, text = await asyncio.to_thread(fetch, urllib.request.Request(session, method="DELETE"))
    if status not in (200, 204):
        raise RuntimeError(f"DELETE {session}: {status}: {text}")
    await connection.close()


def fetch(request: urllib.request.Request) -> tuple[int, str, str]:
    """One request: status, Location, body."""
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers.get("Location", ""), response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", error.read().decode()


async def connected(connection: RTCPeerConnection) -> None:
    """Waits until media can flow."""
    for _ in range(600):
        if connection.connectionState == "connected":
            return
        if connection.connectionState in ("failed", "closed"):
            break
        await asyncio.sleep(0.1)
    raise RuntimeError(f"not connected: {connection.connectionState}, ICE {connection.iceConnectionState}")


def report(**what) -> None:
    """The last line of the output: what the test reads."""
    print(json.dumps(what), flush=True)
    sys.stdout.flush()
