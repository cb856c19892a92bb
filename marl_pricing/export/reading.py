"""Policy files read back and played; needs only what the file's own format needs, and no JAX."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marl_pricing.export import numpy_policy
from marl_pricing.export.archive import without_code
from marl_pricing.export.onnx_content import check_digest, metadata_of
from marl_pricing.intake import IntakeError, plain

Array = np.ndarray

FORMAT = "marl_pricing policy"
FORMAT_VERSION = 2  # 1: one GRU or LSTM, softmaxes over levels; 2: continuous prices, layer norms, tables, other cells
# The name of the description inside a file: an extra file of torch, a metadata entry of ONNX, an array of NumPy.
ENTRY = "policy.json"
_MEMORY = "memory_after"
_MOST_WIDE = 1 << 24  # numbers that one request may have or be answered with
SUFFIXES = {"torch": ".pt2", "onnx": ".onnx", "flax": ".npz"}


class PolicyError(ValueError):
    """A policy file or a request that cannot be used; the message names it and what is accepted."""


@dataclass(frozen=True)
class ExportedPolicy:
    """A policy out of a file.

    Attributes:
        about: the file's description.
        run: inputs by name → outputs in the description's order.
    """

    about: dict[str, Any]
    run: Callable[[dict[str, Array]], list[Array]]

    def start(self, batch: int) -> Array:
        """Memories [B, M] at the start of an episode."""
        return np.zeros((batch, *self.about["memory"]["shape"]), np.float32)

    def show(self, raw: Any, seller: Any) -> Array:
        """Figures [B, O] in the units of the description, as the policy is shown them."""
        entries = self.about["observation"]
        offset, scale = (np.array([entry[key] for entry in entries])[:, seller].T for key in ("offset", "scale"))
        return ((self._fits("observation", np.asarray(raw, np.float64)) - offset) / scale).astype(np.float32)

    def step(self, observation: Any, seller: Any, memory: Any, order_mask: Any = None) -> dict[str, Array]:
        """One epoch of B sellers.

        Args:
            observation: [B, O] as shown, see `show`.  seller: [B] numbers of the sellers.  memory: [B, M].
            order_mask: [B, P, Q] bool, where orders are chosen.

        Raises:
            PolicyError: for an input of another width, or one too many or too few; naming it and what is accepted.
        """
        given = {"observation": observation, "seller": seller, "memory": memory, "order_mask": order_mask}
        inputs = {name: value for name, value in given.items() if value is not None}
        if set(inputs) != set(self.about["inputs"]):
            raise PolicyError(f"inputs={sorted(inputs)}: accepted is {sorted(self.about['inputs'])}")
        kinds = {name: np.dtype(told["type"]) for name, told in self.about["inputs"].items()}
        own = {name: self._fits(name, np.asarray(inputs[name])).astype(kind) for name, kind in kinds.items()}
        number = own["seller"]
        if (number < 0).any() or (number >= len(self.about["sellers"])).any():
            raise PolicyError(f"seller={number.tolist()}: accepted is 0 to {len(self.about['sellers']) - 1}")
        return dict(zip(self.about["outputs"], self.run(own), strict=True))

    def _fits(self, name: str, value: Array) -> Array:
        accepted = tuple(self.about["inputs"][name]["shape"][1:])
        if value.ndim != 1 + len(accepted) or value.shape[1:] != accepted:
            entries = f": {', '.join(own['name'] for own in self.about['observation'])}" * (name == "observation")
            raise PolicyError(f"{name} of shape {list(value.shape)}: accepted is {['batch', *accepted]}{entries}")
        return value


def load_policy(path: Path | str) -> ExportedPolicy:
    """Read a policy file.

    Raises:
        PolicyError: for a file that is not there, is no policy file or a newer one, or whose format needs a package
            that is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise PolicyError(f"{path}: there is no such file")
    readers = {".pt2": _read_torch, ".onnx": _read_onnx, ".npz": _read_numpy}
    if path.suffix not in readers:
        raise PolicyError(f"{path}: accepted are files ending in {', '.join(readers)}")
    try:
        text, make = readers[path.suffix](path)
        about = plain.parse_json(text, f"{path}, {ENTRY}")
        if about["format"] != FORMAT:
            raise KeyError("format")
    except ModuleNotFoundError as error:
        extra = "torch" if path.suffix == ".pt2" else "export"
        raise PolicyError(f"{path}: {error.name} is not installed: pip install 'marl-pricing[{extra}]'") from None
    except PolicyError:
        raise
    except IntakeError as error:
        why = str(error).removeprefix(str(path)).lstrip(":, ")
        raise PolicyError(f"{path}: is no policy file ({why})") from None
    except Exception as error:
        raise PolicyError(f"{path}: is no policy file ({type(error).__name__})") from None
    if not isinstance(about.get("format_version"), int):
        raise PolicyError(f"{path}: format_version is missing or broken")
    if about["format_version"] > FORMAT_VERSION:
        raise PolicyError(
            f"{path}: format_version={about['format_version']}: accepted is at most {FORMAT_VERSION}; "
            "install a newer marl-pricing"
        )
    _check_description(path, about)
    policy = ExportedPolicy(about, make(about))
    _check_answers(path, policy)
    return policy


