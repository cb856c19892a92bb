"""Goals, runs, assignments and the labelled log, in SQLite and in a real PostgreSQL."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scipy.stats import chisquare

from marl_pricing.config.errors import ConfigError
from marl_pricing.intake import IntakeError
from marl_pricing.serving.__main__ import main
from marl_pricing.serving.participants.drawing import draw
from marl_pricing.serving.participants.pool import read_goals
from marl_pricing.serving.participants.register import Goal, Register
from marl_pricing.serving.trial.servers import Server
from marl_pricing.shipped import shipped
from marl_pricing.traffic.logs import read_log
from tests.serving.asking import shop
from tests.serving.servers import PASSWORD, postgres_server

SHIPPED = shipped("examples") / "shop" / "goals.csv"
GOALS = [Goal("hotel", "cheap", "the cheapest", "booked"), Goal("hotel", "view", "a view", "booked")]
FLIGHT = Goal("airline", "é; 'now'", "a flight\nat once", "“booked”")
POOLS = {"hotel": [4, 7, 9], "airline": [5, 6]}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory) -> Iterator[Server]:
    with postgres_server(tmp_path_factory.mktemp("postgres") / "log") as own:
        yield own


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request, tmp_path: Path) -> Iterator[Callable[[], Register]]:
    """Opens the same register once more; it is empty at first."""
    made: list[Register] = []
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        url = f"postgresql://shop@{server.address}/shop"

    def again() -> Register:
        made.append(Register(tmp_path, url, PASSWORD if url else None))
        return made[-1]

    again()
    yield again
    if url is not None:
        with made[0]._engine.begin() as own:
            own.exec_driver_sql("drop table assignments, runs, goals")
    for own in made:
        own.close()


def test_modes_and_goals_never_run_ahead() -> None:
    drawn = [draw(POOLS, 3, number) for number in range(60)]
    for end in range(1, 61):
        modes = Counter(mode for mode, _ in drawn[:end])
        assert abs(modes["hotel"] - modes["airline"]) <= 1
        for mode, goals in POOLS.items():
            counts = [sum(goal == own for _, own in drawn[:end]) for goal in goals]
            assert max(counts) - min(counts) <= 1
            assert sum(counts) == modes[mode]
    assert [draw(POOLS, 3, number) for number in (59, 0)] == [drawn[59], drawn[0]]


def test_draws_are_even_over_seeds_and_do_not_hang_together() -> None:
    first = Counter(draw(POOLS, seed, 0)[1] for seed in range(3000))
    assert chisquare([first[4] / 2, first[7] / 2, first[9] / 2, first[5] / 3, first[6] / 3]).pvalue > 1e-3
    # Blocks of a seed: a goal that begins one begins the next as often as any other.
    pairs = Counter((draw({"hotel": [1, 2]}, seed, 0)[1], draw({"hotel": [1, 2]}, seed, 2)[1]) for seed in range(3000))
    assert len(pairs) == 4 and chisquare(list(pairs.values())).pvalue > 1e-3


def test_goals_come_from_a_file_and_stay_as_they_are(opened) -> None:
    own = opened()
    with pytest.raises(ConfigError, match="there are none to draw from: accepted is `goals add="):
        own.assign("one", "human", 1)
    assert own.add(GOALS) == 2 and own.add([*GOALS, FLIGHT]) == 1
    assert opened().goals() == [*GOALS, FLIGHT]
    with pytest.raises(
        ConfigError, match="task_name='view': accepted is a new name: another goal of hotel has this one"
    ):
        own.add([Goal("airline", "later", "x", "y"), Goal("hotel", "view", "the sea", "booked")])
    assert own.goals() == [*GOALS, FLIGHT]  # nothing of a batch that is refused
    assert len(read_goals(SHIPPED)) == 6 and own.add(read_goals(SHIPPED)) == 6


def test_a_run_goes_on_where_it_was_with_the_goals_it_began_with(opened) -> None:
    own = opened()
    own.add(GOALS)
    people = own.assign("autumn", "human", 3, seed=5)
    own.add([FLIGHT])
    people += opened().assign("autumn", "human", 3)
    agents = own.assign("autumn", "agent", 6, seed=5)
    assert [one.number for one in people] == [one.number for one in agents] == [*range(6)]
    assert [one.goal for one in people] == [one.goal for one in agents]  # what they are to do is no difference
    assert Counter(one.goal for one in people) == dict.fromkeys(GOALS, 3)
    assert own.assignments("autumn") == people + agents
    assert len({one.experiment_id for one in people + agents}) == 12
    with pytest.raises(ConfigError, match="seed=6: accepted is 5, which run=autumn began with, or another run"):
        own.assign("autumn", "human", 1, seed=6)
    later = own.assign("winter", "human", 6)
    assert {one.goal for one in later} == {*GOALS, FLIGHT} and own.runs() == ["autumn", "winter"]
    with pytest.raises(ConfigError, match="run='autum': accepted is autumn, winter; did you mean autumn"):
        own.assignments("autum")


def test_several_assign_at_once(opened) -> None:
    opened().add(GOALS)

    def some(part: int) -> list[int]:
        return [one.number for _ in range(5) for one in opened().assign("busy", "agent", 2)]

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for part in pool.map(some, range(4)) for number in part]
    assert sorted(numbers) == [*range(40)]
    assert Counter(one.goal for one in opened().assignments("busy")) == dict.fromkeys(GOALS, 20)


def test_a_database_that_is_not_there_is_told_without_its_password(postgres: Server, tmp_path: Path) -> None:
    at = f"postgresql://shop:secret@{postgres.address}"
    for url, told in (
        (f"{at}/shop", r"password authentication failed for user \"shop\""),
        (f"postgresql://shop@{postgres.address}/shop", "password authentication failed"),
        ("postgresql://shop:secret@127.0.0.1:1/shop", "nobody answers there"),
        (at, "accepted is postgresql://user@host:5432/name"),
        (f"{at}/shop?sslmode=require", "accepted is postgresql://user@host:5432/name"),
        (f"mysql://shop:secret@{postgres.address}/shop", "accepted is postgresql://user@host:5432/name"),
        ("shop", "accepted is postgresql://user@host:5432/name"),
        ("postgresql://shop:secret@host:port/shop", "accepted is postgresql://user@host:5432/name"),
    ):
        with pytest.raises(ConfigError, match=told) as error:
            Register(tmp_path, url)
        assert str(error.value).startswith("database") and "secret" not in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mode,task_name,task_description\n", "there is no column task_def_of_done: accepted are mode, task_name,"),
        ("mode,task_name,task_description,task_def_of_done\n", "there is no goal"),
        ("mode,task_name,task_description,task_def_of_done\nhotel,a,b\n", "line 2: task_def_of_done: has to be given"),
        (
            "mode,task_name,task_description,task_def_of_done\nhotel,a,b,c\nship,a,b,c\n",
            "line 3: mode='ship': accepted is hotel or airline",
        ),
        (
            "mode,task_name,task_description,task_def_of_done\nhotel,a,b,c\nhotel,a,d,e\n",
            "line 3: task_name='a' is there twice for hotel",
        ),
        (
            "mode,task_name,task_description,task_def_of_done\nhotel,a,b,\xe9\x00\n",
            "accepted is text without the sign 0",
        ),
    ],
)
def test_a_file_of_goals_that_cannot_be_taken(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "goals.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(IntakeError) as error:
        read_goals(path)
    assert told in str(error.value) and str(path) in str(error.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IntakeError, match="accepted is a CSV in UTF-8"):
        read_goals(path)


def test_the_log_tells_whose_each_session_was(tmp_path: Path, capsys) -> None:
    """By the commands: goals, assign, what people and agents do in a shop, labelled, and the log's reader."""
    folder = tmp_path / "shop"
    told = [f"out={folder}", "run=autumn"]
    assert main(["goals", f"out={folder}", f"add={SHIPPED}"]) == 0
    for actor, count in (("human", 3), ("agent", 2)):
        assert main(["assign", *told, f"actor={actor}", f"count={count}", f"to={tmp_path / actor}.csv"]) == 0
    rows = {actor: list(csv.DictReader((tmp_path / f"{actor}.csv").open())) for actor in ("human", "agent")}
    people, agents = ([row["experiment_id"] for row in rows[actor]] for actor in ("human", "agent"))
    with shop(folder) as own:
        own.event("session_start", 0, "ann")  # before the page knows who it is
        own.event("search", 1, "ann", experimentId=people[0])
        own.event("add_item_to_cart", 2, "ann", product="hotel-twin", experimentId=people[0])
        own.event("search", 3, "ann again", experimentId=people[0])
        own.event("search", 4, "robot", experimentId=agents[1], metadata=None)
        own.event("search", 5, "somebody")
        own.event("search", 6, "stranger", experimentId="another experiment")
        own.event("search", 7, "both", experimentId=people[1])
        own.event("search", 8, "both", experimentId=agents[1])
        own.service.settle()
    capsys.readouterr()
    assert main(["labelled", *told, f"to={tmp_path / 'log.jsonl'}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'log.jsonl'}: 5 events",
        "  human: 2 sessions, 2 participants without any",
        "  agent: 1 sessions, 1 participants without any",
        "  left out: 1 sessions with several participants' names",
    ]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert {line["experimentId"] for line in lines} == {people[0], agents[1]}
    assert {line["metadata"]["task_name"] for line in lines if line["sessionId"] == "robot"} == {
        rows["agent"][1]["task_name"]
    }
    log = read_log(tmp_path / "log.jsonl")
    found = log.events.groupby("session", sort=False)["actor"].agg(["first", "size"])
    assert found.to_dict("index") == {
        "ann": {"first": "human", "size": 3},
        "ann again": {"first": "human", "size": 1},
        "robot": {"first": "agent", "size": 1},
    }


def test_wrong_input_is_named(tmp_path: Path, capsys) -> None:
    for arguments, told in (
        (["assign", "run=a b", "actor=human"], "run='a b': accepted is "),
        (["assign", "run=a", "actor=robot"], "actor='robot': accepted is 'human' or 'agent'"),
        (["assign", "run=a", "actor=human", "count=0"], "count=0: "),
        (["assign", "actor=human"], "run: "),
        (["goals", "password_file=x"], "password_file='x': accepted is null without database=postgresql://"),
        (
            ["goals", "password_file=x", "database=postgresql://u@h/d"],
            "password_file='x': cannot be read, No such file",
        ),
        (["goals", "add=nothing.csv"], "nothing.csv: "),
        (["labelled", "run=a", "to=x"], "accepted is a shop's folder, with events.sqlite"),
    ):
        assert main([*arguments, f"out={tmp_path}"]) == 2
        told_so = capsys.readouterr().err
        assert told in told_so and len(told_so.splitlines()) == 1, told_so
