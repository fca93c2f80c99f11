"""Attacks the socket of a publisher with mutated messages, while a subscriber counts what it gets.

Each attacker is a process that connects again and again, each time from another loopback address, so that no ban of a
host ends it. It speaks ZMTP by hand: greetings and handshakes with changed bytes, subscriptions of any length, in
parts without end, commands of every name, sizes that are not true, random bytes. During all of that a publisher sends
numbered frames, and the following must hold:

- `put` raises nothing, and no beat and no decision about a connection fails;
- the subscriber gets every frame;
- the process of the publisher grows by at most ``--memory`` MiB;
- after the attack its threads, its descriptors and its connections are as many as before.

With ``--keys`` the publisher wants keys, which no attacker has; no message of theirs may then be read.

The same seed gives the same attacks, though not the same order in time. The last line on stdout is one JSON object;
exit code 1 with a finding.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSink, ZmqSource, access_control
from deepbid_rt.zmq_io.access_control import AccessControl
from deepbid_rt.zmq_io.key_folder import KeyFolder

FRAME_S = 0.01
"""Seconds between frames: a camera that is faster than those of this program's users."""
GUARD_S = 20.0
"""Longest wait for what must come at once."""
FIRST_MESSAGES = 1000
"""Sent before threads and descriptors are counted for the first time."""
PER_PEER = 1000
"""Messages that one connection sends at most; most are cut off before."""
WARM_UP_S = 1.0
"""Seconds of attack before the memory is measured for the first time."""
COMMANDS = (
    b"READY",
    b"ERROR",
    b"PING",
    b"PONG",
    b"SUBSCRIBE",
    b"CANCEL",
    b"HELLO",
    b"WELCOME",
    b"INITIATE",
    b"MESSAGE",
)
SOCKET_TYPES = (b"SUB", b"XSUB", b"PUB", b"DEALER", b"PULL", b"REP", b"", b"\0", b"S" * 255)


def main() -> None:
    """Attack, check and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000, help="sent by all attackers together")
    parser.add_argument("--attackers", type=int, default=2, help="processes that attack at the same time")
    parser.add_argument("--per-peer", type=int, help="messages the publisher reads of a connection before it ends it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=64, help="largest growth of the publisher, MiB")
    parser.add_argument("--keys", action="store_true", help="the publisher wants keys")
    options = parser.parse_args()
    if options.per_peer:
        access_control.MAX_PEER_MESSAGES = options.per_peer
    with tempfile.TemporaryDirectory() as folder:
        keys, server_key = make_keys(Path(folder)) if options.keys else (None, None)
        began = time.monotonic()
        result = attack(options, keys, server_key)
        result["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(result))
    if result["findings"]:
        sys.exit(1)


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Make the keys of a computer and allow it itself; return its folder and its public key."""
    keys = KeyFolder(folder / "keys")
    public = keys.create()
    keys.allow(public)
    return folder / "keys", public


