"""Which goal a participant gets: at random, and every goal about as often as any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b


def draw(pools: Mapping[str, Sequence[int]], seed: int, number: int) -> tuple[str, int]:
    """The mode and the goal of a participant.

    Modes are drawn in blocks that have each mode once, goals within a mode likewise (permuted blocks: Matts and Lachin
    1988), so that at any time none is ahead of another by more than one. People and agents who are numbered apart and
    share a seed come to the same sequence: the two classes differ in who they are and not in what they were to do.

    Args:
        pools: goals by mode, none of them empty.
        seed: of the run.
        number: of the participant among those of the class, from 0.
    """
    modes = sorted(pools)
    mode = modes[_place(modes, seed, "modes", number)]
    before = number // len(modes)  # participants of this mode: one of every block that is over
    goals = sorted(pools[mode])
    return mode, goals[_place(goals, seed, mode, before)]


def _place(names: Sequence[object], seed: int, what: str, number: int) -> int:
    """Of the `number`-th draw: by a hash, so that it is the same everywhere and for ever."""
    block, at = divmod(number, len(names))

    def key(place: int) -> bytes:
        return blake2b(f"{seed}\n{what}\n{block}\n{place}".encode(), digest_size=16).digest()

    return sorted(range(len(names)), key=key)[at]
