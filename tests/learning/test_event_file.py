"""Files for TensorBoard, read by TensorBoard; and what becomes of a training whose disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from marl_pricing.learning.event_file import EventFile
from tests.processes import WRITES_NO_BYTECODE


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    written = EventFile(tmp_path)
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1, 2] = [255, 128, 3]
    edges, counts = np.array([1.0, 1.5, 2.5]), np.array([3.0, 1.0])
    for step in (1, 5):
        written.scalar("profit", 2.5 * step, step)
        written.histogram("price", edges, counts, step, np.array([1.2, 2.0]))
        written.image("strategy", pixels, step)
    written.text("worlds", ["| a |", "|---|", "| 1 |"])
    written.flush()
    events = read(tmp_path)  # before it is closed, as TensorBoard does
    written.close()
    assert [(event.step, event.value) for event in events.Scalars("profit")] == [(1, 2.5), (5, 12.5)]
    histogram = events.Histograms("price")[1].histogram_value
    assert histogram.bucket_limit == [1.5, 2.5] and histogram.bucket == [3.0, 1.0]
    assert (histogram.num, histogram.sum, histogram.min, histogram.max) == (4.0, pytest.approx(5.6), 1.0, 2.5)
    assert histogram.sum_squares == pytest.approx(3 * 1.2**2 + 4.0)
    image = events.Images("strategy")[0]
    assert (image.width, image.height) == (6, 4) and image.encoded_image_string.startswith(b"\x89PNG")
    (text,) = events.Tensors("worlds")
    assert b"| a |\n|---|\n| 1 |" in text.tensor_proto.SerializeToString()


def test_what_was_written_after_the_point_one_goes_on_from_is_forgotten(tmp_path: Path) -> None:
    for purge, steps in ((None, (1, 2, 3)), (3, (3, 4))):
        written = EventFile(tmp_path, purge)
        for step in steps:
            written.scalar("profit", 10.0 * step + (purge or 0), step)
        written.close()
    assert [(event.step, event.value) for event in read(tmp_path).Scalars("profit")] == [
        (1, 10.0), (2, 20.0), (3, 33.0), (4, 43.0),
    ]  # fmt: skip


_FULL = """
import resource, sys
from pathlib import Path
from marl_pricing.learning.event_file import EventFile
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
written = EventFile(Path(sys.argv[1]))
for step in range(2000):
    written.scalar("profit", 1.0, step)
    if step % 10 == 0:
        written.flush()
written.close()
print("trained")
"""


def test_where_no_more_can_be_written_it_is_said_once_and_training_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, timeout=60,
        env=os.environ | WRITES_NO_BYTECODE,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("note: nothing more is written for TensorBoard: ")
    assert done.stderr.endswith(": File too large\n")
    assert len(read(tmp_path).Scalars("profit")) > 10


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    written = EventFile(tmp_path / "file" / "tensorboard")
    written.scalar("profit", 1.0, 1)
    written.close()
    assert capsys.readouterr().err.count("note: nothing more is written for TensorBoard") == 1