def attack(options: argparse.Namespace, keys: Path | None, server_key: Path | None) -> dict[str, Any]:
    """Publish under attack and return the counts with everything that did not hold."""
    process = psutil.Process()
    findings: list[str] = []
    sink = ZmqSink("tcp://127.0.0.1:*", keys=keys)
    with closing(sink), closing(Subscriber(sink.endpoint, keys, server_key)) as subscriber:
        if not sink.wait_for_subscriber(GUARD_S):
            raise SystemExit("the subscriber did not connect")
        sink.start(StreamInfo((1, 16, 16), np.dtype("<i2"), 1 / FRAME_S))
        read = counted(sink.access)
        context = multiprocessing.get_context("spawn")
        sent, sessions = context.Value("q", 0), context.Value("q", 0)

        def attacker(number: int, messages: int) -> SpawnProcess:
            arguments = (sink.endpoint, messages, options.seed, number, options.attackers, sent, sessions)
            process = context.Process(target=attack_on, args=arguments, daemon=True)
            process.start()
            return process

        first = attacker(options.attackers, FIRST_MESSAGES)  # what it opens once is there before anything is counted
        first.join()
        first.close()
        before = settled(process, sink, None)
        attackers = [attacker(number, options.messages) for number in range(options.attackers)]
        began, first_rss, peak, slowest_s, published = time.monotonic(), 0, 0, 0.0, 0
        while any(one.is_alive() for one in attackers):
            put_s = time.monotonic()
            try:
                sink.put(Frame(published, np.full((1, 16, 16), published % 30_000, np.int16)))
            except Exception as error:  # any error is a finding
                findings.append(f"frame {published}: {error!r}")
                break
            published += 1
            now_s = time.monotonic()
            slowest_s = max(slowest_s, now_s - put_s)
            rss = process.memory_info().rss
            if now_s - began > WARM_UP_S and not first_rss:
                first_rss = rss
            peak = max(peak, rss - first_rss) if first_rss else 0
            time.sleep(max(0.0, FRAME_S - (now_s - put_s)))
        codes = []
        for one in attackers:
            if findings:
                one.terminate()
            one.join()
            codes.append(one.exitcode)
            one.close()
        after = settled(process, sink, before)
        sink.end(StreamEnd("done"))
        subscriber.wait(findings)
        status = sink.status()
        if peak > options.memory * 2**20:
            findings.append(f"the publisher has grown by {peak} bytes")
        if subscriber.received != published:
            findings.append(f"the subscriber got {subscriber.received} of {published} frames")
        if after != before:
            findings.append(f"threads, descriptors and connections are {after}, and were {before}")
        if status.failures:
            findings.append(f"{status.failures} beats or decisions failed")
        if any(codes):
            findings.append(f"the attackers ended with exit codes {codes}")
        return {
            "messages": sent.value,
            "read": read(),
            "connections": sessions.value,
            "refused": status.refused,
            "frames": published,
            "received": subscriber.received,
            "slowest_put_ms": round(slowest_s * 1e3, 1),
            "memory_growth_bytes": peak,
            "seed": options.seed,
            "keys": options.keys,
            "findings": findings,
        }


