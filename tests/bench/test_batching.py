"""One policy for several workers: the answers are those that each would get alone."""

from __future__ import annotations

import dataclasses
import os
import queue
import signal
import threading
import time

import numpy as np
import pytest

from bench.batching import Counter, Desk, _Asked, answers, cannot_batch
from bench.cli import main
from bench.desk import DeskLine, DeskLost, Question
from bench.errors import UsageError
from bench.folder import RunFolder
from bench.run import run
from bench.variants import make_variants
from envs.types import Observation

CLOCKS = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished")


def facts(store) -> list[dict]:
    return [{k: v for k, v in r.to_json().items() if k not in CLOCKS}
            for r in sorted(store.records(), key=lambda r: r.key)]


def seen(number: float) -> Observation:
    return Observation({}, np.full(8, number, np.float32), "lift")


class Noisy:
    """Adds noise of the episode and the decision to what it sees; refuses to see 13."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def act_keyed(self, observations, decisions) -> np.ndarray:
        self.batches.append(len(observations))
        if any(o.state[0] == 13 for o in observations):
            raise ValueError("thirteen")
        return np.stack([o.state[:7] + np.random.default_rng([*key, number]).normal(size=(1, 7))
                         for o, (key, number) in zip(observations, decisions, strict=True)])


def test_an_answer_depends_on_its_own_episode_and_not_on_its_neighbours():
    questions = [Question((key,), number, seen(key)) for key in range(3) for number in range(2)]
    alone = [answers(Noisy(), [q])[0] for q in questions]
    for order in ([0, 1, 2, 3, 4, 5], [5, 2, 0], [3, 3]):
        together = answers(Noisy(), [questions[i] for i in order])
        assert all(np.array_equal(a, alone[i]) for a, i in zip(together, order, strict=True))


def test_one_that_raises_costs_no_other_its_answer():
    policy = Noisy()
    first, bad, last = answers(policy, [Question((1,), 0, seen(n)) for n in (1, 13, 2)])
    assert isinstance(bad, ValueError) and first[0, 0] != last[0, 0] and policy.batches == [3, 1, 1, 1]


@pytest.mark.parametrize(("lines", "asked", "limit", "taken", "waits"), [
    (2, 2, 8, 2, False), (3, 3, 2, 2, False), (3, 1, 8, 1, True), (1, 1, 8, 1, False),
])
def test_the_first_waits_for_company_only_while_some_may_come_and_never_longer_than_the_bound(
        lines, asked, limit, taken, waits):
    counter = Counter()
    counter.lines = lines
    for number in range(asked):
        counter.asked.put(_Asked(None, number, "act", None))
    began = time.perf_counter()
    assert len(counter.next(limit, 0.2)) == taken
    assert (time.perf_counter() - began >= 0.2) == waits


def test_a_batch_is_what_came_within_the_bound():
    counter = Counter()
    counter.lines = 2
    threading.Timer(0.05, lambda: counter.asked.put(_Asked(None, 1, "act", None))).start()
    counter.asked.put(_Asked(None, 0, "act", None))
    assert [asked.number for asked in counter.next(8, 30.0)] == [0, 1]
    with pytest.raises(queue.Empty):
        counter.asked.get_nowait()


def test_results_do_not_depend_on_who_shares_the_policy(vla_spec, open_store):
    spec = dataclasses.replace(vla_spec, variants=make_variants("toy-scripted", ["aa"]), trials=4)
    found = []
    for workers, batch in ((1, 1), (3, 3), (3, 2)):
        with open_store(dataclasses.replace(spec, batch=batch), f"by{workers}-{batch}") as store:
            assert run(spec if batch == 1 else dataclasses.replace(spec, batch=batch), store, shown=False,
                       workers=workers) == set()
            found.append(facts(store))
    assert found[0] == found[1] == found[2]


def test_a_quantized_network_is_prepared_once_and_audited(vla_spec, open_store):
    spec = dataclasses.replace(vla_spec, batch=2)
    with open_store(spec) as store:
        assert run(spec, store, shown=False, workers=2) == set()
        assert all(store.folder.audit(v.variant_id).is_file() for v in spec.variants)
        assert all(r.outcome != "error" for r in store.records())


def test_a_policy_that_draws_noise_must_take_that_of_each_episode():
    assert cannot_batch("pocket-oft") is None and cannot_batch("pocket-flow") is None
    assert cannot_batch("toy-scripted") is None


def test_workers_hear_that_their_desk_is_gone(scripted_spec, tmp_path):
    with Desk(dataclasses.replace(scripted_spec, batch=2), RunFolder(tmp_path)) as desk:
        line = DeskLine(desk.address)
        (variant,) = scripted_spec.variants
        told, new, audit = line.ask("prepare", variant)
        assert (told["name"], new, audit) == ("toy-scripted", True, None)
        with pytest.raises(UsageError):
            line.ask("prepare", dataclasses.replace(variant, policy="nobody"))
        os.kill(desk._process.pid, signal.SIGKILL)
        with pytest.raises(DeskLost):
            line.ask("prepare", variant)


@pytest.mark.parametrize(("options", "words"), [
    (["--batch", "2", "--runner", "ray"], "legal is a batch of 1"), (["--batch", "-1"], "legal is a batch of 1"),
    (["--policy-device", "cuda:77", "--policy", "toy-vla", "--method", "fp"], "is none of this machine's"),
    (["--policy-device", "cuda:77", "--policy", "toy-scripted", "--method", "fp"], "runs on the CPU only"),
])
def test_what_cannot_be_batched_or_placed_is_refused(capsys, tmp_path, options, words):
    assert main(["bench", "--suite", "toy", "--quiet", "--no-doctor", "--trials", "1", "--runs-dir", str(tmp_path),
                 *options]) == 2
    assert words in capsys.readouterr().err
