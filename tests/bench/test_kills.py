"""SIGKILL at random moments, in real processes: the records must end as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import random
import time
from pathlib import Path

import pyarrow.parquet as pq

from bench.errors import StoreLocked
from bench.records import RunHeader, RunStore
from bench.run import run
from bench.spec import BenchSpec
from bench.variants import make_variants

KILLS = 50
CLOCKS = ("latencies_ms", "wall_s", "peak_rss_bytes", "recording_s", "finished")


def play(folder: Path, header: RunHeader) -> None:
    """What a child does: go on with the run."""
    with RunStore(folder, header) as store:
        run(header.spec, store, shown=False)


def content(folder: Path) -> list[dict]:
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    records = sorted((json.loads(line) for line in lines), key=lambda r: sorted(r["key"].items(), key=str))
    return [{k: v for k, v in record.items() if k not in CLOCKS} for record in records]


def test_fifty_kills_at_random_moments_change_no_record_and_leave_no_duplicate(scripted_spec, make_header, tmp_path):
    spec: BenchSpec = dataclasses.replace(scripted_spec, variants=make_variants("toy-scripted", ["aa"]), trials=2)
    header = make_header(spec)
    began = time.perf_counter()
    play(tmp_path / "whole", header)
    whole_s = time.perf_counter() - began
    expected = content(tmp_path / "whole")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.run", "torch", "policies.scripted", "envs.toy"])
    dice, finished, unfinished = random.Random(5), 0, 0
    for kill in range(KILLS):
        folder = tmp_path / f"killed{finished}"
        child = context.Process(target=play, args=(folder, header))
        child.start()
        while child.is_alive() and not (folder / ".lock").exists():
            time.sleep(0.001)
        child.join(dice.uniform(0, whole_s / 2))
        unfinished += child.is_alive()
        child.kill()
        child.join()
        lines = (folder / "episodes.jsonl").read_bytes().count(b"\n") if (folder / "episodes.jsonl").exists() else 0
        if lines < len(expected) and kill < KILLS - 1:
            continue
        play(folder, header)
        finished += 1
        assert content(folder) == expected
        for key in spec.episodes():
            traces = [pq.read_table(tmp_path / name / "traces" / key.variant_id / f"{key.pair}.parquet")
                      for name in ("whole", folder.name)]
            assert traces[0].equals(traces[1])
    assert unfinished >= KILLS / 2, "most kills must hit a process at work"


def test_a_runner_in_another_process_is_locked_out_and_a_killed_one_locks_nobody_out(scripted_spec, make_header,
                                                                                       tmp_path):
    header = make_header(dataclasses.replace(scripted_spec, trials=10))
    context = multiprocessing.get_context("forkserver")
    child = context.Process(target=play, args=(tmp_path / "run", header))
    child.start()
    refused = False
    while child.is_alive() and not refused:
        if (tmp_path / "run" / "episodes.jsonl").exists():
            try:
                RunStore(tmp_path / "run", header).close()
            except StoreLocked:
                refused = True
    assert refused
    child.kill()
    child.join()
    RunStore(tmp_path / "run", header).close()
