"""The model card: one Markdown page that says what a policy is, how it was made, how it did, and what it is not for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marl_pricing.config import ExperimentSettings
from marl_pricing.config.opponents import seating_of
from marl_pricing.evaluation.machine_summary import FORMAT
from marl_pricing.evaluation.report import texts
from marl_pricing.export.description import without_folders
from marl_pricing.intake import IntakeError, plain
from marl_pricing.learning.settings import ActorCriticSettings, NetworkSettings
from marl_pricing.market.prices import CONTINUOUS
from marl_pricing.presentation.markup import markdown, markdown_code

_POLICY = "learned (greedy)"


def card(about: dict[str, Any], settings: ExperimentSettings, file: str, evaluation: dict[str, Any] | str) -> str:
    """The page.

    Args:
        file: name of the policy file.  evaluation: see `read_evaluation`.
    """
    parts = [
        f"# {markdown(about['name'])}: a pricing policy\n",
        f"{markdown_code(file)} answers what price each of {len(about['sellers'])} sellers should post in the coming "
        "epoch"
        + (
            ", and what to order"
            if about["orders"] and about["orders"]["unit"] == "units"
            else ", and how long to stay tough in a bargain"
            if about["orders"]
            else ""
        )
        + ", from what that seller sees and remembers. It was trained by reinforcement learning in a simulated market, "
        "not on anybody's live shoppers.\n",
        _section("Market", _market(about, settings)),
        _section("Training", _training(about, settings)),
        _section("Evaluation", _evaluation(evaluation)),
        _section("Use", _use(about)),
        _section("Limits", _limits(about, settings)),
        _section("Provenance", _provenance(about)),
    ]
    return "\n".join(parts)


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def _market(about: dict[str, Any], settings: ExperimentSettings) -> list[str]:
    market, traffic, prices = settings.market, settings.traffic, about["prices"]
    low, high = (end(end(own) for own in prices[name]) for name, end in (("low", min), ("high", max)))
    if prices["map"] in CONTINUOUS:
        kind = "any" if prices["map"] == "range" else "any relative change of the last price"
    elif prices["map"] == "levels":
        kind = f"{len(prices['levels'][0][0])} price levels"
    else:
        kind = f"{len(prices['factors'])} factors on the last price"
    return [
        f"- sellers: {markdown(', '.join(about['sellers']))}; products of each: {about['num_products']}",
        f"- prices: {kind}, from {low:g} to {high:g} money",
        f"- demand: {market.demand.model}; shoppers: {traffic.model}, {traffic.sessions_per_epoch} sessions an epoch, "
        f"share of agents {traffic.agent_share:g}",
        f"- stock: rule `{market.inventory.rule}`; an episode has {about['episode_length']} epochs",
        f"- omega (1 selfish, 0 fully cooperative): {market.reward.omega}",
    ]


_VALUES = (
    "- its outputs are values of actions: the most probable choice is the best one; probabilities are those of "
    "ε-greedy play with the run's last ε, which sampled play in evaluations took"
)


def _form(own: NetworkSettings) -> str:
    cell = {"gru": "GRU", "lstm": "LSTM", "mingru": "minGRU", "none": "layer without memory"}[own.cell]
    cell = cell if own.num_layers == 1 else f"{own.num_layers} layers of {cell}"
    return f"{cell} of {own.hidden_size}, networks"


def _training(about: dict[str, Any], settings: ExperimentSettings) -> list[str]:
    own, robust = settings.learner, settings.robust
    form = _form(own) if isinstance(own, NetworkSettings) else "tables"
    critic = f"critic {own.critic}, " if isinstance(own, ActorCriticSettings) else ""
    done = about["provenance"]["update"]
    return [
        f"- learner: `{own.algorithm}`, {form} {own.sharing.replace('_', ' ')}, {critic}gamma {own.gamma:g}",
        *([] if isinstance(own, ActorCriticSettings) else [_VALUES]),
        f"- {done} of {own.num_updates} updates of {own.steps_per_update:,} market epochs each; "
        f"checkpoint `{about['provenance']['checkpoint']}`",
        f"- seed {about['provenance']['seed']} of the run's {own.num_seeds} (settings' seed {own.seed})",
        "- critic: plain, for the market as it is described"
        if robust.set == "none"
        else f"- critic: robust, set `{robust.set}`, mode `{robust.mode}`, adversary `{robust.adversary}`, "
        f"radius {robust.radius:g}",
    ]


def read_evaluation(folder: Path, about: dict[str, Any]) -> dict[str, Any] | str:
    """What an evaluation says of a run: its part of summary.json, with the episodes; or why that cannot be used.

    A run is known by its command, revision and update: names may be shared, and folders moved.

    Args:
        folder: an evaluation's.  about: the description of the policy.
    """
    path, provenance = folder / "summary.json", about["provenance"]
    if not path.is_file():
        return f"{path}: there is no such file"
    try:
        whole = plain.read_json(path)
        if whole["format"] != FORMAT:
            return f"{path}: format={whole['format']!r}: accepted is {FORMAT}"
        key = (without_folders(provenance["command"]), provenance["revision"], str(provenance["update"]))
        for run in whole["runs"].values():
            if (without_folders(run["command"]), run["versions"]["revision"], run["versions"]["update"]) == key:
                found = {"episodes": whole["episodes"], "measures": run["measures"][_POLICY]}
                _evaluation(found)  # what cannot be told is broken
                return found
        told = "; ".join(f"{name} at update {run['versions']['update']}" for name, run in whole["runs"].items())
        return f"{path}: is of {told}, not of this run at update {provenance['update']}"
    except IntakeError as error:
        return str(error)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return f"{path}: is broken ({type(error).__name__}: {error})"


def _evaluation(found: dict[str, Any] | str) -> list[str]:
    if isinstance(found, str):
        return [
            f"None yet ({markdown(found)}). `python evaluate.py run=<the run's folder>`, then export again, puts "
            "figures here."
        ]
    lines = [
        f"{found['episodes']} held-out episodes of every training seed, greedy actions, all sellers under this policy; "
        "intervals over the training seeds where there are several.",
        "",
        "| measure | value | 95 % interval | unit | note |",
        "|---|---|---|---|---|",
    ]
    for measure, by_seller in found["measures"].items():
        row = by_seller.get("all")
        if row is None:
            continue
        label, unit = texts.measure_label(measure)
        value, low, high = (
            "–" if row[key] is None else texts.number(measure, row[key]) for key in ("value", "low", "high")
        )
        interval = "–" if row["low"] is None else f"{low} to {high}"
        lines.append(f"| {label} | {value} | {interval} | {unit} | {row['note'] or ''} |")
    return lines


def _type(told: dict[str, Any]) -> str:
    return f"{told['type']} [{', '.join(map(str, told['shape']))}]"


def _use(about: dict[str, Any]) -> list[str]:
    lines = [
        "Inputs, a row a request:",
        "",
        *(
            f"- `{name}` {_type(told)}" + (f": {told['meaning']}" if "meaning" in told else "")
            for name, told in about["inputs"].items()
        ),
        "",
        "Outputs:",
        "",
        *(f"- `{name}` {_type(told)}: {told['meaning']}" for name, told in about["outputs"].items()),
        "",
        f"Prices: {about['prices']['meaning']}. What stands in `observation`, as shown = (raw − offset) / scale:",
        "",
        "| # | entry as shown | raw figure | offset (seller 0) | scale (seller 0) |",
        "|---|---|---|---|---|",
    ]
    for number, entry in enumerate(about["observation"]):
        offset, scale = entry["offset"][0], entry["scale"][0]
        lines.append(f"| {number} | {markdown(entry['name'])} | {entry['unit']} | {offset:g} | {scale:g} |")
    return lines


def _limits(about: dict[str, Any], settings: ExperimentSettings) -> list[str]:
    world = (
        "It knows the one market above; no other was tried in training."
        if settings.robust.set == "none"
        else "It was trained against the market above and the worlds of its robust set, and no others."
    )
    calibrated = settings.market.calibration is not None
    posted = "prices between the ends" if "price_law" in about["network"] else "the prices listed"
    return [
        f"- {world} Costs, lead times, rivals and shoppers that differ make its prices unfounded.",
        f"- {_rivals(about, settings)} Against sellers that act otherwise nothing is promised; an evaluation's "
        "`guests.csv` shows what rule policies do to it.",
        f"- It posts only {posted}, and has seen episodes of {about['episode_length']} epochs; set its memory "
        "to zeros at the start of each.",
        "- "
        + (
            "Demand was estimated from sales data; the calibration's page says how well."
            if calibrated
            else "Demand is assumed, not estimated from anybody's sales."
        ),
        "- Sellers that learn side by side may arrive at prices above the competitive ones. Compare the profit gain "
        "with 0 (Nash) and 1 (joint profit), and have the policy looked at under the competition law that applies.",
    ]


def _rivals(about: dict[str, Any], settings: ExperimentSettings) -> str:
    """Against whom it was trained, and for which sellers it was not."""
    held = {
        seat: " or ".join(own if isinstance(own, str) else own.run for own in opponents)
        for opponents, seats in seating_of(settings.opponents, len(about["sellers"]), about["sellers"]).held
        for seat in seats
    }
    if not held:
        return "Its rivals in training learned beside it."
    who = markdown("; ".join(f"seller {seat}: {text}" for seat, text in sorted(held.items())))
    return f"In training other policies, which did not learn, held seats ({who}): there its prices mean nothing."


def _provenance(about: dict[str, Any]) -> list[str]:
    own = about["provenance"]
    versions = ", ".join(f"{name} {version}" for name, version in own["versions"].items())
    return [
        f"- run {markdown_code(own['run'])}, made by {markdown_code(own['command'])}",
        f"- revision {markdown(own['revision'])}; {markdown(versions)}",
        f"- parameters SHA-256 {own['parameters_sha256']}; format version {about['format_version']}",
    ]
