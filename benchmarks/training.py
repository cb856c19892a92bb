"""Training speed: whole updates (rollout, targets, epochs of minibatches) of recurrent MAPPO."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.market import stock_market
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.learners import make_learner
from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.recurrent import GATES, reads_memory
from marl_pricing.learning.settings import LearnerSettings

SIZES = ((64, 64), (256, 64), (64, 128), (256, 128))
CASES = (
    *(LearnerSettings(num_envs=num_envs, hidden_size=hidden) for num_envs, hidden in SIZES),
    *(LearnerSettings(num_envs=64, hidden_size=hidden, cell="mingru") for hidden in (64, 128)),
    LearnerSettings(num_envs=64, hidden_size=64, devices=1),
)


def matmul_peak(size: int = 2048, repeats: int = 15) -> float:
    """Largest float32 matrix-product rate seen in this run, FLOP/s: one product a device, all at once."""
    products = [jax.device_put(jax.random.normal(jax.random.key(0), (size, size)), device) for device in jax.devices()]
    multiply = jax.jit(lambda a: a @ a)
    jax.block_until_ready([multiply(a) for a in products])
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready([multiply(a) for a in products])
        best = min(best, time.perf_counter() - begin)
    return 2.0 * size**3 * len(products) / best


def _forward_flops(spec: NetworkSpec) -> int:
    """Matrix products of one network for one row and epoch."""
    hidden = spec.hidden_size
    cells = spec.num_layers * GATES[spec.cell] * (1 + reads_memory(spec.cell)) * hidden**2
    return 2 * (spec.in_size * hidden + cells + hidden * hidden + hidden * spec.out_size)


def update_flops(learner: Learner) -> int:
    """Matrix products of one update: the actor once for the rollout, the critic twice for its values, and three times
    the forward pass (forward and backward) of both in every epoch."""
    own = learner.settings
    epochs = own.num_envs * own.num_steps
    actor = epochs * learner.shape.num_sellers * _forward_flops(learner.actor)
    critic = epochs * learner.critic.memory_sellers * _forward_flops(learner.critic)
    return actor * (1 + 3 * own.num_epochs) + critic * (2 + 3 * own.num_epochs)


class Training:
    """A training of three sellers that is ready to be timed.

    Attributes:
        learner, program: what trains.  seller_steps: of an update.
        init_seconds, compile_seconds: of the first state, and of the program.
    """

    def __init__(self, settings: LearnerSettings, block: int = 1) -> None:
        own = stock_market(3, random_orders=True, rule="threshold")
        self.learner = make_learner(settings, *own)
        self.program = Program(self.learner)
        self.seller_steps = settings.steps_per_update * own.shape.num_sellers
        self._params = self.program.stack(own.params)
        begin = time.perf_counter()
        self._state = jax.block_until_ready(self.program.init(self._params))
        self.init_seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        self._call = self.program.compiled(self._state, self._params, block)
        self.compile_seconds = time.perf_counter() - begin

    def go_on(self, updates: int = 1) -> None:
        """So many updates, at most a block of them, in one call; it may return before they are done."""
        self._state, _ = self._call(self._state, self._params, updates)

    def wait(self) -> None:
        """Until all updates are done."""
        jax.block_until_ready(self._state)

    def seconds(self, updates: int, together: int = 1) -> float:
        """Seconds an update of so many, so many of them in one call."""
        begin = time.perf_counter()
        for _ in range(updates // together):
            self.go_on(together)
        self.wait()
        return (time.perf_counter() - begin) / updates


def measure(settings: LearnerSettings, repeats: int, seconds: float = 1.5) -> dict[str, Any]:
    """Seller steps a second of whole updates: median of `repeats` runs of about `seconds` each."""
    training = Training(settings)
    training.seconds(1)
    updates = max(1, round(seconds / training.seconds(1)))
    rate = 1.0 / median(training.seconds(updates) for _ in range(repeats))
    return {
        "value": rate * training.seller_steps,
        "flops": rate * update_flops(training.learner),
        "compile_seconds": training.compile_seconds,
        "init_seconds": training.init_seconds,
    }


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    """Training rows: 128 steps, 4 epochs, 4 minibatches, 3 sellers, separate actor and critic, float32."""
    peak = matmul_peak()
    table = []
    for settings in CASES:
        got = measure(settings, repeats)
        name = f"{settings.num_envs} environments, hidden {settings.hidden_size}"
        name += f", {settings.cell}" * (settings.cell != "gru")
        name += f", {settings.devices} device" * (settings.devices != "auto")
        table.append(
            {
                "name": f"training: {name}",
                "value": got["value"],
                "unit": "seller steps/s",
                "compile_seconds": got["compile_seconds"],
                "share": got["flops"] / peak,
                "note": f"{got['flops'] / 1e9:.0f} GFLOP/s, {100 * got['flops'] / peak:.0f} % of the matmul peak",
            }
        )
    peak = max(peak, matmul_peak())
    table.append(
        {"name": "float32 matmul peak of this run", "value": peak / 1e9, "unit": "GFLOP/s", "note": "2048 × 2048"}
    )
    return table


def block_rows(repeats: int = 3) -> list[dict[str, Any]]:
    """Gradient blocks: how many rows of a minibatch go through time together."""
    table = []
    for num_envs, hidden in ((64, 64), (256, 64), (256, 128)):
        for block in (8, 16, 32, 64, 1024):
            settings = LearnerSettings(num_envs=num_envs, hidden_size=hidden, rows_per_block=block)
            got = measure(settings, repeats, seconds=0.8)
            table.append(
                {
                    "name": f"blocks: {num_envs} environments, hidden {hidden}, {block} rows",
                    "value": got["value"],
                    "unit": "seller steps/s",
                    "compile_seconds": got["compile_seconds"],
                    "note": "",
                }
            )
    return table


def _plain_gru(params: Any, inputs: jax.Array, hidden: jax.Array, first: jax.Array) -> jax.Array:
    from marl_pricing.learning.recurrent import gru_step

    def step(hidden: jax.Array, at: Any):
        hidden = gru_step(params, at[0], jnp.where(at[1][:, None], 0.0, hidden))
        return hidden, hidden

    return jax.lax.scan(step, hidden, (inputs, first))[1]


def _squares(f: Any, hidden: jax.Array, first: jax.Array, params: Any, inputs: jax.Array) -> jax.Array:
    return (f(params, inputs, hidden, first) ** 2).sum()


def cell_rows(repeats: int = 15) -> list[dict[str, Any]]:
    """The GRU's gradient by hand against the one of `lax.scan`, in the same run."""
    from marl_pricing.learning.recurrent import CellParams, gru_sequence

    table = []
    for size, batch in ((64, 24), (128, 24)):
        key = jax.random.key(0)
        params = CellParams(
            0.1 * jax.random.normal(key, (size, 3 * size)),
            0.1 * jax.random.normal(key, (size, 3 * size)),
            jnp.zeros((3 * size,)),
            jnp.zeros((size,)),
        )
        inputs = jax.random.normal(key, (128, batch, size))
        first = jax.random.bernoulli(key, 0.02, (128, batch))
        hidden = jnp.zeros((batch, size))
        times: dict[str, list[float]] = {"by hand": [], "lax.scan": []}
        functions = {
            name: jax.jit(jax.grad(partial(_squares, f, hidden, first), argnums=(0, 1)))
            for name, f in (("by hand", gru_sequence), ("lax.scan", _plain_gru))
        }
        for number in range(repeats + 1):
            for name, function in functions.items():
                begin = time.perf_counter()
                jax.block_until_ready(function(params, inputs))
                if number:
                    times[name].append(time.perf_counter() - begin)
        ratio = median(b / a for a, b in zip(times["by hand"], times["lax.scan"], strict=True))
        table.append(
            {
                "name": f"GRU gradient by hand, hidden {size}, {batch} rows",
                "value": ratio,
                "unit": "times as fast as lax.scan's",
                "note": f"{1e3 * median(times['by hand']):.1f} ms against {1e3 * median(times['lax.scan']):.1f} ms",
            }
        )
    return table


