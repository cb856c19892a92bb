"""One epoch of a policy as a module of torch: what the torch and the ONNX file hold. Needs torch."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from marl_pricing.export.archive import without_traces
from marl_pricing.export.onnx_content import DIGEST, with_digest
from marl_pricing.export.reading import ENTRY
from marl_pricing.learning.networks import Parameters, cell_names
from marl_pricing.learning.recurrent import reads_memory
from marl_pricing.learning.torch_mappo.convert import weights_of
from marl_pricing.learning.torch_mappo.losses import split_heads
from marl_pricing.learning.torch_mappo.min_gru import min_gru_step
from marl_pricing.learning.torch_mappo.recurrent import cell_step


class PolicyStep(nn.Module):
    """The actor for a batch of requests, each of any seller; inputs and outputs as the description names them."""

    def __init__(self, about: dict[str, Any], parameters: Parameters) -> None:
        super().__init__()
        network = about["network"]
        self.cell, self.hidden_size, self.stacked = network["cell"], network["hidden_size"], network["stacked"]
        self.cells = cell_names(network["num_layers"])
        self.num_products, self.head_sizes = about["num_products"], network["head_sizes"]
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
        if not reads_memory(self.cell):
            return min_gru_step(gates_in, memory)
        gates_hidden = self._times(memory[:, : self.hidden_size], f"{name}_weight_hh", seller)
        return cell_step(self.cell, gates_in, gates_hidden, self._of(f"{name}_bias_hh", seller), memory)

    def forward(
        self, observation: Tensor, seller: Tensor, memory: Tensor, order_mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """One epoch: the most probable choices, log probabilities of all of them, the memory for the next epoch."""
        if self.told_number:
            observation = torch.cat([observation, self.get_buffer("numbers")[seller]], -1)
        inputs = torch.relu(self._layer(observation, "embed", seller))
        held = memory.chunk(len(self.cells), -1)
        kept = []
        for name, before in zip(self.cells, held, strict=True):
            kept.append(self._remember(name, inputs, seller, before))
            inputs = kept[-1][:, : self.hidden_size]
        memory = kept[0] if len(kept) == 1 else torch.cat(kept, -1)
        logits = self._layer(torch.relu(self._layer(inputs, "head", seller)), "out", seller)
        masks = [None, order_mask][: len(self.head_sizes)]
        heads = split_heads(logits, self.num_products, self.head_sizes, masks, self.law)
        law = heads[0]
        if not isinstance(law, Tensor):
            low, high = (self.get_buffer(end)[seller] for end in ("lowest", "highest"))
            return low + (high - low) * torch.sigmoid(law.centre()), law.numbers(), memory
        said = [head for head in heads if isinstance(head, Tensor)]
        return *(head.argmax(-1) for head in said), *said, memory


def _program(about: dict[str, Any], parameters: Parameters) -> tuple[PolicyStep, tuple[Tensor, ...], Any]:
    """(module, example inputs of two requests, which of their axes may have any length)."""
    kinds = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
    examples = [torch.zeros(2, *told["shape"][1:], dtype=kinds[told["type"]]) for told in about["inputs"].values()]
    batch = torch.export.Dim("batch", min=1, max=2**20)
    return PolicyStep(about, parameters).eval(), tuple(examples), tuple({0: batch} for _ in examples)


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
