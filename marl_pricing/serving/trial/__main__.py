"""`python -m marl_pricing.serving.trial kills|life`: a shop tried as a whole."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.presentation.output import run_command


class KillSettings(Settings):
    """A shop that is killed."""

    times: Annotated[int, Field(ge=1, le=10_000, description="how often it is killed, at random moments")] = 50
    log: Annotated[Literal["sqlite", "kafka"], Field(description="where its events are kept")] = "sqlite"
    kafka: Annotated[
        str | None, Field(description="host:port of brokers, for log=kafka; null: one in memory is started (extra dev)")
    ] = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="of all that is drawn")] = 0


def _kills(own: KillSettings) -> int:
    from marl_pricing.serving.trial.kills import kill
    from marl_pricing.serving.trial.servers import broker

    if own.kafka is not None and own.log != "kafka":
        raise refuse("kafka", own.kafka, f"null for log={own.log}")

    def tell(life: int) -> None:
        if life % 5 == 0:
            print(f"life {life} of {own.times}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="marl_pricing_kills_") as name:
        folder = Path(name)
        alone = own.log == "kafka" and own.kafka is None
        with broker(folder) if alone else nullcontext() as server:
            settings, read = [f"log={own.log}"], None
            if own.log == "kafka":
                from marl_pricing.serving.kafka_log import Kafka, read_topics

                servers = own.kafka or (server.address if server is not None else "")
                prefix = "" if alone else f"kills-{folder.name}-"
                settings += [f"kafka={servers}", f"kafka_prefix={prefix}", f"kafka_idempotent={str(not alone).lower()}"]

                def read() -> list:
                    return read_topics(Kafka(servers, prefix))

            found = kill(folder, settings, own.times, own.seed, read, tell)
    told = ", ".join(f"{name} {value}" for name, value in found._asdict().items())
    print(f"{own.log}: {told}")
    return 0 if found.lost == found.twice == found.gaps == found.differ == 0 and found.integrity == "ok" else 1


class LifeSettings(Settings):
    """A policy here and there."""

    run: Annotated[str, Field(min_length=1, description="of one seller, endless stock, traffic=chain")]
    checkpoint: Annotated[Literal["latest", "best"], Field(description="whose networks")] = "latest"
    epochs: Annotated[int, Field(ge=2, le=100_000, description="that are played, within one episode")] = 200
    runs: Annotated[int, Field(ge=8, le=4096, description="that are simulated, of as many epochs")] = 100
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="of all that is drawn")] = 0


def _life(own: LifeSettings) -> int:
    from marl_pricing.export.export import ExportSettings, export
    from marl_pricing.export.reading import load_policy
    from marl_pricing.serving.trial.life import CLOSE, live
    from marl_pricing.serving.trial.simulated import check
    from marl_pricing.shipped import found
    from marl_pricing.studies.loading import load_run

    run = str(found(own.run))
    made = load_run(Path(run), own.checkpoint).experiment.market
    check(made)
    if own.epochs > made.shape.episode_length:
        raise refuse("epochs", own.epochs, f"at most the episode's {made.shape.episode_length}")

    def tell(epoch: int) -> None:
        if epoch % 20 == 0:
            print(f"epoch {epoch} of {own.epochs}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="marl_pricing_life_") as name:
        file = Path(name) / "policy.npz"
        export(ExportSettings(run=run, checkpoint=own.checkpoint, format="flax", out=str(file)))
        told = live(made, (file, load_policy(file)), Path(name), own.epochs, own.runs, own.seed, tell)
    for one in told.measures:
        print(
            f"{one.name:8} live {one.live:10.4f}  simulated {one.simulated:10.4f}  difference {one.distance:+.2f} "
            f"standard errors of {one.error:.4f}"
        )
    print(f"inputs   differ by at most {told.inputs:.2g}; {told.requests} events in {told.seconds:.0f} s")
    return 0 if told.inputs <= CLOSE and all(abs(one.distance) <= 3.0 for one in told.measures) else 1


VERBS: dict[str, tuple[type[Settings], Callable, str]] = {
    "kills": (KillSettings, _kills, "Kill a shop under load: is all there that it acknowledged, once?"),
    "life": (LifeSettings, _life, "Play a policy in its simulated market and behind a live shop: is it all alike?"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, and print what came of it; exit status 1 where something is wrong, 2 where it cannot be tried."""
    from marl_pricing.config.command_line import read_command_line, settings_help
    from marl_pricing.config.errors import validate

    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        for verb, (_, _, purpose) in VERBS.items():
            print(f"python -m marl_pricing.serving.trial {verb} [field=value …]\n    {purpose}")
        return 0
    try:
        if given[0] not in VERBS:
            raise refuse("verb", given[0], " or ".join(VERBS))
        kind, work, purpose = VERBS[given[0]]
        if given[1:2] and given[1] in ("-h", "--help", "help"):
            print(f"{purpose}\n\nSettings:\n{settings_help(kind, {})}")
            return 0
        texts = [name for name in kind.model_fields if name in ("run", "kafka", "log", "checkpoint")]
        return work(validate(kind, read_command_line(given[1:], texts=texts)))
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    run_command(main)
