"""Groups of a factorial study as tasks of a Ray cluster: each answers with its rows, which this process keeps.

Workers need this package and nothing of this machine's disk. A task whose process or machine died is begun anew by Ray;
nothing is kept of a group before all of it is there.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from marl_pricing.config import ConfigError
from marl_pricing.config.calibrated import resolve
from marl_pricing.config.errors import refuse
from marl_pricing.config.factorial import Factorial
from marl_pricing.config.launcher import Ray
from marl_pricing.config.study import Plan, plan_study
from marl_pricing.learning import runs
from marl_pricing.learning.runs import RunError
from marl_pricing.presentation import pulse
from marl_pricing.studies.factorial import store
from marl_pricing.studies.factorial.cells import Group, groups_of, programs_of
from marl_pricing.studies.factorial.here import has, refuse_held
from marl_pricing.studies.factorial.progress import Progress
from marl_pricing.studies.factorial.store import Store
from marl_pricing.studies.factorial.training import Trainer

_PATIENCE = 4.0  # seconds in which the head has to take a connection
_LOOK = 1.0  # seconds between looks at what has ended, and at which machines are there
_ALIKE = ("marl-pricing", "jax", "jaxlib")  # versions that rows depend on


class Task(NamedTuple):
    """What a worker is sent.

    Attributes:
        data: settings of the study.  group: its number.  runs: the numbers of its runs, as the sender counts them.
        gpus: 0 for processors.  versions: of the sender.
    """

    data: Mapping[str, Any]
    group: int
    runs: tuple[int, ...]
    cpus: int
    gpus: int
    versions: Mapping[str, str]


class Answer(NamedTuple):
    """What a worker sends back: the rows as a Parquet file, how long they took, and where."""

    table: bytes
    seconds: float
    host: str


class _Worker:
    """What a worker's process keeps between tasks: the last study and the last program that was compiled."""

    data: Mapping[str, Any] | None = None
    study: Factorial
    groups: Sequence[Group] = ()
    trainer: Trainer | None = None


def compute(task: Task) -> Answer:
    """Compute a group, in a worker's process.

    Raises:
        RunError: where this machine's packages are other ones, or as `Trainer.compute`.
    """
    host, own = socket.gethostname(), runs.versions()
    for name in _ALIKE:
        if own[name] != task.versions[name]:
            raise RunError(f"{host}: has {name} {own[name]}, and the study was begun with {task.versions[name]}")
    if _Worker.data is None:
        _start_jax(task)
    if _Worker.data != task.data:
        plan = plan_study(task.data)
        assert plan.study.factorial is not None
        _Worker.study = plan.study.factorial
        _Worker.groups = groups_of(_Worker.study, programs_of(plan.base, _Worker.study))
        _Worker.data, _Worker.trainer = task.data, None
    group = _Worker.groups[task.group]
    if tuple(run.number for run in group.runs) != task.runs:
        raise RunError(
            f"{host}: counts the runs of group {task.group} otherwise; accepted are equal packages everywhere"
        )
    began = time.monotonic()
    if _Worker.trainer is None or _Worker.trainer.program is not group.program:
        _Worker.trainer = Trainer(group.program, _Worker.study)
    table = store.to_bytes(store.table_of(group, _Worker.trainer.compute(group)))
    return Answer(table, time.monotonic() - began, host)


def _start_jax(task: Task) -> None:
    """Before JAX runs in this process: on processors, or on the GPUs that Ray gave it."""
    import jax

    from marl_pricing.learning.devices import start_cpu_devices
    from marl_pricing.learning.program_cache import keep_programs

    if not task.gpus:
        jax.config.update("jax_platforms", "cpu")
    keep_programs()
    start_cpu_devices(task.cpus)


