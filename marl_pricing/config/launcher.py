"""Where the groups of a study are computed: here, on a Ray cluster, or by commands that a batch system runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from marl_pricing.config.errors import Settings, validate


class Local(Settings):
    """In this process, group after group.

    `store` is a folder, or a URL of fsspec, that rows are kept in beside the study's own folder.
    """

    kind: Literal["local"] = "local"
    store: str | None = None


class Ray(Settings):
    """As tasks of a Ray cluster that is there already. See docs/scale.md.

    Attributes:
        address: `auto` for the cluster that this machine is part of, or HOST:PORT of its head.
        cpus, gpus: what a group takes of its machine; without GPUs it is computed on processors.
        retries: how often a group is begun anew whose process or machine died.
    """

    kind: Literal["ray"] = "ray"
    address: Annotated[str, Field(min_length=1)] = "auto"
    cpus: Annotated[int, Field(ge=1, le=100_000)] = 1
    gpus: Annotated[int, Field(ge=0, le=1000)] = 0
    retries: Annotated[int, Field(ge=0, le=1000)] = 3
    store: str | None = None


class Commands(Settings):
    """By commands that are printed, one a group; with `group`, such a command: that group alone is computed."""

    kind: Literal["commands"] = "commands"
    group: Annotated[int, Field(ge=0)] | None = None
    store: str | None = None


Launcher = Annotated[Local | Ray | Commands, Field(discriminator="kind")]


class _Whole(Settings):
    launcher: Launcher


def read_launcher(data: Mapping[str, Any]) -> Local | Ray | Commands:
    """The launcher's settings, typed.

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted.
    """
    return validate(_Whole, {"launcher": data}).launcher
