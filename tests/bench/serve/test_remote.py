"""`remote:ws://HOST:PORT` in the harness: the records of the policy itself, whatever becomes of its server."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import serve

import policies.remote.policy
from bench.cli import main
from bench.command import stamped_protocol
from bench.errors import StoreMismatch, UsageError
from bench.records import RunStore
from bench.run import run
from bench.spec import BenchSpec
from bench.variants import build, make_variants
from envs.toy import open_task
from policies.remote.connection import TOKEN_VARIABLE, Connection, RemoteError
from policies.remote.policy import RemotePolicy
from policies.remote.wire import pack, unpack
from policies.toy_vla import ToyVLA

ROOT = Path(__file__).parents[3]
CLOCKS = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished", "trace")


def facts(store: RunStore, variant_id: str) -> list[dict]:
    """What an episode of the variant gave, but for its name and its clocks."""
    records = [r.to_json() for r in sorted(store.records(), key=lambda r: r.key) if r.key.variant_id == variant_id]
    return [{k: v for k, v in record.items() if k not in (*CLOCKS, "key", "drift")} for record in records]


def remote_spec(spec: BenchSpec, url: str, methods: tuple[str, ...] = ()) -> BenchSpec:
    return dataclasses.replace(spec, variants=make_variants(f"remote:{url}", methods))


@pytest.fixture
def impatient(monkeypatch) -> None:
    """A client that waits for little."""
    monkeypatch.setattr(policies.remote.policy, "Connection",
                        partial(Connection, answer_timeout_s=2.0, patience_s=0.2))


@contextmanager
def stock_server(answer: Callable[[dict], object], metadata: object = None) -> Iterator[str]:
    """What an openpi server is to a client; `answer(request)` gives the map or the text that it sends."""
    def handle(socket) -> None:
        socket.send(pack({} if metadata is None else metadata))
        for data in socket:
            reply = answer(unpack(data))
            socket.send(reply if isinstance(reply, str) else pack(reply))

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_served_policy_gives_the_records_of_the_policy_itself(vla_spec, open_store, start):
    vla_spec = dataclasses.replace(vla_spec, trials=1)
    with open_store(vla_spec, "local") as local:
        run(vla_spec, local, shown=False)
    served = start(method="rtn", max_batch=1)
    spec = remote_spec(vla_spec, served.url)
    with open_store(spec, "remote") as remote:
        assert run(spec, remote, shown=False) == set()
        assert facts(remote, spec.variants[0].variant_id) == facts(local, vla_spec.variants[1].variant_id)


def test_the_server_s_metadata_identify_the_variant_and_its_address_does_not(vla_spec, start):
    here, elsewhere, other = start(), start(), start(method="rtn")
    ids = [remote_spec(vla_spec, server.url).variants[0].variant_id for server in (here, elsewhere, other)]
    assert ids[0] == ids[1] != ids[2]
    (variant,) = make_variants(f"remote:{here.url}", [])
    assert variant.config["server"]["qvla_bench"]["policy"] == "toy-vla"
    policy, audit = build(variant)
    assert policy.image_size == 32 and audit is None
    policy.close()
    spec = remote_spec(vla_spec, here.url)
    assert BenchSpec.from_json(spec.to_json()) == spec
    assert "crop_area: 0.9 in the protocol, 1.0" in "; ".join(stamped_protocol(spec)["deviations"])


def test_a_server_that_was_killed_costs_episodes_that_the_same_command_repeats(vla_spec, open_store, start, impatient):
    whole = start()
    spec = remote_spec(vla_spec, whole.url)
    with open_store(spec, "whole") as store:
        run(spec, store, shown=False)
        expected = facts(store, spec.variants[0].variant_id)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "serve", "--policy", "toy-vla", "--port", "0", "--threads", "1"], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with process:
        try:
            killed = remote_spec(vla_spec, json.loads(process.stdout.readline())["url"])
            with open_store(killed, "killed") as store:
                append = store.append

                def kill_after_one(record) -> None:
                    append(record)
                    process.send_signal(signal.SIGKILL)
                    process.wait()

                store.append = kill_after_one
                began = time.perf_counter()
                assert len(run(killed, store, shown=False)) == 3
                assert time.perf_counter() - began < 10, "a server that is known to be dead is not waited for"
                outcomes = [(r.outcome, r.reason) for r in sorted(store.records(), key=lambda r: r.key)]
        finally:
            process.kill()
    assert [outcome for outcome, _ in outcomes] == ["success", "error", "error", "error"]
    assert all("no policy server answers at" in reason for _, reason in outcomes[1:])
    with open_store(spec, "killed") as store:
        assert run(spec, store, shown=False) == set()
        assert facts(store, spec.variants[0].variant_id) == expected


def test_a_connection_that_broke_is_opened_again_within_the_episode(start):
    first = start()
    policy = RemotePolicy(first.url)
    observation = open_task("toy", 0, 32, "none", privileged=False).reset(0, 0)
    before = policy.act([observation])
    first.__exit__()
    start(port=first.port)
    assert np.array_equal(policy.act([observation]), before)
    policy.close()


def test_another_server_at_the_same_address_is_not_taken_for_the_first(start, vla_spec, open_store, impatient):
    first = start()
    spec = remote_spec(vla_spec, first.url)
    policy = RemotePolicy(first.url)
    first.__exit__()
    start(method="rtn", port=first.port)
    with pytest.raises(RemoteError, match="not the one that was there before.*toy-vla rtn"):
        policy.act([open_task("toy", 0, 32, "none", privileged=False).reset(0, 0)])
    with pytest.raises(UsageError, match="serves toy-vla rtn now"):
        build(spec.variants[0])
    open_store(spec).close()
    with pytest.raises(StoreMismatch):
        open_store(remote_spec(vla_spec, first.url))


def test_a_stock_openpi_server_is_shown_what_its_own_client_shows(vla_spec, open_store):
    seen: list[dict] = []

    def answer(request: dict) -> dict:
        seen.append(request)
        return {"actions": np.tile([9.0, 0, 0, 0, 0, 0, -1], (10, 1)), "server_timing": {"infer_ms": 1.0}}

    with stock_server(answer, {"reset_pose": np.zeros(7)}) as url:
        spec = dataclasses.replace(remote_spec(vla_spec, url), protocol="openpi", tasks=(0,), trials=1)
        with open_store(spec) as store:
            run(spec, store, shown=False)
            (record,) = store.records()
    assert set(seen[0]) == {"observation/image", "observation/wrist_image", "observation/state", "prompt"}
    assert seen[0]["observation/image"].shape == (224, 224, 3) and seen[0]["prompt"] == "lift the red cube"
    assert seen[0]["observation/state"].shape == (8,)
    assert record.outcome == "failure" and record.steps == 80, "what leaves the limits is clipped, as LIBERO does"
    assert not [d for d in stamped_protocol(spec)["deviations"] if not d.startswith(("placements", "noise"))]


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda request: "Traceback (most recent call last):\n  File x\nValueError: no key\n", "ValueError: no key"),
    (lambda request: {"actions": np.zeros((8, 14))}, r"shape (H, 7)"),
    (lambda request: {"action": np.zeros((8, 7))}, "it has the keys ['action']"),
    (lambda request: {"actions": np.full((8, 7), np.nan)}, "not finite"),
    (lambda request: time.sleep(3) or {}, "did not answer within 2 s"),
])
def test_whatever_a_server_does_wrong_is_an_error_with_a_reason_and_never_a_failure(vla_spec, open_store, impatient,
                                                                                    answer, reason):
    with stock_server(answer) as url:
        spec = dataclasses.replace(remote_spec(vla_spec, url), tasks=(0,), trials=1)
        with open_store(spec) as store:
            assert len(run(spec, store, shown=False)) == 1
            (record,) = store.records()
    assert record.outcome == "error" and reason in record.reason


def test_a_message_that_is_too_long_for_the_server_is_said_to_be(start):
    policy = RemotePolicy(start(max_bytes=100).url)
    with pytest.raises(RemoteError, match="does not take messages of"):
        policy.act([open_task("toy", 0, 32, "none", privileged=False).reset(0, 0)])


@pytest.mark.parametrize(("url", "reason"), [
    ("ws://127.0.0.1:1", "no policy server answers at ws://127.0.0.1:1"), ("http://127.0.0.1:1", "legal is ws://HOST:PORT"),
    ("nonsense", "legal is ws://HOST:PORT"),
])
def test_a_server_that_is_not_there_is_said_before_any_rollout(url, reason, capsys, tmp_path):
    assert main(["bench", "--suite", "toy", "--policy", f"remote:{url}", "--runs-dir", str(tmp_path)]) == 2
    assert reason in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_token_comes_from_the_environment(start, monkeypatch):
    server = start(token="secret")
    with pytest.raises(UsageError, match=f"status 401; put its token.*{TOKEN_VARIABLE}"):
        make_variants(f"remote:{server.url}", [])
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    assert make_variants(f"remote:{server.url}", [])[0].baseline


def test_a_remote_policy_has_no_network_to_quantize(start):
    with pytest.raises(UsageError, match="no network to quantize"):
        make_variants(f"remote:{start().url}", ["rtn"])


def test_the_whole_command_names_what_was_served(start, tmp_path, capsys):
    server = start(method="rtn")
    asked = ["bench", "--suite", "toy", "--policy", f"remote:{server.url}", "--method", "aa", "--trials", "1",
             "--tasks", "0", "--runs-dir", str(tmp_path), "--run", "r", "--no-video", "--no-doctor", "--quiet"]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "as served" in out and "full precision" not in out.splitlines()[2]
    header = json.loads((tmp_path / "r" / "header.json").read_text())
    assert header["spec"]["variants"][0]["config"]["server"]["qvla_bench"]["method"] == "rtn"


def test_a_policy_that_draws_noise_draws_what_it_would_have_drawn_here(start, monkeypatch):
    """Two episodes at the same time, each on a connection of its own."""
    server = start(instead=Noisy(), sampling=True)
    observation = open_task("toy", 0, 32, "none", privileged=False).reset(0, 0)
    remote, local = [RemotePolicy(server.url) for _ in range(2)], [Noisy(), Noisy()]
    for key, (there, here) in enumerate(zip(remote, local, strict=True)):
        there.reset((key, 1, 2, 3))
        here.reset((key, 1, 2, 3))
    for _ in range(3):
        for there, here in zip(remote, local, strict=True):
            assert np.array_equal(there.act([observation]), here.act([observation]))
    remote[0].close()
    with pytest.raises(RemoteError, match="decision 3 of an episode.*begin the episode again"):
        remote[0].act([observation])
    for policy in remote:
        policy.close()


def test_a_policy_that_is_told_the_noise_answers_several_episodes_together_and_goes_on_with_any(start):
    policy = KeyedNoisy()
    server = start(instead=policy, sampling=True, max_wait_s=1.0, max_batch=2)
    observation = open_task("toy", 0, 32, "none", privileged=False).reset(0, 0)
    remote = [RemotePolicy(server.url) for _ in range(2)]
    for key, there in enumerate(remote):
        there.reset((key, 1, 2, 3))
    with ThreadPoolExecutor(2) as pool:
        for decision in range(2):
            together = list(pool.map(lambda there: there.act([observation])[0], remote))
            alone = policy.act_keyed([observation] * 2, [((key, 1, 2, 3), decision) for key in range(2)])
            assert np.array_equal(together, alone) and not np.array_equal(*together)
    assert 2 in policy.asked
    remote[0].close()
    assert np.array_equal(remote[0].act([observation]), policy.act_keyed([observation], [((0, 1, 2, 3), 2)]))
    for there in remote:
        there.close()


class Noisy(ToyVLA):
    """Adds noise that follows from the episode's key and the number of the decision."""

    def reset(self, noise_key) -> None:
        self._key, self._decision = tuple(noise_key), 0

    def act(self, observations) -> np.ndarray:
        self._decision += 1
        noise = np.random.default_rng([*self._key, self._decision]).uniform(-0.5, 0.5, (8, 7)).astype(np.float32)
        return np.clip(super().act(observations) + noise, -1, 1)


class KeyedNoisy(ToyVLA):
    """The same, told about each observation. It remembers how many it was asked about at once."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def act_keyed(self, observations, decisions) -> np.ndarray:
        self.asked.append(len(observations))
        noise = [np.random.default_rng([*key, decision + 1]).uniform(-0.5, 0.5, (8, 7)) for key, decision in decisions]
        return np.clip(self.act(observations) + np.array(noise, dtype=np.float32), -1, 1)