def on_cluster(
    plan: Plan, missing: Sequence[Group], kept: Store, own: Ray, progress: Progress, interrupted: object
) -> bool:
    """Compute what is missing as tasks of a cluster, but for what others are computing.

    Returns:
        Whether all ended; False where it was interrupted.

    Raises:
        ConfigError: for a cluster that cannot be reached, or is too small. RunError: for a group that failed.
    """
    if not missing:
        return True
    with _connected(own) as ray, ExitStack() as claims:
        _check_size(ray, own)
        task = ray.remote(compute).options(
            num_cpus=own.cpus, num_gpus=own.gpus, max_retries=own.retries, scheduling_strategy="SPREAD",
            name="factorial group",
        )  # fmt: skip
        told, held, waiting = runs.versions(), list[str](), dict[Any, Group]()
        data = {**plan.data, "market": resolve(plan.data["market"])}  # a file of the market is not there
        for group in missing:
            if claims.enter_context(has(group, kept, held)):
                numbers = tuple(run.number for run in group.runs)
                waiting[task.remote(Task(data, group.number, numbers, own.cpus, own.gpus, told))] = group
        began, machines = time.monotonic(), _alive(ray)
        pulse.doing(f"{len(waiting)} groups on {machines} machine(s) of the cluster")
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK)
            for reference in done:
                group = waiting[reference]
                answer = _answer(ray, reference, group, own)
                kept.write(group, answer.table)
                del waiting[reference]
                print(progress.said_of_many(group, answer.host, answer.seconds, time.monotonic() - began), flush=True)
            if interrupted:
                for reference in waiting:
                    ray.cancel(reference, force=True)
                return False
            there = _alive(ray)
            if there < machines:
                print(f"a machine of the cluster is gone, {there} are left: its groups are begun anew", flush=True)
            machines = there
        refuse_held(held)
    return True


def _answer(ray: Any, reference: Any, group: Group, own: Ray) -> Answer:
    """What a task sent back.

    Raises:
        RunError, ConfigError: saying which group failed, and of what.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (RunError, ConfigError)):
            raise type(cause)(f"group {group.number}: {cause}") from None
        raise
    except ray.exceptions.RayError as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RunError(
            f"group {group.number}: its process or machine died, and launcher.retries={own.retries} of it did too "
            f"({first:.200}); go on with resume"
        ) from None


def _alive(ray: Any) -> int:
    return sum(bool(node["Alive"]) for node in ray.nodes())


def _check_size(ray: Any, own: Ray) -> None:
    """Refuse groups that no machine of the cluster has room for.

    Raises:
        ConfigError: naming what is too much.
    """
    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, kind, asked in (("cpus", "CPU", own.cpus), ("gpus", "GPU", own.gpus)):
        most = int(max((node.get(kind, 0) for node in there), default=0))
        if asked > most:
            raise refuse(f"launcher.{name}", asked, f"at most {most}, what one machine of the cluster has of them")


@contextmanager
def _connected(own: Ray) -> Iterator[Any]:
    """Ray, as a driver of the cluster.

    Raises:
        ConfigError: where there is no Ray, or no cluster at the address, within seconds.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError("launcher=ray: ray is not installed: pip install 'marl-pricing[ray]'") from None
    _check_reachable(own.address)
    pulse.doing(f"connecting to {own.address}")
    with _told(own.address):
        ray.init(address=own.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Whatever Ray says of a cluster that it cannot join, as a line that names the setting."""
    try:
        yield
    except (Exception, SystemExit) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"launcher.address={address!r}: no cluster can be joined there ({told:.300})") from None


def _check_reachable(address: str) -> None:
    """Refuse an address that nobody listens at: Ray itself would try for minutes.

    Raises:
        ConfigError: naming the address.
    """
    place = _found(address)
    if place is None:
        raise ConfigError(
            f"launcher.address={address!r}: there is no Ray cluster on this machine; begin one with ray start --head, "
            "or join one with ray start --address=HOST:PORT"
        )
    where = f" ({place})" if place != address else ""
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16 or "/" in host:
        raise refuse("launcher.address", f"{address}{where}", "auto, or HOST:PORT of the cluster's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise ConfigError(
            f"launcher.address={address!r}{where}: nobody answers there ({error.strerror or error}); accepted is the "
            "address of a cluster that runs, as ray status tells it"
        ) from None


def _found(address: str) -> str | None:
    """What Ray makes of an address: RAY_ADDRESS where that is set, this machine's cluster for `auto`, or None."""
    try:
        from ray._private.services import get_ray_address_from_environment
    except ImportError:  # Ray's own, and may move
        return os.environ.get("RAY_ADDRESS") or address
    try:
        found = get_ray_address_from_environment(address, None)
    except ConnectionError:
        return None
    return None if found in (None, "auto", "local") else found
