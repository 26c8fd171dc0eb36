from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import msgpack
import numpy as np
import pytest
import websockets.sync.client
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from bench.cli import main
from envs.toy import open_task
from envs.types import Observation
from policies.remote.facts import KEY
from policies.remote.message import encode
from policies.remote.wire import pack, unpack
from policies.toy_vla import ToyVLA

pytestmark = pytest.mark.filterwarnings(
    # openpi-client 0.1.2 predates what websockets 17.1 warns about.
    "ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")


def observation(init_state: int = 0) -> Observation:
    return open_task("toy", 0, 32, "none", privileged=False).reset(init_state, 0)


def asked(path: str, port: int, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Spoilt(ToyVLA):
    """Answers with NaN to a state of 1.0, raises at 2.0."""

    def act(self, observations) -> np.ndarray:
        if any(o.state[3] == 2 for o in observations):
            raise RuntimeError("the device is gone")
        chunks = super().act(observations)
        chunks[[o.state[3] == 1 for o in observations]] = np.nan
        return chunks


def spoilt(value: float, init_state: int = 0) -> dict:
    message = encode(observation(init_state), None)
    return {**message, "observation/state": np.r_[message["observation/state"][:3], value, np.zeros(4)]}


def test_openpi_s_own_client_connects_unchanged_and_gets_what_the_policy_decides(start):
    server = start()
    client = WebsocketClientPolicy("127.0.0.1", server.port)
    facts = client.get_server_metadata()[KEY]
    assert facts["policy"] == "toy-vla" and facts["method"] == "fp" and facts["version"]
    for init_state in range(3):
        answer = client.infer(encode(observation(init_state), None))
        assert np.array_equal(answer["actions"], ToyVLA().act([observation(init_state)])[0])
        assert answer["server_timing"]["infer_ms"] > 0 and answer["server_timing"]["batch_size"] == 1
    assert answer["server_timing"]["prev_total_ms"] > 0
    client._ws.close()


def test_pictures_of_another_size_are_fitted_to_the_policy_s(start):
    server = start()
    message = encode(open_task("toy", 0, 256, "none", privileged=False).reset(0, 0), 224)
    assert message["observation/image"].shape == (224, 224, 3)
    with websockets.sync.client.connect(server.url, compression=None) as client:
        client.recv()
        client.send(pack(message))
        got, wanted = unpack(client.recv())["actions"], ToyVLA().act([observation()])[0]
    assert got.shape == wanted.shape and np.abs(got - wanted).max() < 0.2


@pytest.mark.parametrize(("data", "reason"), [
    (b"\xc1nonsense", "not a MessagePack message"), ("text", "binary MessagePack message"),
    (msgpack.packb({"prompt": "lift"}), "lacks observation/image"),
    (pack(spoilt(np.nan)), "not a finite"), (pack(spoilt(1.0)), "56 of 56 values that are not finite"),
    (pack(spoilt(2.0)), "RuntimeError: the device is gone"),
    (pack({**spoilt(0.0), "qvla_bench/episode": {"noise_key": [-1], "decision": 0}}), "0 to 2**32"),
    (pack({**spoilt(0.0), "qvla_bench/episode": 3}), "must have noise_key"),
])
def test_a_bad_request_gets_a_reason_and_the_connection_lives_on(start, data, reason):
    server = start(instead=Spoilt())
    with websockets.sync.client.connect(server.url, compression=None) as client:
        client.recv()
        client.send(data)
        answer = client.recv()
        assert isinstance(answer, str) and reason in answer
        client.send(pack(spoilt(0.0)))
        assert unpack(client.recv())["actions"].shape == (8, 7)


def test_a_message_beyond_the_limit_ends_its_own_connection_alone(start):
    server = start(max_bytes=20_000)
    with websockets.sync.client.connect(server.url, compression=None) as other:
        other.recv()
        with websockets.sync.client.connect(server.url, compression=None) as client:
            client.recv()
            client.send(b"0" * 30_000)
            with pytest.raises(ConnectionClosedError, match="1009"):
                client.recv()
        other.send(pack(encode(observation(), None)))
        assert unpack(other.recv())["actions"].shape == (8, 7)


def test_requests_of_several_connections_are_answered_together_within_the_bound(start):
    server = start(max_wait_s=5.0)
    wanted = ToyVLA().act([observation(i) for i in range(4)])
    meet = threading.Barrier(4)

    def ask(init_state: int) -> dict:
        client = WebsocketClientPolicy("127.0.0.1", server.port)
        meet.wait(10)
        answer = client.infer(encode(observation(init_state), None))
        meet.wait(10)
        client._ws.close()
        return answer

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert [a["server_timing"]["batch_size"] for a in answers] == [4] * 4
    assert all(a["server_timing"]["queue_ms"] < 5000 for a in answers), "all have asked, so nobody waits for the bound"
    assert np.allclose([a["actions"] for a in answers], wanted, atol=1e-5)


def test_nobody_waits_longer_than_the_bound_for_a_silent_connection(start):
    server = start(max_wait_s=0.2)
    silent, asking = (WebsocketClientPolicy("127.0.0.1", server.port) for _ in range(2))
    timing = asking.infer(encode(observation(), None))["server_timing"]
    assert timing["batch_size"] == 1 and timing["queue_ms"] >= 150
    silent._ws.close()
    asking._ws.close()


def test_one_bad_request_of_a_batch_spoils_no_other(start):
    server = start(instead=Spoilt(), max_wait_s=5.0)
    with ExitStack() as stack:
        clients = [stack.enter_context(websockets.sync.client.connect(server.url, compression=None)) for _ in range(3)]
        for client in clients:
            client.recv()
        for client, value in zip(clients, (0.0, 2.0, 1.0), strict=True):
            client.send(pack(spoilt(value)))
        answers = [client.recv() for client in clients]
    assert unpack(answers[0])["actions"].shape == (8, 7)
    assert "device is gone" in answers[1] and "not finite" in answers[2]


def test_health_version_and_status(start):
    server = start(instead=Spoilt(), method="rtn:w8")
    assert asked("/healthz", server.port) == (200, "OK\n")
    version = json.loads(asked("/version", server.port)[1])[KEY]
    assert version["method"] == "rtn:w8" and version["config"]["method"] == "rtn" and version["version"]
    status = json.loads(asked("/status", server.port)[1])
    assert status["answered"] == 0 and status["infer_ms_p50"] is None
    with websockets.sync.client.connect(server.url, compression=None) as client:
        client.recv()
        for value in (0.0, 0.0, np.nan, 2.0):
            client.send(pack(spoilt(value)))
            client.recv()
        status = json.loads(asked("/status", server.port)[1])
        assert (status["answered"], status["refused"], status["connections"]) == (2, 2, 1)
        assert status["infer_ms_p95"] > 0 and status["failing"]
        assert asked("/healthz", server.port)[0] == 503
        client.send(pack(spoilt(0.0)))
        client.recv()
        assert asked("/healthz", server.port)[0] == 200


def test_a_token_is_asked_for_everywhere_but_for_health(start):
    server = start(token="secret")
    assert asked("/healthz", server.port)[0] == 200 and asked("/version", server.port)[0] == 401
    assert asked("/version", server.port, Authorization="Api-Key secret")[0] == 200
    for key in (None, "wrong", "sécret"):
        with pytest.raises(InvalidStatus, match="401"):
            WebsocketClientPolicy("127.0.0.1", server.port, api_key=key)
    client = WebsocketClientPolicy("127.0.0.1", server.port, api_key="secret")
    assert client.infer(encode(observation(), None))["actions"].shape == (8, 7)
    client._ws.close()


@pytest.mark.parametrize(("arguments", "reason"), [
    ([], "name the --policy"), (["--policy", "toy-vlu"], "did you mean 'toy-vla'"),
    (["--policy", "toy-scripted"], "simulator truth"), (["--policy", "toy-vla", "--method", "rtn qvla"], "one method"),
    (["--policy", "remote:ws://127.0.0.1:1"], "served already"), (["--policy", "toy-vla", "--port", "65536"], "port 0"),
    (["--policy", "toy-vla", "--device", "nowhere"], "cannot be put on"),
    (["--policy", "toy-vla", "--threads", "0"], "threads"),
])
def test_what_cannot_be_served_is_refused_before_anything_listens(arguments, reason, capsys):
    assert main(["serve", *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_a_port_that_is_taken_is_an_error_with_the_next_step(start, capsys):
    server = start()
    assert main(["serve", "--policy", "toy-vla", "--port", str(server.port)]) == 2
    assert "name another --host or --port" in capsys.readouterr().err