def min_gru_rows(repeats: int = 15) -> list[dict[str, Any]]:
    """A minGRU's gradient beside the GRU's; by steps with the gradient by hand, as it is, and by its alternatives."""
    from marl_pricing.learning import min_gru
    from marl_pricing.learning.recurrent import CellParams, cell_sequence, cell_step

    def autodiff(params: Any, inputs: jax.Array, hidden: jax.Array, first: jax.Array) -> jax.Array:
        def step(hidden: jax.Array, at: Any):
            hidden = cell_step("mingru", params, at[0], jnp.where(at[1][:, None], 0.0, hidden))
            return hidden, hidden

        return jax.lax.scan(step, hidden, (inputs, first))[1]

    def by_pairs(params: Any, inputs: jax.Array, hidden: jax.Array, first: jax.Array) -> jax.Array:
        update, new = jnp.split(inputs @ params.kernel_in + params.bias, 2, -1)
        return min_gru.hiddens_by_pairs(min_gru.Inputs(update, new, hidden, first))

    ways = {
        "GRU": partial(cell_sequence, "gru"),
        "minGRU": partial(cell_sequence, "mingru"),
        "autodiff": autodiff,
        "by pairs": by_pairs,
    }
    table, rows = [], 16
    for size in (64, 128):
        key = jax.random.key(0)
        wide = 0.1 * jax.random.normal(key, (size, 3 * size))
        given = {
            name: CellParams(wide, wide, jnp.zeros((3 * size,)), jnp.zeros((size,)))
            if name == "GRU"
            else CellParams(wide[:, : 2 * size], None, jnp.zeros((2 * size,)), None)
            for name in ways
        }
        inputs = jax.random.normal(key, (128, rows, size))
        first = jax.random.bernoulli(key, 0.02, (128, rows))
        hidden = jnp.zeros((rows, size))
        functions = {
            name: jax.jit(jax.grad(partial(_squares, way, hidden, first), argnums=(0, 1))) for name, way in ways.items()
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(repeats + 1):
            for name, function in functions.items():
                begin = time.perf_counter()
                jax.block_until_ready(function(given[name], inputs))
                if number:
                    times[name].append(time.perf_counter() - begin)
        for name in ("GRU", "autodiff", "by pairs"):
            ratios = [b / a for a, b in zip(times["minGRU"], times[name], strict=True)]
            table.append(
                {
                    "name": f"minGRU gradient by hand, hidden {size}, {rows} rows",
                    "value": median(ratios),
                    "unit": f"times as fast as {'the GRU' if name == 'GRU' else f'its own, {name}'}",
                    "note": f"{1e3 * median(times['minGRU']):.1f} ms against {1e3 * median(times[name]):.1f} ms",
                }
            )
    return table


def product_rows(repeats: int = 15) -> list[dict[str, Any]]:
    """The weights' gradient of a product in the form that `learning/products.py` takes against autodiff's."""
    from marl_pricing.learning.products import product

    def gradients(multiply: Any, inputs: jax.Array, grads: jax.Array, kernel: jax.Array) -> jax.Array:
        # Several in one program, each of other numbers: a call's overhead is longer than a small product.
        def one(total: jax.Array, scale: jax.Array) -> tuple[jax.Array, None]:
            back = jax.vjp(partial(multiply, inputs), kernel)[1]
            return total + back(grads + scale)[0], None

        return jax.lax.scan(one, jnp.zeros_like(kernel), jnp.arange(20.0))[0]

    table = []
    for inputs_size, outputs_size in ((9, 64), (64, 64), (128, 128)):
        key = jax.random.key(0)
        inputs = jax.random.normal(key, (128, 12, inputs_size))
        grads = jax.random.normal(key, (128, 12, outputs_size))
        kernel = jnp.zeros((inputs_size, outputs_size))
        ways = {
            name: jax.jit(partial(gradients, way)) for name, way in (("by hand", product), ("autodiff", jnp.matmul))
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(repeats + 1):
            for name, way in ways.items():
                begin = time.perf_counter()
                jax.block_until_ready(way(inputs, grads, kernel))
                if number:
                    times[name].append(time.perf_counter() - begin)
        table.append(
            {
                "name": f"weights' gradient by hand, {inputs_size} × {outputs_size}, 1,536 rows",
                "value": median(b / a for a, b in zip(times["by hand"], times["autodiff"], strict=True)),
                "unit": "times as fast as autodiff's",
                "note": f"{50 * median(times['by hand']):.2f} ms against {50 * median(times['autodiff']):.2f} ms",
            }
        )
    return table