def settled(process: psutil.Process, sink: ZmqSink, wanted: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return threads, descriptors and connections, as soon as they are as wanted or the time is over.

    Without a wish: as soon as only the subscriber is connected and nothing changes any more.
    """
    deadline = time.monotonic() + GUARD_S
    seen = (0, 0, 0)
    while True:
        before, seen = seen, (process.num_threads(), process.num_fds(), sink.status().peers)
        if seen == wanted or (wanted is None and seen == before and seen[2] == 1) or time.monotonic() > deadline:
            return seen
        time.sleep(0.2)


def counted(access: AccessControl) -> Callable[[], int]:
    """Count the messages that reach the publisher; return what tells their number."""
    count_message, read = access.count_message, [0]

    def count(descriptor: int) -> None:
        read[0] += 1
        count_message(descriptor)

    access.count_message = count  # type: ignore[method-assign]
    return lambda: read[0]


class Subscriber:
    """Receives the stream in a thread of its own and counts the frames that are what they should be."""

    def __init__(self, endpoint: str, keys: Path | None, server_key: Path | None) -> None:
        self.received = 0
        self._source = ZmqSource(endpoint, topic=b"den/", default_layout="ordinary", keys=keys, server_key=server_key)
        self._source.open()
        self._ended = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            event = self._source.read(0.1)
            if isinstance(event, Frame):
                if event.index != self.received or np.any(event.pixels != event.index % 30_000):
                    self._problem = self._problem or f"frame {event.index} came after {self.received} frames"
                self.received += 1
            elif isinstance(event, Gap):
                self._problem = self._problem or f"{event} came after {self.received} frames"
            elif isinstance(event, StreamEnd):
                self._ended.set()

    def wait(self, findings: list[str]) -> None:
        """Wait for the end of the series and tell what was wrong with it."""
        if not self._ended.wait(GUARD_S):
            findings.append("the end of the series did not come")
        if self._problem:
            findings.append(self._problem)

    def close(self) -> None:
        """End the thread and the connection."""
        self._ended.set()
        self._thread.join()
        self._source.close()


def attack_on(
    endpoint: str,
    messages: int,
    seed: int,
    number: int,
    attackers: int,
    sent: Synchronized[int],
    sessions: Synchronized[int],
) -> None:
    """Act as an attacker: connect and send until all attackers together have sent so many messages."""
    rng = random.Random(f"{seed}-{number}")
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    for address in count(number, attackers):
        if sent.value >= messages:
            return
        # 127.1.0.0 and on: another host each time, so that a ban ends one connection and not the attack.
        source = socket.inet_ntoa(struct.pack(">I", 0x7F010000 + address % 0xEF0000))
        done = 0
        with (
            suppress(OSError),  # the publisher ends connections, as it should
            socket.create_connection((host, int(port)), GUARD_S, source_address=(source, 0)) as peer,
        ):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece, count_in_piece in conversation(rng):
                peer.sendall(piece)
                done += count_in_piece
            if rng.random() < 0.5:  # the others leave without listening
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(0.05)
                while peer.recv(65536):
                    pass
        with sent.get_lock():
            sent.value += done
        with sessions.get_lock():
            sessions.value += 1


def conversation(rng: random.Random) -> list[tuple[bytes, int]]:
    """Return what one connection sends, each piece with the number of its messages."""
    pieces = [(greeting(rng), 1), (ready(rng), 1)]
    makers = rng.choice(((subscription,), (subscription, command, lie, noise)))  # the first is never cut off as invalid
    left = rng.choice((0, 1, 8, PER_PEER // 2, PER_PEER))
    while left > 0:
        length = min(left, rng.choice((1, 3, 60, 200)))
        make = rng.choice(makers)
        pieces.append((b"".join(make(rng) for _ in range(length)), length))
        left -= length
    return pieces


def greeting(rng: random.Random) -> bytes:
    """Return the first 64 bytes of a peer, most of the time the right ones."""
    mechanism = rng.choice((b"NULL",) * 20 + (b"PLAIN", b"CURVE", b"GSSAPI", b"", b"X" * 20))
    return mutated(rng, b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32), 0.1)


def ready(rng: random.Random) -> bytes:
    """Return the second step of the handshake, most of the time a right one."""
    properties = b"".join(
        bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
        for name, value in [(b"Socket-Type", b"SUB" if rng.random() < 0.8 else rng.choice(SOCKET_TYPES))]
        + [(rng.randbytes(rng.randrange(9)), rng.randbytes(rng.randrange(90))) for _ in range(rng.choice((0, 0, 0, 5)))]
    )
    body = b"\x05READY" + properties
    return mutated(rng, frame(4, body), 0.1)


def frame(flags: int, body: bytes) -> bytes:
    """Return a ZMTP frame."""
    if len(body) < 256 and not flags & 2:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body


def subscription(rng: random.Random) -> bytes:
    """Return a request for a topic, or the end of one, perhaps in many parts."""
    topic = rng.choice((b"", b"den/", b"raw/", b"x" * 200, rng.randbytes(rng.randrange(64)), rng.randbytes(250)))
    if rng.random() < 0.001:
        topic = rng.randbytes(rng.choice((255, 256, 1024, 100_000)))  # longer than what is accepted
    body = rng.choice((b"\x01", b"\x00", b"\x01", b"", b"\x02", b"\xff")) + topic
    return frame(rng.choice((0, 0, 0, 0, 1, 2, 3)), body)


def command(rng: random.Random) -> bytes:
    """Return a command, known or not."""
    name = rng.choice((*COMMANDS, rng.randbytes(rng.randrange(20))))
    return frame(4, bytes([len(name)]) + name + rng.randbytes(rng.choice((0, 1, 2, 8, 40, 600))))


def lie(rng: random.Random) -> bytes:
    """Return a frame whose size or flags are not true: whatever follows is read as something else."""
    if rng.random() < 0.98:  # otherwise nearly every connection would end here
        return subscription(rng)
    size = rng.choice((0, 1, 255, 1024, 1025, 2**31, 2**32, 2**62, 2**63, 2**64 - 1))
    return bytes([rng.randrange(256)]) + struct.pack(">Q", size) + rng.randbytes(rng.randrange(40))


def noise(rng: random.Random) -> bytes:
    """Return a subscription with a changed byte."""
    return mutated(rng, subscription(rng), 0.02)


def mutated(rng: random.Random, data: bytes, share: float) -> bytes:
    """Return `data`, a `share` of the time with changes."""
    if rng.random() >= share:
        return data
    kind = rng.randrange(4)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        return rng.randbytes(rng.randrange(200))
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


if __name__ == "__main__":
    main()
