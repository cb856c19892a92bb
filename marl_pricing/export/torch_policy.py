"""One epoch of a policy as a module of torch: what the torch and the ONNX file hold. Needs torch."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl_pricing.export.archive import without_traces
from marl_pricing.export.onnx_content import DIGEST, with_digest
from marl_pricing.export.reading import ENTRY
from marl_pricing.learning.networks import Parameters, cell_names
from marl_pricing.learning.recurrent import reads_memory
from marl_pricing.learning.torch_mappo.convert import weights_of
from marl_pricing.learning.torch_mappo.losses import split_heads
from marl_pricing.learning.torch_mappo.min_gru import min_gru_step
from marl_pricing.learning.torch_mappo.recurrent import cell_step


class Choices(nn.Module):
    """Outputs [B, A] to log probabilities of each head [B, P, n]: a softmax's, or with ε those of ε-greedy play."""

    def __init__(self, about: dict[str, Any]) -> None:
        super().__init__()
        network = about["network"]
        self.num_products, self.sizes, self.epsilon = (
            about["num_products"],
            network["head_sizes"],
            network.get("epsilon"),
        )
        if self.epsilon is not None:  # files bring numbers along: what would make them is not among their operators
            for number, size in enumerate(self.sizes):
                self.register_buffer(f"index_{number}", torch.arange(size))
                self.register_buffer(f"ones_{number}", torch.ones(about["num_products"], size))

    def forward(self, outputs: Tensor, order_mask: Tensor | None) -> list[Tensor]:
        """As the class says."""
        masks = [None, order_mask][: len(self.sizes)]
        heads = [own for own in split_heads(outputs, self.num_products, self.sizes, masks) if isinstance(own, Tensor)]
        if self.epsilon is None:
            return heads
        found = []
        for number, (head, mask) in enumerate(zip(heads, masks, strict=True)):
            allowed = self.get_buffer(f"ones_{number}")
            if mask is not None:
                allowed = allowed.masked_fill(~mask, 0.0)
            best = torch.eq(self.get_buffer(f"index_{number}"), head.argmax(-1)[..., None])
            chance = self.epsilon * allowed / allowed.sum(-1, keepdim=True)
            chance = torch.where(best, chance + (1.0 - self.epsilon), chance)
            found.append(chance.clamp(min=1e-38).log().masked_fill(~(chance > 0), torch.finfo(head.dtype).min))
        return found


