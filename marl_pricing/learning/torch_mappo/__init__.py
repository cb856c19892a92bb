"""The learner's twin in PyTorch: the same rollouts and targets in JAX, the gradient steps in torch.

Nothing here is imported unless it is asked for: the rest of the package works without torch.
"""

try:
    import torch as _  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError("torch is not installed: pip install 'marl-pricing[torch]'", name="torch") from None
