"""The loader example that goes beside a policy file: how its users play it, without this package."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

from marl_pricing.export.archive import without_code
from marl_pricing.export.onnx_content import metadata_of
from marl_pricing.learning.networks import cell_names
from marl_pricing.market.prices import CONTINUOUS

_TORCH = """from __future__ import annotations
import io
import json
import os
import re
import zipfile
import torch


{check}

extra = {{"{entry}": ""}}
# A file of somebody else's under this name cannot run anything: torch sees what was looked at.
policy = torch.export.load(without_code({file!r}), extra_files=extra).module()
about = json.loads(extra["{entry}"])

seller = torch.tensor([0])
memory = torch.zeros(1, *about["memory"]["shape"])  # at the start of an episode
raw = torch.tensor([{raw}])  # what the seller sees, in the units of about["observation"]
offset, scale = (torch.tensor([[entry[key][0] for entry in about["observation"]]]) for key in ("offset", "scale"))
{call}
{print}
"""


_ONNX = """from __future__ import annotations
import json
import re
import numpy as np
import onnxruntime


{check}

with open({file!r}, "rb") as stream:  # a file of somebody else's under this name can name no other files
    content = stream.read()
about = json.loads(metadata_of(content)["{entry}"])
session = onnxruntime.InferenceSession(content)

seller = np.array([0])
memory = np.zeros((1, *about["memory"]["shape"]), np.float32)  # at the start of an episode
raw = np.array([{raw}])  # what the seller sees, in the units of about["observation"]
offset, scale = (np.array([entry[key][0] for entry in about["observation"]]) for key in ("offset", "scale"))
inputs = {{"observation": ((raw - offset) / scale).astype(np.float32), "seller": seller, "memory": memory}}
{call}
{print}
"""

_NUMPY = """import json
import numpy as np

weights = dict(np.load({file!r}))
about = json.loads(str(weights.pop("{entry}")))
own = {{name: weight{index} for name, weight in weights.items()}}

memory = np.zeros(about["memory"]["shape"], np.float32)  # at the start of an episode
raw = np.array({raw})  # what seller 0 sees, in the units of about["observation"]
offset, scale = (np.array([entry[key][0] for entry in about["observation"]]) for key in ("offset", "scale"))
shown = {shown}
{network}
outputs = logits.reshape(about["num_products"], -1)[:, : about["network"]["head_sizes"][0]]
{choice}
{print}
"""

_NETWORK = """x = shown @ own["embed/kernel"] + own["embed/bias"]{embed_norm}
x = np.maximum(x, 0)
{cell}
h = hidden @ own["head/kernel"] + own["head/bias"]{head_norm}
logits = np.maximum(h, 0) @ own["out/kernel"] + own["out/bias"]"""

_NORM = """
{0} = ({0} - {0}.mean()) / np.sqrt({0}.var() + 1e-6) * own["{1}_norm/scale"] + own["{1}_norm/bias"]"""

_TABLE = """bins = about["network"]["bins"]
place = np.round((np.clip(shown, -1, 1) + 1) * (bins - 1) / 2).astype(int)
logits = own["table/values"][(place * bins ** np.arange(place.size)).sum()]  # values of each choice"""

_NONE = """memory = hidden = np.tanh(x @ own["cell/kernel_in"] + own["cell/bias"])"""

_GRU = """def sigmoid(x): return 1 / (1 + np.exp(-x))
a, b = x @ own["cell/kernel_in"] + own["cell/bias"], memory @ own["cell/kernel_hidden"]
(a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3), np.split(b, 3)
update = sigmoid(a_z + b_z)
new = np.tanh(a_n + sigmoid(a_r + b_r) * (b_n + own["cell/bias_hidden"]))
memory = hidden = (1 - update) * new + update * memory  # keep it for the next epoch"""

_LSTM = """def sigmoid(x): return 1 / (1 + np.exp(-x))
hidden, cell = np.split(memory, 2)
gates = x @ own["cell/kernel_in"] + own["cell/bias"] + hidden @ own["cell/kernel_hidden"]
enter, forget, new, out = np.split(gates, 4)
cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
hidden = sigmoid(out) * np.tanh(cell)
memory = np.concatenate([hidden, cell])  # keep it for the next epoch"""