class PolicyStep(nn.Module):
    """The actor for a batch of requests, each of any seller; inputs and outputs as the description names them."""

    def __init__(self, about: dict[str, Any], parameters: Parameters) -> None:
        super().__init__()
        network = about["network"]
        self.layer_norm, self.choices = network.get("layer_norm", False), Choices(about)
        self.cell, self.hidden_size, self.stacked = network["cell"], network["hidden_size"], network["stacked"]
        self.cells = cell_names(network["num_layers"])
        self.told_number = not self.stacked and network["num_sellers"] > 1
        self.register_buffer("numbers", torch.eye(network["num_sellers"]))
        self.law = network["price_law"]["name"] if "price_law" in network else None
        if self.law is not None:
            for end in ("lowest", "highest"):
                self.register_buffer(end, torch.tensor(about["prices"][end], dtype=torch.float32))
        own = weights_of(parameters, self.stacked)
        for name in own[0]:
            weight = torch.stack([each[name] for each in own]) if self.stacked else own[0][name]
            self.register_buffer(name.replace(".", "_"), weight.clone(memory_format=torch.contiguous_format).cpu())

    def _of(self, name: str, seller: Tensor) -> Tensor:
        """A weight; of a stack, each request's own [B, …]."""
        weight = self.get_buffer(name)
        return weight[seller] if self.stacked else weight

    def _times(self, inputs: Tensor, name: str, seller: Tensor) -> Tensor:
        """Inputs [B, D] through a weight."""
        weight = self._of(name, seller)
        return (weight @ inputs[:, :, None])[:, :, 0] if self.stacked else inputs @ weight.t()

    def _layer(self, inputs: Tensor, name: str, seller: Tensor) -> Tensor:
        return self._times(inputs, f"{name}_weight", seller) + self._of(f"{name}_bias", seller)

    def _remember(self, name: str, inputs: Tensor, seller: Tensor, memory: Tensor) -> Tensor:
        gates_in = self._times(inputs, f"{name}_weight_ih", seller) + self._of(f"{name}_bias_ih", seller)
        if self.cell == "none":
            return torch.tanh(gates_in)
        if not reads_memory(self.cell):
            return min_gru_step(gates_in, memory)
        gates_hidden = self._times(memory[:, : self.hidden_size], f"{name}_weight_hh", seller)
        return cell_step(self.cell, gates_in, gates_hidden, self._of(f"{name}_bias_hh", seller), memory)

    def _inner(self, inputs: Tensor, name: str, seller: Tensor) -> Tensor:
        """A layer that is cut at zero, normalised before or not."""
        inner = self._layer(inputs, name, seller)
        if self.layer_norm:
            inner = F.layer_norm(inner, inner.shape[-1:], eps=1e-6)  # flax's ε
            inner = inner * self._of(f"{name}_norm_weight", seller) + self._of(f"{name}_norm_bias", seller)
        return torch.relu(inner)

    def forward(
        self, observation: Tensor, seller: Tensor, memory: Tensor, order_mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """One epoch: the most probable choices, log probabilities of all of them, the memory for the next epoch."""
        if self.told_number:
            observation = torch.cat([observation, self.get_buffer("numbers")[seller]], -1)
        inputs = self._inner(observation, "embed", seller)
        held = memory.chunk(len(self.cells), -1)
        kept = []
        for name, before in zip(self.cells, held, strict=True):
            kept.append(self._remember(name, inputs, seller, before))
            inputs = kept[-1][:, : self.hidden_size]
        memory = kept[0] if len(kept) == 1 else torch.cat(kept, -1)
        outputs = self._layer(self._inner(inputs, "head", seller), "out", seller)
        if self.law is not None:
            (law,) = split_heads(outputs, self.choices.num_products, self.choices.sizes, [None], self.law)
            assert not isinstance(law, Tensor)
            low, high = (self.get_buffer(end)[seller] for end in ("lowest", "highest"))
            return low + (high - low) * torch.sigmoid(law.centre()), law.numbers(), memory
        heads = self.choices(outputs, order_mask)
        return *(head.argmax(-1) for head in heads), *heads, memory


class TableStep(nn.Module):
    """A table in a network's place; inputs and outputs as `PolicyStep`'s."""

    def __init__(self, about: dict[str, Any], parameters: Parameters) -> None:
        super().__init__()
        network, bins = about["network"], about["network"]["bins"]
        self.stretch, self.stacked, self.choices = 0.5 * (bins - 1), network["stacked"], Choices(about)
        width = len(about["observation"])
        self.register_buffer("grid", torch.arange(float(bins)))
        self.register_buffer("places", torch.tensor([bins**number for number in range(width)]))
        self.register_buffer("values", torch.tensor(np.asarray(parameters["values"])))

    def forward(
        self, observation: Tensor, seller: Tensor, memory: Tensor, order_mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """One epoch: the best choices, log probabilities of all of them, a memory that nothing is kept in."""
        place = torch.round((observation.clamp(-1.0, 1.0) + 1.0) * self.stretch)
        away = self.get_buffer("grid") - place[..., None]
        place = (-away * away).argmax(-1)  # as an integer, without an operator that names devices
        row = (place * self.get_buffer("places")).sum(-1)
        values = self.get_buffer("values")
        outputs = values[seller, row] if self.stacked else values[0][row]
        heads = self.choices(outputs, order_mask)
        return *(head.argmax(-1) for head in heads), *heads, memory.clone()


def _program(about: dict[str, Any], parameters: Parameters) -> tuple[nn.Module, tuple[Tensor, ...], Any]:
    """(module, example inputs of two requests, which of their axes may have any length)."""
    kinds = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
    examples = [torch.zeros(2, *told["shape"][1:], dtype=kinds[told["type"]]) for told in about["inputs"].values()]
    batch = torch.export.Dim("batch", min=1, max=2**20)
    kind = TableStep if about["network"]["cell"] == "table" else PolicyStep
    return kind(about, parameters).eval(), tuple(examples), tuple({0: batch} for _ in examples)


@contextmanager
def _quietly() -> Iterator[None]:
    """Exporters speak of what they leave out, which is nothing of ours."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


def torch_file(about: dict[str, Any], parameters: Parameters) -> bytes:
    """A `torch.export` program, with the description as an extra file."""
    module, examples, shapes = _program(about, parameters)
    buffer = io.BytesIO()
    with _quietly():
        program = torch.export.export(module, examples, dynamic_shapes=shapes)
        torch.export.save(program, buffer, extra_files={ENTRY: json.dumps(about)})
    return without_traces(buffer.getvalue())


def onnx_file(about: dict[str, Any], parameters: Parameters) -> bytes:
    """An ONNX model, with the description among its metadata."""
    module, examples, shapes = _program(about, parameters)
    with _quietly():
        program = torch.onnx.export(
            module,
            examples,
            dynamic_shapes=shapes,
            input_names=list(about["inputs"]),
            output_names=list(about["outputs"]),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[ENTRY] = json.dumps(about)
    proto = program.model_proto
    for own in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del own.metadata_props[:]  # where our code lies on this machine
    proto.metadata_props.add(key=DIGEST, value="0" * 64)
    return with_digest(proto.SerializeToString())
