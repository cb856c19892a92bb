"""The verbs beside the shop itself: what they are told, and where they are carried out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from marl_pricing.config.errors import Settings
from marl_pricing.serving.participants.working import (
    AssignSettings,
    GoalsSettings,
    LabelledSettings,
    RegisterSettings,
    carry_out,
)
from marl_pricing.serving.refit.working import RefitSettings


class ShopSettings(Settings):
    """Whose registry."""

    out: Annotated[str, Field(min_length=1, description="the shop's folder")] = "runs/shop"


class PromoteSettings(ShopSettings):
    """What is promoted."""

    policy: Annotated[str, Field(min_length=1, description="a policy file of `export format=flax`")]
    evaluation: Annotated[
        str | None, Field(description="folder of evaluate.py in which it was played; null: only with override")
    ] = None
    override: Annotated[
        str | None,
        Field(min_length=10, max_length=1000, description="why it is promoted though that speaks against it"),
    ] = None


class RollbackSettings(ShopSettings):
    """What is taken back."""

    reason: Annotated[str, Field(min_length=1, max_length=1000, description="why; the registry keeps it")]


class ArchiveSettings(ShopSettings):
    """What becomes old."""

    days: Annotated[float, Field(ge=1, le=36_500, description="that records stay in the log itself")] = 90.0


VERBS: dict[str, tuple[type[Settings], str]] = {
    "refit": (RefitSettings, "read a range of the log, estimate, train, evaluate, export: a candidate for promote"),
    "promote": (PromoteSettings, "make a policy file the one that the shop plays (policy=promoted)"),
    "rollback": (RollbackSettings, "go back to the policy that was promoted before"),
    "archive": (ArchiveSettings, "move old records of the log into files beside it, where a replay finds them"),
    "policies": (ShopSettings, "what was promoted and rolled back"),
    "goals": (GoalsSettings, "what participants of an experiment can be asked to do in the shop: take in, list"),
    "assign": (AssignSettings, "give goals at random to participants of a run, people or agents"),
    "labelled": (LabelledSettings, "the log's sessions of a run's participants, with whose each was"),
}
_NEXT = "a shop that runs with pricer=policy policy=promoted takes it up by POST /models/reload; others when they start"


def run(verb: str, arguments: Sequence[str]) -> int:
    """Carry out a verb.

    Raises:
        ConfigError: for what cannot be done.
    """
    from marl_pricing.config.command_line import read_command_line, settings_help
    from marl_pricing.config.errors import validate
    from marl_pricing.serving import registry

    kind, purpose = VERBS[verb]
    if arguments and arguments[0] in ("-h", "--help", "help"):
        head = f"{purpose[0].upper()}{purpose[1:]}.\n\nusage: python -m marl_pricing.serving {verb} [field=value …]\n"
        print(f"{head}\nSettings:\n{settings_help(kind, {'policy': 'FILE', 'reason': 'TEXT'})}")
        return 0
    texts = [name for name, field in kind.model_fields.items() if field.annotation in (str, str | None)]
    own = validate(kind, read_command_line(arguments, texts=texts))
    if isinstance(own, RefitSettings):
        from marl_pricing.serving.refit.working import refit, tell

        told = refit(own)
        into = own.into or f"{own.out}/refits/{told['last']}"
        print("\n".join(tell(told, into)))
        return 0
    if isinstance(own, RegisterSettings):
        print("\n".join(carry_out(own)))
        return 0
    assert isinstance(own, ShopSettings)
    folder = Path(own.out)
    if isinstance(own, PromoteSettings):
        from marl_pricing.shipped import found

        entry = registry.promote(folder, str(found(own.policy)), own.evaluation, own.override)
    elif isinstance(own, ArchiveSettings):
        from marl_pricing.serving.archive import archive

        made = archive(folder, time.time_ns() // 1_000_000 - round(own.days * 86_400_000))
        for one in made:
            print(f"{one.file}: {one.records} records, offsets {one.first} to {one.last}")
        if not made:
            print(f"nothing that the pipeline has folded in is older than {own.days:g} days")
        return 0
    elif isinstance(own, RollbackSettings):
        entry = registry.rollback(folder, own.reason)
    else:
        for entry in registry.entries(folder):
            print(_line(entry))
        return 0
    print(f"{_line(entry)}\n{_NEXT}")
    return 0


def _line(entry: dict) -> str:
    when = datetime.fromtimestamp(entry["at"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if entry["action"] == "candidate":
        return f"{when}  candidate {entry['policy'][:12]}, of {entry['refit']}"
    if entry["action"] == "rollback":
        return f"{when}  back to {entry['policy'][:12]} from {entry['from'][:12]}: {entry['reason']}"
    found = {True: "sellers punish a cut", False: "nobody punishes a cut", None: "not evaluated"}[entry["punishes"]]
    over = f", all the same: {entry['override']}" if entry["override"] else ""
    run = f" of {entry['run']}" if entry["run"] else ""
    return f"{when}  promoted {entry['policy'][:12]} ({entry['file']}{run}): {found}{over}"