_MIN_GRU = """def sigmoid(x): return 1 / (1 + np.exp(-x))
update, new = np.split(x @ own["cell/kernel_in"] + own["cell/bias"], 2)
update, new = sigmoid(update), np.where(new >= 0, new + 0.5, sigmoid(new))
memory = hidden = (1 - update) * memory + update * new  # keep it for the next epoch"""

_CELLS = {"gru": _GRU, "lstm": _LSTM, "mingru": _MIN_GRU, "none": _NONE}


def _cells(network: dict[str, Any]) -> str:
    """Code of one epoch of the cells, from `x` and `memory` to `hidden` and `memory`."""
    code, names = _CELLS[network["cell"]], cell_names(network.get("num_layers", 1))
    if len(names) == 1:
        return code
    code = code.replace("  # keep it for the next epoch", "").replace('own["cell/', 'own[layer + "/')
    return f"""held, kept = np.split(memory, {len(names)}), []
for layer, memory in zip({tuple(names)!r}, held):
{textwrap.indent(code, "    ")}
    kept.append(memory)
    x = hidden  # what the next layer reads
memory = np.concatenate(kept)  # keep it for the next epoch"""


def example(kind: str, about: dict[str, Any], file: str, entry: str, raw: Sequence[float]) -> str:
    """A Python file that loads the policy and asks it for the prices of seller 0 in one epoch.

    Args:
        kind: `torch`, `onnx` or `flax`.  file: the policy's name, in the folder of the example.
        entry: name of the description in the file.  raw: [O] an observation of seller 0 in raw units.
    """
    template = {"torch": _TORCH, "onnx": _ONNX, "flax": _NUMPY}[kind]
    network, orders = about["network"], about["orders"] is not None
    outputs = ", ".join(about["outputs"]).replace("memory_after", "memory")
    masks = about["inputs"].get("order_mask", {"shape": []})["shape"][1:]
    call = {
        "torch": f"{outputs} = policy((raw - offset) / scale, seller, memory"
        + (f", torch.ones(1, *{masks}, dtype=torch.bool))  # any order is allowed" if orders else ")"),
        "onnx": (f'inputs["order_mask"] = np.ones((1, *{masks}), bool)  # any order is allowed\n' if orders else "")
        + f"{outputs} = session.run(None, inputs)",
        "flax": "",
    }[kind]
    scaled = "(raw - offset) / scale"
    table = network["cell"] == "table"
    if not network["stacked"] and network["num_sellers"] > 1 and not table:
        scaled = f'np.append({scaled}, np.eye(about["network"]["num_sellers"])[0])  # and which seller it is'
    index = "[0]" if kind == "flax" else "[0, 0]"
    choice = "price_index = outputs.argmax(-1)"
    if about["prices"]["map"] in CONTINUOUS:
        choice = (
            'lowest, highest = (np.array(about["prices"][end][0]) for end in ("lowest", "highest"))\n'
            "price_action = lowest + (highest - lowest) / (1 + np.exp(-outputs[:, 0]))"
        )
    show = f'print("price:", about["prices"]["levels"][0][0][price_index{index}])'
    if about["prices"]["map"] == "scale":
        show = f'print("last price times", about["prices"]["factors"][price_index{index}])'
    if about["prices"]["map"] == "range":
        show = f'print("price:", float(price_action{index}))'
    if about["prices"]["map"] == "adjust":
        show = f'print("last price times", 1 + float(price_action{index}))'
    return template.format(
        choice=choice,
        check=inspect.getsource(without_code if kind == "torch" else metadata_of),
        entry=entry,
        file=file,
        raw=[round(float(value), 6) for value in raw],
        call=call,
        print=show,
        index="[0]" if network["stacked"] or table else "",
        shown=scaled,
        network=_TABLE if table else _network(network),
    )


def _network(network: dict[str, Any]) -> str:
    """The lines that lead from what is shown to the outputs of a recurrent network."""
    norms = {
        f"{layer}_norm": _NORM.format(name, layer) if network.get("layer_norm") else ""
        for layer, name in (("embed", "x"), ("head", "h"))
    }
    return _NETWORK.format(cell=_cells(network), **norms)
