"""Environments in processes that Gymnasium spawns, beside the same ones in this process."""

import gymnasium
import numpy as np

import marl_pricing  # noqa: F401

NAME = "MarlPricing/OneSeller-v0"

if __name__ == "__main__":
    apart = gymnasium.make_vec(NAME, 2, "async", vector_kwargs={"context": "spawn"})
    here = gymnasium.make_vec(NAME, 2, "sync")
    for own in (apart, here):
        own.action_space.seed(0)
    answers = [[own.reset(seed=5)[0], own.step(own.action_space.sample())[1]] for own in (apart, here)]
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)
    apart.close()
    print("the same")
