"""The learner's twin in PyTorch: the same rollouts and targets in JAX, the gradient steps in torch.

Nothing here is imported unless it is asked for: the rest of the package works without torch.
"""
