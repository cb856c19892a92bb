"""What a policy file says of itself: what to feed it, what it answers, where it comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from marl_pricing.export.reading import FORMAT
from marl_pricing.learning.action_values.heads import EpsilonGreedy
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.networks import NetworkSpec, head_sizes
from marl_pricing.learning.price_laws import LOG_CONCENTRATION, LOG_SPREAD
from marl_pricing.learning.qtable.table import TableSpec
from marl_pricing.learning.runs import digest_of
from marl_pricing.learning.settings import ActorCriticSettings
from marl_pricing.market.prices import action_ends
from marl_pricing.market.units import entries
from marl_pricing.studies.loading import LoadedRun

_LOG_WIDTHS = {"beta": LOG_CONCENTRATION, "gaussian": LOG_SPREAD}
_LAWS = {
    "beta": "alpha and beta of the Beta law that x = (price_action - lowest) / (highest - lowest) was drawn from in "
    "training, for who wants to draw; price_action is at its mode",
    "gaussian": "mean and standard deviation of the normal law that log(x / (1 - x)) was drawn from in training, with "
    "x = (price_action - lowest) / (highest - lowest), for who wants to draw; price_action is at its median",
}


def describe(run: LoadedRun, seed: int, checkpoint: str) -> dict[str, Any]:
    """The description of one seed's policy; plain values only, to be written as JSON.

    `observation[i]` is one entry of the input `observation`: shown = (raw − offset) / scale, both by seller. Prices are
    by seller and product.
    """
    experiment, settings = run.experiment, run.settings
    shape, params = experiment.market
    by_seller = (shape.num_sellers, shape.num_products)
    spec = experiment.learner.actor
    network = network_of(experiment.learner)
    sizes = dict(zip(("price", "order"), head_sizes(shape), strict=False))
    calibration = settings.market.calibration
    names = list(calibration.sellers) if calibration else [f"seller_{i}" for i in range(shape.num_sellers)]
    batch = "batch"
    inputs = {
        "observation": {"type": "float32", "shape": [batch, len(entries(shape, params))]},
        "seller": {"type": "int64", "shape": [batch], "meaning": "number of the seller who asks, 0 to S - 1"},
        "memory": {"type": "float32", "shape": [batch, spec.memory], "meaning": "zeros at the start of an episode"},
    }
    outputs: dict[str, Any] = {}
    law = None
    if not shape.discrete_prices:
        assert isinstance(settings.learner, ActorCriticSettings)
        law = settings.learner.price_law
    if law is not None:
        products = [batch, shape.num_products]
        meaning = {"range": "price of each product, money", "adjust": "relative change of each product's last price"}
        outputs["price_action"] = {"type": "float32", "shape": products, "meaning": meaning[shape.prices.map]}
        outputs["price_law"] = {"type": "float32", "shape": [*products, 2], "meaning": _LAWS[law]}
    for head in sizes if law is None else ():
        shown = {"shape": [batch, shape.num_products], "meaning": f"most probable {head} level of each product"}
        outputs[f"{head}_index"] = {"type": "int64"} | shown
    for head, size in sizes.items() if law is None else ():
        shown = {"shape": [batch, shape.num_products, size], "meaning": f"log probability of each {head} level"}
        outputs[f"{head}_log_prob"] = {"type": "float32"} | shown
    if "order" in sizes:
        inputs["order_mask"] = {
            "type": "bool",
            "shape": [batch, shape.num_products, sizes["order"]],
            "meaning": "order levels that are allowed now",
        }
    outputs["memory_after"] = {"type": "float32", "shape": [batch, spec.memory], "meaning": "for the next epoch"}
    parameters = run.actor(seed)
    if law is not None:
        network |= {"price_law": {"name": law, "log_width": list(_LOG_WIDTHS[law])}}
    return {
        "format": FORMAT,
        "format_version": _version(network),
        "name": settings.name,
        "sellers": names,
        "num_products": shape.num_products,
        "inputs": inputs,
        "outputs": outputs,
        "observation": [entry._asdict() for entry in entries(shape, params)],
        "memory": {"shape": [spec.memory], "start": 0.0},
        "prices": _prices(shape, params, by_seller),
        "orders": None
        if "order" not in sizes
        else {"unit": "exponent of the aspiration in bargains", "levels": _numbers(params.contracts.exponents[0])}
        if params.contracts is not None
        else {"unit": "units", "levels": _numbers(params.inventory.order_levels)},
        "episode_length": shape.episode_length,
        "learner": settings.learner.algorithm,
        "network": network | {"head_sizes": list(sizes.values())},
        "provenance": {
            "run": run.folder.name,
            "command": without_folders(run.provenance["command"]),
            "revision": run.provenance["revision"],
            "versions": run.provenance["versions"],
            "checkpoint": checkpoint,
            "update": run.updates[seed],
            "seed": seed,
            "parameters_sha256": digest_of(parameters),
        },
        "settings": _without_folders(settings.model_dump(mode="json")),
    }


def _version(network: dict[str, Any]) -> int:
    """Of the format: 1 for what its readers play right, who know one GRU or LSTM without layer norms and softmaxes."""
    old = network["cell"] in ("gru", "lstm") and network["num_layers"] == 1
    return 1 if old and not {"layer_norm", "epsilon", "price_law"} & network.keys() else 2


def network_of(learner: Learner) -> dict[str, Any]:
    """What a reader has to know of what acts, plain: a recurrent network, or a table in its place.

    `epsilon` is there where outputs are values of choices: their log probabilities are those of ε-greedy play.
    """
    spec = learner.actor
    found: dict[str, Any]
    if isinstance(spec, TableSpec):
        found = {"cell": "table", "hidden_size": spec.memory, "bins": spec.bins}
    else:
        assert isinstance(spec, NetworkSpec)
        found = {"cell": spec.cell, "num_layers": spec.num_layers, "hidden_size": spec.hidden_size}
        if spec.layer_norm:
            found["layer_norm"] = True
    if isinstance(learner.heads, EpsilonGreedy):
        found["epsilon"] = float(learner.heads.epsilon)
    return found | {"stacked": spec.stacked, "num_sellers": spec.num_sellers}


def without_folders(command: str) -> str:
    """A command with the last part only of every path in it: where things lay is nothing that others have to know."""
    return re.sub(r"(?<=[=\s'\"\[,:])[^\s=,'\"\[\]]*/(?=[^\s/])(?![^\s=]*=)", "", command)


def _without_folders(value: Any) -> Any:
    """Settings with the last part only of every path in them."""
    if isinstance(value, dict):
        return {name: _without_folders(own) for name, own in value.items()}
    if isinstance(value, list):
        return [_without_folders(own) for own in value]
    return Path(value).name if isinstance(value, str) and "/" in value else value


def _numbers(values: Any) -> Any:
    """As short as they are exact: 1.1 and not 1.100000024."""
    return np.asarray(values, np.float32).astype(str).astype(np.float64).tolist()


def _prices(shape: Any, params: Any, by_seller: tuple[int, int]) -> dict[str, Any]:
    own = {
        "unit": "money",
        "map": shape.prices.map,
        "low": _numbers(np.reshape(params.prices.low, by_seller)),
        "high": _numbers(np.reshape(params.prices.high, by_seller)),
    }
    if shape.prices.map == "levels":
        grid = _numbers(np.reshape(params.prices.levels, (*by_seller, -1)))
        return own | {"levels": grid, "meaning": "price = levels[seller][product][index]"}
    if not shape.discrete_prices:
        lowest, highest = (_numbers(np.reshape(end, by_seller)) for end in action_ends(shape.prices, params.prices))
        meaning = "price = price_action"
        if shape.prices.map == "adjust":
            meaning = "price = last price × (1 + price_action), kept within low and high"
        return own | {"lowest": lowest, "highest": highest, "meaning": meaning}
    meaning = "price = last price × factors[index], kept within low and high"
    return own | {"factors": _numbers(params.prices.factors), "meaning": meaning}
