"""Which policy a shop plays: what was promoted, by what evaluation, what was before. A file that is only added to."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.intake import IntakeError, plain
from marl_pricing.serving.learned import keep_policy, policies_in

FILE = "registry.jsonl"
PROMOTED = "promoted"  # as `policy=`: the one that this file says
_MOST_SUMMARY = 64 * 2**20


def entries(folder: Path | str) -> list[dict[str, Any]]:
    """All that was promoted and rolled back, oldest first.

    Raises:
        ConfigError: naming the line that is none.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            entry["policy"], entry["action"], entry["at"]
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path}, line {number}: accepted is an entry as promote writes it") from None
        found.append(entry)
    return found


def active(folder: Path | str) -> str | None:
    """SHA-256 of the policy that is promoted; None where none is."""
    told = [entry for entry in entries(folder) if entry["action"] != "candidate"]
    return told[-1]["policy"] if told else None


def _add(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    entry = {"at": time.time_ns() // 1_000_000} | entry
    with FileLock(folder / f"{FILE}.lock"), (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    return entry


def _evaluated(evaluation: str, digest: str) -> tuple[str, bool | None]:
    """The run in an evaluation that a policy is of, and whether its sellers punish a cut of a price.

    Raises:
        ConfigError: where the evaluation is none, or not of this policy.
    """
    path = Path(evaluation) / "summary.json"
    try:
        data = json.loads(plain.read_bytes(path, _MOST_SUMMARY))
        runs = {str(name): (own["policies_sha256"], own["punishes"]) for name, own in data["runs"].items()}
    except (IntakeError, OSError) as error:
        raise ConfigError(f"evaluation={evaluation!r}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise refuse(
            "evaluation", evaluation, "a folder of evaluate.py, with the summary.json of this version"
        ) from None
    for name, (policies, punishes) in runs.items():
        if digest in policies:
            return name, punishes
    told = ", ".join(runs) or "nothing"
    raise refuse(
        "evaluation", evaluation, f"one in which this policy was played; it has {told} with other networks (the same "
        "checkpoint has to be evaluated and exported)",
    )  # fmt: skip


def promote(folder: Path, policy: str, evaluation: str | None, override: str | None) -> dict[str, Any]:
    """Make a policy file the one that a shop plays.

    Punishing who cuts a price is what makes collusion last (Calvano et al. 2020, section IV): a policy whose sellers do
    so is refused, and so is one of which nobody looked, unless somebody says in writing why not.

    Args:
        folder: the shop's.  evaluation: a folder of evaluate.py.  override: why it is promoted all the same.

    Returns:
        The entry.

    Raises:
        ConfigError: for files that are none, and for a policy that is refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = keep_policy(policy, folder)
    about = policies_in(folder)(name).about
    alone = len(about["sellers"]) == 1
    run: str | None = None
    punishes: bool | None = None
    if evaluation is not None:
        run, punishes = _evaluated(evaluation, about["provenance"]["parameters_sha256"])
    if not override and not alone:
        if evaluation is None:
            raise ConfigError("evaluation: has to be given, a folder of evaluate.py in which this policy was played")
        if punishes:
            raise ConfigError(
                f"policy={policy!r}: sellers of {run} punish who cuts a price (evaluation={evaluation!r}, forced "
                "deviations): accepted with override='why it is promoted all the same'"
            )
        if punishes is None:
            raise ConfigError(
                f"evaluation={evaluation!r}: nobody looked whether a cut is punished: accepted is one of behaviour=true"
            )
    return _add(
        folder,
        {
            "action": "promote", "policy": name, "file": Path(policy).name, "run": run, "punishes": punishes,
            "override": override or None,
        },
    )  # fmt: skip


def register(folder: Path, policy: str, refit: str) -> dict[str, Any]:
    """Note a policy file as a candidate: it is kept, and nobody plays it until it is promoted.

    Args:
        refit: the folder that says where it comes from.

    Returns:
        The entry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = keep_policy(policy, folder)
    return _add(folder, {"action": "candidate", "policy": name, "file": Path(policy).name, "refit": refit})


def rollback(folder: Path, reason: str) -> dict[str, Any]:
    """Go back to the policy that was promoted before the one that is.

    Raises:
        ConfigError: where there was none.
    """
    told = entries(folder)
    # A rollback takes its policy from the stack, so that two of them go back twice.
    stack: list[str] = []
    for entry in told:
        if entry["action"] == "promote":
            stack.append(entry["policy"])
        elif len(stack) > 1:
            stack.pop()
    if len(stack) < 2:
        raise refuse("out", str(folder), "a shop in which another policy was promoted before")
    return _add(folder, {"action": "rollback", "policy": stack[-2], "from": stack[-1], "reason": reason})