def _check_description(path: Path, about: dict[str, Any]) -> None:
    """Refuse a description that lacks what playing asks it for."""
    kinds = {"inputs": dict, "outputs": dict, "observation": list, "memory": dict, "sellers": list, "network": dict}
    try:
        broken = [name for name, kind in kinds.items() if not isinstance(about[name], kind)]
        for told in (*about["inputs"].values(), *about["outputs"].values()):
            np.dtype(told["type"]), tuple(told["shape"][1:])
        for name in ("inputs", "outputs"):
            shapes = [told["shape"][1:] for told in about[name].values()]
            whole = all(isinstance(size, int) and size > 0 for shape in shapes for size in shape)
            if not whole or max(map(math.prod, shapes)) > _MOST_WIDE:
                broken.append(name)
        for entry in about["observation"]:
            if np.array([entry["offset"], entry["scale"]], np.float64).shape != (2, len(about["sellers"])):
                broken.append("observation")
        if about["network"]["num_sellers"] != len(about["sellers"]) or not about["sellers"]:
            broken.append("sellers")
        heads = ("price", "order") if "order_mask" in about["inputs"] else ("price",)
        kinds_of = ("action", "law") if "price_law" in about["network"] else ("index", "log_prob")
        if list(about["outputs"]) != [f"{head}_{kind}" for kind in kinds_of for head in heads] + [_MEMORY]:
            broken.append("outputs")
        if "price_law" in about["network"]:
            by_seller = (len(about["sellers"]), about["num_products"])
            if any(np.array(about["prices"][end], np.float64).shape != by_seller for end in ("lowest", "highest")):
                broken.append("prices")
        wanted = {"memory": about["memory"]["shape"], "observation": [len(about["observation"])]}
        broken += [name for name, shape in wanted.items() if about["inputs"][name]["shape"][1:] != shape]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PolicyError(f"{path}: its description is broken ({type(error).__name__}: {error})") from None
    if broken:
        raise PolicyError(f"{path}: its description is broken ({', '.join(dict.fromkeys(broken))})")


def _check_answers(path: Path, policy: ExportedPolicy) -> None:
    """Refuse a policy that does not answer the first and the last seller as its description says."""
    about = policy.about
    told = {name: (np.dtype(own["type"]), (2, *own["shape"][1:])) for name, own in about["outputs"].items()}
    asked = {name: np.zeros((2, *own["shape"][1:]), own["type"]) for name, own in about["inputs"].items()}
    asked["seller"] = np.array([0, len(about["sellers"]) - 1])
    asked |= {name: np.ones_like(own) for name, own in asked.items() if name == "order_mask"}
    try:
        said = policy.step(**asked)
    except Exception as error:  # of the format's own kind
        raise PolicyError(f"{path}: does not answer as its description says ({type(error).__name__})") from None
    wrong = [name for name, own in said.items() if (own.dtype, own.shape) != told[name]]
    wrong += [name for name, own in said.items() if name not in wrong and not np.isfinite(own).all()]
    if wrong:
        raise PolicyError(f"{path}: does not answer as its description says ({', '.join(wrong)})")


Maker = Callable[[dict[str, Any]], Callable[[dict[str, Array]], list[Array]]]


def _read_torch(path: Path) -> tuple[str, Maker]:
    import torch

    try:
        content = without_code(path)
    except ValueError as error:
        raise PolicyError(f"{path}: is not read, torch could run what it carries: {error}") from None
    extra = {ENTRY: ""}
    with _silent("torch.export"):
        module = torch.export.load(content, extra_files=extra).module()

    def run(inputs: Mapping[str, Array]) -> list[Array]:
        with torch.no_grad():
            return [own.numpy() for own in module(*(torch.from_numpy(own.copy()) for own in inputs.values()))]

    return extra[ENTRY], lambda about: run


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """A library's log says nothing meanwhile: what is wrong is raised as well."""
    log = logging.getLogger(name)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _read_onnx(path: Path) -> tuple[str, Maker]:
    import onnxruntime

    content = plain.read_bytes(path)
    try:
        found = metadata_of(content)
        check_digest(content, found)
    except ValueError as error:
        raise PolicyError(f"{path}: is not read: {error}") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised as well
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return found[ENTRY], lambda about: lambda inputs: session.run(None, inputs)


def _read_numpy(path: Path) -> tuple[str, Maker]:
    arrays = plain.read_arrays(path)
    text = str(arrays.pop(ENTRY))
    return text, lambda about: lambda inputs: numpy_policy.step(arrays, about, **inputs)
