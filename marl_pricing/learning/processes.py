"""One training in several processes, of one machine or of many: how they find each other, and what they agree on."""

from __future__ import annotations

import os

import jax
import numpy as np
from jax.experimental import multihost_utils

ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def join_processes() -> None:
    """Start `jax.distributed` before JAX runs; nothing where it was started already.

    A TPU slice, SLURM, Open MPI and Kubernetes tell JAX who takes part. Elsewhere three variables do: HOST:PORT of the
    first process, how many there are, and which of them this is.

    Raises:
        ValueError: where nothing tells, or the variables cannot be.
    """
    if jax.distributed.is_initialized():
        return
    given = {name: os.environ[name] for name in (ADDRESS, COUNT, NUMBER) if os.environ.get(name)}
    if COUNT not in given and NUMBER not in given:
        try:
            jax.distributed.initialize()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"run.distributed=True: nothing tells the processes of each other ({error}); accepted is a start by "
                f"SLURM, Open MPI, Kubernetes or on a TPU slice, or {ADDRESS}, {COUNT} and {NUMBER} set in each"
            ) from None
        return
    missing = [name for name in (ADDRESS, COUNT, NUMBER) if name not in given]
    if missing:
        raise ValueError(f"{missing[0]}: has to be set with run.distributed=True, as {', '.join(given)} is")
    count, number = (_whole(name, given[name]) for name in (COUNT, NUMBER))
    if count < 1 or not number < count:
        raise ValueError(f"{NUMBER}={number}: accepted is a number from 0 to {COUNT} - 1 = {count - 1}")
    jax.distributed.initialize(given[ADDRESS], count, number)


def _whole(name: str, text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{name}={text!r}: accepted is a whole number")
    return int(text)


def anywhere(flag: object) -> bool:
    """Whether a flag is set in any process. All have to ask, or they wait for each other for ever."""
    if jax.process_count() == 1:
        return bool(flag)
    return bool(multihost_utils.process_allgather(np.array(bool(flag))).any())
