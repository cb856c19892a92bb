"""A file of TensorBoard's, written as reports come in: nothing waits for it, and a training outlives it."""

from __future__ import annotations

import io
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np


def load_formats() -> None:
    """Import TensorBoard's formats, which takes half a second, while there is something to wait for."""
    from tensorboard.compat.proto import event_pb2, summary_pb2  # noqa: F401
    from tensorboard.summary.writer import record_writer  # noqa: F401


class EventFile:
    """Scalars, histograms, images and texts for TensorBoard, in its own format.

    Where it cannot be written any more (a full disk, a limit on sizes), that is said once and nothing more is written:
    a report is not what a training is for.

    Args:
        folder: made where there is none.
        purge_step: TensorBoard forgets what older files of the folder have from this step on; None: it keeps all.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        # Here: TensorBoard's formats take half a second to import.
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2, summary_pb2
        self._records: RecordWriter | None = None
        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(self._path.open("xb"))
        except OSError as error:
            self._give_up(error)
        self._add(file_version="brain.Event:2")
        if purge_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._add(session_log=start, step=purge_step)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A number of a step."""
        self._value(tag, step, simple_value=value)

    def histogram(self, tag: str, edges: np.ndarray, counts: np.ndarray, step: int, values: np.ndarray) -> None:
        """How often what happened.

        Args:
            edges: [B + 1] of the bins.  counts: [B].  values: [B], what a count of each bin stands for.
        """
        histogram = {
            "min": float(edges[0]),
            "max": float(edges[-1]),
            "num": float(counts.sum()),
            "sum": float((counts * values).sum()),
            "sum_squares": float((counts * values**2).sum()),
            "bucket_limit": edges[1:].tolist(),
            "bucket": counts.tolist(),
        }
        self._value(tag, step, histo=histogram)

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """An image [H, W, 3] uint8."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "png")
        height, width, colours = pixels.shape
        image = {"height": height, "width": width, "colorspace": colours, "encoded_image_string": buffer.getvalue()}
        self._value(tag, step, image=image)

    def text(self, tag: str, lines: Sequence[str]) -> None:
        """A text in Markdown, of no step."""
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._add(summary=text_pb(tag, "\n".join(lines)))

    def hparams(self, settings: Mapping[str, bool | float | str], metrics: Sequence[str]) -> None:
        """Settings of the run for the HPARAMS tab, and tags of the scalars whose last values stand beside them."""
        from tensorboard.plugins.hparams import summary_v2 as api  # its own api needs TensorFlow

        names = [api.HParam(name) for name in settings]
        self._add(summary=api.hparams_config_pb(names, [api.Metric(tag) for tag in metrics]))
        self._add(summary=api.hparams_pb(dict(settings)))

    def finished(self) -> None:
        """Say on the HPARAMS tab that the run is over."""
        from tensorboard.plugins.hparams import metadata
        from tensorboard.plugins.hparams.api_pb2 import Status
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

        # As tensorboard.plugins.hparams.summary.session_end_pb writes it, which needs TensorFlow.
        over = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"), end_time_secs=time.time())
        told = metadata.create_summary_metadata(HParamsPluginData(session_end_info=over))
        value = {"tag": metadata.SESSION_END_INFO_TAG, "metadata": told, "tensor": metadata.NULL_TENSOR}
        self._add(summary=self._summary.Summary(value=[value]))

    def flush(self) -> None:
        """Let readers see what was written."""
        if self._records is not None:
            self._attempt(self._records.flush)

    def close(self) -> None:
        """Write what is left."""
        if self._records is not None:
            self._attempt(self._records.close)
            self._records = None

    def _value(self, tag: str, step: int, **value: object) -> None:
        """One value of a step, of the kind that its keyword names in TensorBoard's format."""
        self._add(step=step, summary=self._summary.Summary(value=[{"tag": tag, **value}]))

    def _add(self, **event: object) -> None:
        if self._records is not None:
            record = self._event.Event(wall_time=time.time(), **event).SerializeToString()
            self._attempt(partial(self._records.write, record))

    def _attempt(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._records = None
        print(f"note: nothing more is written for TensorBoard: {self._path}: {error.strerror}", file=sys.stderr)
