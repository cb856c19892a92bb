"""From a run folder to a policy file, a loader example and a model card."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.export import numpy_policy
from marl_pricing.export.card import card, read_evaluation
from marl_pricing.export.description import describe
from marl_pricing.export.example import example
from marl_pricing.export.reading import ENTRY, SUFFIXES, load_policy
from marl_pricing.learning import actions
from marl_pricing.learning.price_laws import Law
from marl_pricing.presentation.files import write_atomically
from marl_pricing.studies.loading import LoadedRun, load_run

_PACKAGES = {"torch": ("torch",), "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"), "flax": ()}


class ExportSettings(Settings):
    """What to export, and whereto; `out: null` is a file in `export/<format>` of the run's folder.

    `evaluation` is the folder of an evaluation, whose figures go into the card; null: that in the run's folder, if any.
    """

    run: str
    format: Literal["torch", "onnx", "flax"]
    checkpoint: Literal["latest", "best"] = "latest"
    seed: int = 0
    out: str | None = None
    evaluation: str | None = None


def export(settings: ExportSettings) -> tuple[Path, Path, Path]:
    """Write a policy file, its loader example and its model card.

    The file is read back and compared with the network that it came from before this returns.

    Returns:
        (policy file, example, card).

    Raises:
        ConfigError, RunError: for settings or folders that cannot be used, or a package that is not installed.
    """
    folder, suffix = Path(settings.run), SUFFIXES[settings.format]
    out = Path(settings.out) if settings.out else folder / "export" / settings.format / f"policy{suffix}"
    if out.suffix != suffix:
        raise refuse("out", str(out), f"a file that ends in {suffix} with format={settings.format}")
    _need(settings.format)
    run = load_run(folder, settings.checkpoint)
    count = run.settings.learner.num_seeds
    if not 0 <= settings.seed < count:
        raise refuse("seed", settings.seed, f"0 to {count - 1}, the run's seeds")
    about = describe(run, settings.seed, settings.checkpoint)
    evaluation = read_evaluation(Path(settings.evaluation or folder / "evaluation"), about)
    if settings.evaluation and isinstance(evaluation, str):
        raise refuse("evaluation", settings.evaluation, f"an evaluation of this run; {evaluation}")
    parameters = run.actor(settings.seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, _content(settings.format, about, parameters))
    _compare(out, run, parameters)
    raw = np.asarray(_first_observation(run)[0], np.float64)
    for number, entry in enumerate(about["observation"]):
        raw[number] = raw[number] * entry["scale"][0] + entry["offset"][0]
    beside = write_atomically(
        out.with_name(f"{out.stem}_example.py"), example(settings.format, about, out.name, ENTRY, raw.tolist())
    )
    page = card(about, run.settings, out.name, evaluation)
    return out, beside, write_atomically(out.with_name(f"{out.stem}_card.md"), page)


def _need(kind: str) -> None:
    """Refuse a format whose packages are not installed."""
    for name in _PACKAGES[kind]:
        if importlib.util.find_spec(name) is None:
            extra = "torch" if kind == "torch" else "export"
            raise ConfigError(f"format={kind!r}: {name} is not installed: pip install 'marl-pricing[{extra}]'")


def _content(kind: str, about: dict[str, Any], parameters: Any) -> bytes:
    if kind == "flax":
        parameters = {"table": parameters} if about["network"]["cell"] == "table" else parameters
        return numpy_policy.numpy_file(about, parameters, ENTRY)
    from marl_pricing.export import torch_policy

    return torch_policy.torch_file(about, parameters) if kind == "torch" else torch_policy.onnx_file(about, parameters)


def _first_observation(run: LoadedRun) -> jax.Array:
    """What sellers [S, O] see before the first epoch."""
    return jax.jit(lambda: market.reset(jax.random.key(0), *run.experiment.market)[1].local)()


def _compare(path: Path, run: LoadedRun, parameters: Any, num_epochs: int = 8) -> None:
    """Play the file and the network side by side on random observations.

    Raises:
        RuntimeError: if they differ.
    """
    learner, policy = run.experiment.learner, load_policy(path)
    shape, spec, random = learner.shape, learner.actor, np.random.default_rng(0)
    sellers, memory = np.arange(shape.num_sellers), spec.start(1)
    own_memory = policy.start(shape.num_sellers)
    step = jax.jit(spec.step)
    for _ in range(num_epochs):
        seen = random.normal(size=(shape.num_sellers, len(policy.about["observation"]))).astype(np.float32)
        mask = None
        if shape.chooses_orders:
            mask = random.random((shape.num_sellers, shape.num_products, shape.inventory.num_order_levels)) < 0.7
            mask[..., 0] = True
        logits, memory = step(parameters, jnp.asarray(seen)[None], memory)
        said = policy.step(seen, sellers, own_memory, mask)
        own_memory = said["memory_after"]
        if not shape.discrete_prices:
            (law,) = heads = learner.heads(shape, logits[0], None)
            assert isinstance(law, Law)
            action = actions.to_action(shape, run.experiment.market.params, heads, actions.greedy(heads))
            pairs = ((action.price, said["price_action"]), (law.numbers(), said["price_law"]))
            if not all(np.allclose(own, told, rtol=1e-3, atol=1e-4) for own, told in pairs):
                raise RuntimeError(f"{path}: says other prices than the network that it was made from")
            continue
        heads = learner.heads(shape, logits[0], None if mask is None else jnp.asarray(mask))
        for name, head in zip(("price", "order"), heads, strict=False):
            probability = np.exp(np.asarray(head))
            if np.abs(probability - np.exp(said[f"{name}_log_prob"])).max() > 1e-4:
                raise RuntimeError(f"{path}: says other probabilities than the network that it was made from")
