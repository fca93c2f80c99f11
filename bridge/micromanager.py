"""Publishes the images of Micro-Manager's core, in the Python process that controls it with pymmcore-plus.

In your own program:

    from micromanager import publishing

    with publishing(core, "tcp://127.0.0.1:5590"):
        core.run_mda(sequence).join()

Or as a demonstration, with the demo camera or your own configuration:

    python bridge/micromanager.py --frames 300 --exposure 30
    python bridge/micromanager.py --config MMConfig.cfg --frames 300

Each acquisition (MDA) is a series. Images that are taken in live mode, outside an acquisition, are not published: the
core tells nobody of them. The images of the channels of one time point and plane become one frame.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError, FileError, OptionError, StreamError
from deepbid_rt.frame import DTYPES, Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.relay import DEFAULT_BIND, add_scan_options, parser, relay, run, scan_of
from deepbid_rt.zmq_io import ZmqSink

log = logging.getLogger(__name__)

DEFAULT_RATE_HZ = 30.0
QUEUE_BYTES = 2**28
"""Images that wait to be published; when there are more, the newest are lost and counted."""
_DRAIN_S = 2.0


@dataclass(slots=True)
class _Plan:
    """What is known of a running acquisition."""

    sizes: Mapping[str, int]
    axes: str
    interval_s: float
    user: dict[str, Any]
    channels: int = 1
    planes: int = 1
    series_axes: str = ""
    """Axes whose change begins a new series, as they are outside of time."""
    place: tuple[int, ...] | None = None
    info: StreamInfo | None = None
    expected: int | None = None
    counted: int = 0
    pending: dict[int, dict[int, NDArray[Any]]] = field(default_factory=dict)
    """Channels of frames that are not complete, by the number of the frame."""
    refused: bool = False


class MicroManagerSource:
    """A `FrameSource` of the images that a core acquires.

    Handlers of the core's events copy an image and return; another thread reads. An image that cannot be used never
    disturbs the acquisition.

    Parameters
    ----------
    core : CMMCorePlus
        The core, which may be acquiring already; only the next acquisition is published.
    rate_hz : float, optional
        Frames per second over all planes. None: by the interval of the acquisition, else by the exposure.
    scan : ScanGeometry, optional
        Cameras have no scan lines: ordinary, in one direction.
    on_open : callable
        Called when the events are connected, for instance to start an acquisition.
    """

    def __init__(
        self,
        core: Any,
        *,
        rate_hz: float | None = None,
        scan: ScanGeometry | None = None,
        on_open: Callable[[], object] = lambda: None,
    ) -> None:
        self._core, self._rate_hz, self._on_open = core, rate_hz, on_open
        self._scan = scan or ScanGeometry(bidirectional=False)
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._plan: _Plan | None = None
        self._canceled = self._connected = False
        self.lost = 0
        """Images that were not published as the queue was full."""

    def open(self) -> None:
        """Connect to the events of the core."""
        self.close()
        events = self._core.mda.events
        for signal, handler in self._handlers(events):
            signal.connect(handler)
        self._connected = True
        self._on_open()

    def _handlers(self, events: Any) -> list[tuple[Any, Callable[..., None]]]:
        return [
            (events.sequenceStarted, self._begin),
            (events.frameReady, self._take),
            (events.sequenceCanceled, self._cancel),
            (events.sequenceFinished, self._finish),
        ]

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when there was none within `timeout_s` seconds."""
        with self._changed:
            if not self._events:
                self._changed.wait(timeout_s)
            if not self._events:
                return None
            event = self._events.popleft()
            if isinstance(event, Frame):
                self._bytes -= event.pixels.nbytes
            self._changed.notify_all()
            return event

    def drain(self, timeout_s: float) -> bool:
        """Wait until all events are read; return False after `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._events, timeout_s)

    def close(self) -> None:
        """Disconnect from the core; may be called twice."""
        if self._connected:
            for signal, handler in self._handlers(self._core.mda.events):
                signal.disconnect(handler)
        self._connected = False
        with self._changed:
            self._events.clear()
            self._bytes, self._plan = 0, None
            self._changed.notify_all()

    # Called by the core, mostly in the thread of the acquisition. Nothing may be raised there.

    def _begin(self, sequence: Any, metadata: Any) -> None:
        try:
            sizes = {str(getattr(axis, "value", axis)): int(size) for axis, size in dict(sequence.sizes).items()}
            axes = "".join(str(getattr(axis, "value", axis)) for axis in sequence.axis_order)
            plan = _Plan(sizes, axes, _interval_s(sequence), _user(metadata))
        except Exception as error:  # an acquisition of a kind that is not known: its images are counted
            log.warning("the acquisition does not say what its axes are (%s): its images are counted", error)
            plan = _Plan({}, "", 0.0, {})
        outside = plan.axes[: plan.axes.index("t")] if "t" in plan.axes else ""
        plan.series_axes = "".join(axis for axis in outside if axis in "pg" and plan.sizes.get(axis, 0) > 1)
        plan.channels = max(1, plan.sizes.get("c", 1))
        plan.planes = 1
        for axis in "pgz":
            if axis not in plan.series_axes:
                plan.planes *= max(1, plan.sizes.get(axis, 1))
        with self._changed:
            self._end("replaced")
            self._canceled, self._plan = False, plan

    def _take(self, image: Any, event: Any, metadata: Any) -> None:
        plan = self._plan
        if plan is None or plan.refused:
            return
        try:
            with self._changed:
                self._add(plan, np.array(image), event, metadata if isinstance(metadata, Mapping) else {})
        except Exception as error:  # nothing may disturb the acquisition
            plan.refused = True
            log.warning("the images of this acquisition are not published: %s", error)
            with self._changed:
                self._end("error")

    def _cancel(self, *_: Any) -> None:
        self._canceled = True

    def _finish(self, *_: Any) -> None:
        with self._changed:
            self._end("abort" if self._canceled else "done")
            self._plan = None

    # The caller of the following methods holds the lock.

    def _add(self, plan: _Plan, image: NDArray[Any], event: Any, metadata: Mapping[str, Any]) -> None:
        index = {str(getattr(axis, "value", axis)): int(at) for axis, at in dict(event.index).items()}
        unknown = [axis for axis in "tcz" if index.get(axis, 0) >= max(1, plan.sizes.get(axis, 1))]
        if unknown and plan.sizes:
            raise StreamError(
                f"an image at {index}, where the acquisition states {dict(plan.sizes)}",
                expected="places within its axes",
                todo="give the acquisition the number of its channels and planes",
            )
        if not plan.sizes and (index.get("c") or index.get("z")):
            raise StreamError(
                f"an image at {index} of an acquisition that does not say how many channels and planes it has",
                expected="a sequence with its axes (useq.MDASequence)",
                todo="run the acquisition as a sequence",
            )
        place = tuple(index.get(axis, 0) for axis in plan.series_axes)
        if plan.place is not None and place != plan.place:
            self._end("done")
        plan.place = place
        if plan.sizes:
            plane = 0
            for axis in "pgz":
                if axis not in plan.series_axes:
                    plane = plane * max(1, plan.sizes.get(axis, 1)) + index.get(axis, 0)
            number, channel = index.get("t", 0) * plan.planes + plane, index.get("c", 0)
        else:
            number, channel, plane = plan.counted, 0, 0
            plan.counted += 1
        if plan.info is not None and (image.shape != plan.info.shape[1:] or image.dtype != plan.info.dtype):
            log.warning("the camera's image has another size or type: a new series begins")
            self._end("replaced")
        if plan.info is None:
            plan.info = self._describe(plan, image, metadata)
            self._append(plan.info)
        channels = plan.pending.setdefault(number, {})
        channels[channel] = image
        if len(channels) < plan.channels:
            return
        for older in [one for one in plan.pending if one <= number]:
            del plan.pending[older]
        if self._bytes + image.nbytes * plan.channels > QUEUE_BYTES:
            self.lost += 1
            return  # the next frame tells by its number that this one is missing
        if plan.expected is not None and number > plan.expected:
            self._append(Gap(plan.expected, number - plan.expected, "source"))
        plan.expected = number + 1
        pixels = np.stack([channels[one] for one in sorted(channels)]) if plan.channels > 1 else image[np.newaxis]
        time_ms = metadata.get("runner_time_ms")
        self._append(
            Frame(
                number,
                pixels,
                arrived_ns=time.time_ns(),
                plane=plane,
                acquired_s=time_ms / 1000 if isinstance(time_ms, int | float) else None,
            )
        )

    def _describe(self, plan: _Plan, image: NDArray[Any], metadata: Mapping[str, Any]) -> StreamInfo:
        if image.ndim != 2 or image.dtype.str not in DTYPES:
            raise StreamError(
                f"{image.dtype} images of shape {image.shape}",
                expected="grey images (Y, X) of uint8, uint16, int16 or float32",
                todo="choose a grey pixel type of the camera; colours are no counts",
            )
        exposure_s = (metadata.get("exposure_ms") or 0) / 1000
        step_s = max(plan.interval_s / plan.planes, exposure_s * plan.channels)
        rate_hz = self._rate_hz or (1 / step_s if step_s > 0 else None)
        if rate_hz is None:
            log.warning("neither interval nor exposure are known: %g frames/s are assumed", DEFAULT_RATE_HZ)
        pixel_um = metadata.get("pixel_size_um")
        user = {**plan.user, **({"pixel_um": [float(pixel_um)] * 2} if pixel_um else {})}
        shape = (plan.channels, image.shape[0], image.shape[1])
        return StreamInfo(shape, image.dtype, rate_hz or DEFAULT_RATE_HZ, self._scan, planes=plan.planes, user=user)

    def _append(self, event: Event) -> None:
        if isinstance(event, Frame):
            self._bytes += event.pixels.nbytes
        self._events.append(event)
        self._changed.notify_all()

    def _end(self, reason: str) -> None:
        plan = self._plan
        if plan is None or plan.info is None:
            return
        if plan.pending and plan.expected is not None and (last := max(plan.pending)) >= plan.expected:
            self._append(Gap(plan.expected, last + 1 - plan.expected, "source"))
        plan.info, plan.expected = None, None
        plan.pending.clear()
        self._append(StreamEnd(reason))


def _interval_s(sequence: Any) -> float:
    interval = getattr(getattr(sequence, "time_plan", None), "interval", None)
    return float(interval.total_seconds()) if interval is not None else 0.0


def _user(metadata: Any) -> dict[str, Any]:
    cameras = metadata.get("image_infos", ()) if isinstance(metadata, Mapping) else ()
    names = [str(one.get("camera_label", "")) for one in cameras if isinstance(one, Mapping)]
    return {"format": "Micro-Manager", **({"camera": names[0]} if names and names[0] else {})}


@contextmanager
def publishing(
    core: Any,
    bind: str = DEFAULT_BIND,
    *,
    name: str = "scope1",
    rate_hz: float | None = None,
    scan: ScanGeometry | None = None,
    keys: Path | None = None,
    insecure_lan: bool = False,
) -> Iterator[ZmqSink]:
    """Publish each acquisition of a core while the block runs.

    Gives the sink: ``endpoint`` is its address, and ``wait_for_subscriber(timeout_s)`` waits for a receiver.

    Parameters
    ----------
    core : CMMCorePlus
    bind : str
        ``tcp://HOST:PORT`` to publish on.
    name : str
        Name of the microscope.
    rate_hz, scan
        See `MicroManagerSource`.
    keys, insecure_lan
        See `ZmqSink`.

    Raises
    ------
    EndpointError
        When the address cannot be used.
    DeepbidError
        At the end of the block, when publishing had failed.
    """
    connected, stop = threading.Event(), threading.Event()
    source = MicroManagerSource(core, rate_hz=rate_hz, scan=scan, on_open=connected.set)
    failures: list[DeepbidError] = []
    with closing(ZmqSink(bind, role="raw", source_name=name, keys=keys, insecure_lan=insecure_lan)) as sink:

        def publish() -> None:
            try:
                relay(source, sink, stop)
            except DeepbidError as error:
                failures.append(error)
            finally:
                connected.set()

        thread = threading.Thread(target=publish, name="micromanager")
        thread.start()
        try:
            connected.wait()
            yield sink
            source.drain(_DRAIN_S)
        finally:
            stop.set()
            thread.join()
    if failures:
        raise failures[0]


def main() -> int:
    """Run one acquisition and publish it; return the exit status."""
    made = parser("Publishes an acquisition of Micro-Manager's core.")
    made.add_argument("--config", type=Path, help="system configuration of Micro-Manager; without it the demo camera")
    made.add_argument("--adapters", type=Path, metavar="FOLDER", help="folder of the device adapters")
    made.add_argument("--frames", type=int, default=100, help="time points (default %(default)s)")
    made.add_argument("--interval", type=float, default=0.0, metavar="S", help="between two time points")
    made.add_argument("--exposure", type=float, default=10.0, metavar="MS", help="(default %(default)s)")
    made.add_argument("--rate", type=float, metavar="HZ", help="frames per second, if the interval does not give it")
    add_scan_options(made, bidirectional=False)
    options = made.parse_args()
    if options.series is None:
        options.series = 1
    cores: list[Any] = []
    try:
        return run(lambda: _demo(options, cores), options)
    finally:
        while cores:
            core = cores.pop()
            core.mda.cancel()
            while core.mda.is_running():
                time.sleep(0.01)
            core.unloadAllDevices()
            core.__del__()  # else a thread of it may call Python while the interpreter ends, which aborts the process


def _demo(options: argparse.Namespace, cores: list[Any]) -> MicroManagerSource:
    if options.frames < 1 or options.exposure <= 0 or options.interval < 0:
        raise OptionError(
            f"--frames {options.frames} --exposure {options.exposure} --interval {options.interval}",
            expected="at least one frame, an exposure of more than 0 ms, and no negative interval",
            todo="correct them",
        )
    try:
        core = importlib.import_module("pymmcore_plus").CMMCorePlus()
        sequence = importlib.import_module("useq").MDASequence(
            time_plan={"interval": options.interval, "loops": options.frames}
        )
    except ImportError as error:
        raise FileError(
            f"pymmcore-plus cannot be imported ({error})",
            expected="the package of Micro-Manager's core",
            todo="pip install pymmcore-plus, then mmcore install",
        ) from error
    cores.append(core)
    try:
        adapters = options.adapters or _test_adapters()
        if adapters is not None:
            core.setDeviceAdapterSearchPaths([str(adapters)])
        if options.config is not None:
            core.loadSystemConfiguration(str(options.config))
        else:
            core.loadDevice("Camera", "DemoCamera", "DCam")
            core.initializeDevice("Camera")
            core.setCameraDevice("Camera")
            core.setProperty("Camera", "PixelType", "16bit")
        core.setExposure(options.exposure)
    except (RuntimeError, OSError) as error:
        raise FileError(
            f"Micro-Manager's devices cannot be loaded ({error})",
            expected="device adapters for this version of the core",
            todo="run mmcore install, or give their folder with --adapters and your configuration with --config",
        ) from error
    return MicroManagerSource(core, rate_hz=options.rate, scan=scan_of(options), on_open=lambda: core.run_mda(sequence))


def _test_adapters() -> Path | None:
    """Return the folder of the adapters in the package mm-test-adapters; None when it is not installed."""
    try:
        return Path(importlib.import_module("mm_test_adapters").device_adapter_path())
    except ImportError:
        return None


if __name__ == "__main__":
    sys.exit(main())
