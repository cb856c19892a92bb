"""`experiment=fair_promotion`: from a log of promotions, given or simulated, to one fair policy and its page.

What `python -m marl_pricing.virtual_market` does verb by verb, as one study: its settings are checked before anything
is written, and one that was stopped goes on with the verb that had not ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marl_pricing.config import ConfigError
from marl_pricing.config.errors import Settings, validate
from marl_pricing.config.promotion import Promotion
from marl_pricing.config.study import Plan
from marl_pricing.learning import runs
from marl_pricing.studies.study_folder import new_folder

_OWN = ("study.", "name=", "run.folder=", "experiment=", "launcher=")
_SIMULATE = "study.promotion.simulate"


class Step(NamedTuple):
    """A verb of the virtual market, its settings, and the file that is there once it has ended."""

    verb: str
    settings: Settings
    leaves: Path

    def run(self) -> None:
        """Do it, and say what it finds."""
        from marl_pricing.virtual_market.verbs import VERBS

        VERBS[self.verb].run(self.settings)


def refuse_other_markets(typed: Sequence[str], promotion: Promotion) -> None:
    """Raise ConfigError for settings that were typed and that a study of promotions does not ask for."""
    for given in typed:
        name = given.lstrip("+~")
        if not name.startswith(_OWN):
            raise ConfigError(
                f"{given}: says nothing with study.evaluation=fair_promotion; accepted are settings of study.promotion"
            )
        if promotion.log is not None and name.startswith(_SIMULATE):
            raise ConfigError(f"{given}: says nothing with study.promotion.log={promotion.log!r}: nothing is simulated")
    if promotion.log is None and promotion.mapping is not None:
        raise ConfigError(
            f"study.promotion.mapping={promotion.mapping!r}: accepted is null without study.promotion.log"
        )


def steps_of(plan: Plan, folder: Path) -> list[Step]:
    """What is done in a study's folder, in order.

    Raises:
        ConfigError: for settings that a verb does not take.
    """
    from marl_pricing.virtual_market.verbs import VERBS, check_training

    own = plan.study.promotion
    assert own is not None
    promotions, model, policy = (folder / name for name in ("promotions", "customers", "policy"))
    # A policy is for the days after the log, and learns from all of it; how well its customers are known is told by
    # others, learned without its last days.
    held_out = folder / "customers_held_out"
    days_held_out = own.fit.get("holdout")
    log = {"log": own.log or str(promotions / "promotion_log.csv"), "mapping": own.mapping}
    truth = None if own.log else str(promotions)

    def step(verb: str, part: str, told: Mapping[str, Any], places: Mapping[str, Any], leaves: Path) -> Step:
        given = {name: value for name, value in told.items() if value is not None}
        place = f"study.promotion.{part}"
        decided = next((name for name in given if name in places), None)
        if decided is not None:
            raise ConfigError(
                f"{place}.{decided}={given[decided]!r}: accepted is nothing: the study's folder decides it"
            )
        return Step(verb, validate(VERBS[verb].settings(), {**given, **places}, place), leaves)

    simulated = step("simulate", "simulate", own.simulate, {"out": str(promotions)}, promotions / "truth.json")
    judged = step("fit", "fit", own.fit, {**log, "out": str(held_out)}, held_out / "model.json")
    found = [
        *([simulated] if own.log is None else []),
        step("fit", "fit", {**own.fit, "holdout": None}, {**log, "out": str(model)}, model / "model.json"),
        *([judged] if days_held_out else []),
        step("train", "policy", own.policy, {**log, "model": str(model), "out": str(policy)}, policy / "policy.json"),
        step("export", "policy", {}, {"policy": str(policy), "out": str(folder / "submission")},
             folder / "submission" / "policy_validation.py"),
        step("page", "page", own.page, {**log, "policy": str(policy), "model": str(model), "truth": truth,
                                        "held_out": str(held_out) if days_held_out else None,
                                        "out": str(folder / "page")}, folder / "page" / "page.html"),
    ]  # fmt: skip
    check_training(next(own.settings for own in found if own.verb == "train"))
    return found


def start_promotion(plan: Plan, folder: Path, provenance: Mapping[str, Any]) -> bool:
    """Make a study's folder and carry it out.

    Raises:
        ConfigError: before anything is written. RunError: for a folder that is in use. OSError: for one that cannot be.
    """
    steps = steps_of(plan, folder)
    with new_folder(plan, folder, provenance, "customers/model.json"):
        return _carry_out(steps, folder)


def continue_promotion(plan: Plan, folder: Path) -> bool:
    """Go on with the first verb that has not ended."""
    return _carry_out(steps_of(plan, folder), folder)


def evaluate_promotion(plan: Plan, folder: Path) -> Path:
    """The page of a study that has ended, written again.

    Raises:
        RunError: where a verb before it has not ended.
    """
    *before, page = steps_of(plan, folder)
    missing = [step.verb for step in before if not step.leaves.is_file()]
    if missing:
        raise runs.RunError(
            f"{folder}: {', '.join(missing)} has not ended; go on with: python train.py resume={folder}"
        )
    page.run()
    return page.leaves


def _carry_out(steps: Sequence[Step], folder: Path) -> bool:
    with runs.only_writer(folder):
        for step in steps:
            if step.leaves.is_file():
                print(f"{step.verb}: has ended before ({step.leaves.parent})", flush=True)
            else:
                step.run()
    return True
