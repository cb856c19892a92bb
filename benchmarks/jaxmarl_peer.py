"""JaxMARL's MAPPO-RNN as a process that is timed (see `peers`): its own script, without its callback to the host.

It runs in a Python that has JaxMARL's packages and none of ours.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path


def main() -> None:
    """Arguments: the folder of a checkout, environments, hidden units."""
    folder, num_envs, hidden = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.path.insert(0, str(folder))
    import jax

    sys.modules.setdefault("wandb", types.ModuleType("wandb"))  # it logs there from the callback alone
    script = folder / "baselines" / "MAPPO" / "mappo_rnn_mpe.py"
    text = script.read_text()
    call = "jax.experimental.io_callback(callback, None, metric)"
    if text.count(call) != 1:
        raise SystemExit(f"{script}: is not the script this was written for")
    module = types.ModuleType("mappo_rnn_mpe")
    sys.modules[module.__name__] = module  # flax looks its classes' modules up
    exec(compile(text.replace(call, "pass"), str(script), "exec", dont_inherit=True), module.__dict__)
    updates = 4
    config = {
        "LR": 2e-3, "NUM_ENVS": num_envs, "NUM_STEPS": 128, "TOTAL_TIMESTEPS": updates * num_envs * 128,
        "FC_DIM_SIZE": hidden, "GRU_HIDDEN_DIM": hidden, "UPDATE_EPOCHS": 4, "NUM_MINIBATCHES": 4, "GAMMA": 0.99,
        "GAE_LAMBDA": 0.95, "CLIP_EPS": 0.2, "SCALE_CLIP_EPS": False, "ENT_COEF": 0.01, "VF_COEF": 0.5,
        "MAX_GRAD_NORM": 0.5, "ACTIVATION": "tanh", "ENV_NAME": "MPE_simple_spread_v3", "ENV_KWARGS": {},
        "ANNEAL_LR": True,
    }  # fmt: skip
    train = jax.jit(module.make_train(config))
    jax.block_until_ready(train(jax.random.key(0)))
    print(json.dumps({"ready": True}), flush=True)
    for number, _ in enumerate(sys.stdin):
        begin, worked = time.perf_counter(), time.process_time()
        jax.block_until_ready(train(jax.random.key(number + 1)))
        told = {"seconds": time.perf_counter() - begin, "processor": time.process_time() - worked}
        print(json.dumps({name: value / updates for name, value in told.items()}), flush=True)


if __name__ == "__main__":
    main()
