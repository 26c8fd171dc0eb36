"""A Ray cluster of two nodes on this machine: equal results, a node that is killed, and a run that changes hands."""

from __future__ import annotations

import dataclasses
import time
import warnings

import pytest

from bench.command import header_of
from bench.dealing import Deal
from bench.errors import StoreMismatch
from bench.records import RunStore
from bench.run import outstanding_errors, run
from bench.spec import EpisodeKey
from bench.variants import make_variants

CLOCKS = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished")


def facts(store) -> list[dict]:
    return [{k: v for k, v in r.to_json().items() if k not in CLOCKS}
            for r in sorted(store.records(), key=lambda r: r.key)]


def files(store) -> set[str]:
    return {str(p.relative_to(store.folder.root)) for folder in ("traces", "observations", "audits")
            for p in (store.folder.root / folder).rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one CPU each; yields what can kill the second."""
    pytest.importorskip("ray", reason="Ray is not installed (make install RUNNER=ray)")
    import ray
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        # Ray leaves log files and processes of its own to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        # Ray's workers are nice to whatever else runs; the test is not to wait for that.
        cluster = Cluster(initialize_head=True, head_node_args={
            "num_cpus": 1, "include_dashboard": False, "_system_config": {"worker_niceness": 0}})
        second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        yield lambda: cluster.remove_node(second, allow_graceful=False)
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def spec(vla_spec):
    return dataclasses.replace(vla_spec, variants=make_variants("toy-vla", ["aa", "rtn"]), trials=4)


class Killed(BaseException):
    pass


def at_record(store: RunStore, act) -> None:
    """Have `act(records so far)` called after each record."""
    append = store.append

    def appending(record) -> None:
        append(record)
        act(len(store.keys()))

    store.append = appending


def kill_once_both_play(store: RunStore, kill) -> None:
    """Take records slowly until both nodes have answered, then kill one at the next record."""
    note, nodes = store.note_nodes, []
    store.note_nodes = lambda found: (note(found), nodes.append(len(found)))

    def look(count: int) -> None:
        if 2 in nodes:
            kill()
            nodes.clear()
        elif nodes:
            time.sleep(0.3)

    at_record(store, look)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_run_survives_a_killed_node_and_changes_hands_without_a_trace_of_it(cluster, spec, tmp_path, capsys):
    header = header_of(spec)
    with RunStore(tmp_path / "here", header) as store:
        assert run(spec, store, shown=False) == set()
        expected, written = facts(store), files(store)

    def stop_after_five(count: int) -> None:
        if count == 5:
            raise Killed

    with RunStore(tmp_path / "there", header) as store:
        at_record(store, stop_after_five)
        with pytest.raises(Killed):
            run(spec, store, shown=False, workers=2)
        assert len(store.keys()) == 5
    with RunStore(tmp_path / "there", header) as store:
        kill_once_both_play(store, cluster)
        assert run(spec, store, shown=False, runner="ray") == set()
        assert outstanding_errors(store) == []
        assert facts(store) == expected and files(store) == written
        assert len(store.folder.episodes.read_bytes().splitlines()) == len(expected) == 24
    said = capsys.readouterr().err
    assert said.count(" plays (") == 2 and "is lost" in said
    other = dataclasses.replace(header, code={"bench": "another"})
    with RunStore(tmp_path / "other", other) as store, pytest.raises(StoreMismatch, match="node .* code"):
        run(spec, store, shown=False, runner="ray")


def test_a_task_stays_with_one_player_until_another_has_nothing_left():
    keys = [EpisodeKey("fp-0", "toy", task, trial, 0) for task in (0, 1) for trial in range(3)]
    deal = Deal(keys, 2)
    mine = [deal.next(0) for _ in range(3)]
    assert {k.task for k in mine} == {0} and len(deal) == 3
    stolen = deal.next(0)
    assert stolen.task == 1
    deal.again(stolen)
    assert len(deal) == 3 and stolen in [deal.next(0), deal.next(1), deal.next(1)]
    assert deal.next(0) is None
