"""Jobs in processes of their own."""

from __future__ import annotations

import os

import pytest

from bench.demos.workers import spread
from bench.errors import WorkerError


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_of_every_job_is_shown(workers, capsys):
    spread(iter, {"one": [None, "first is done"], "two": [None, "second is done"]}, len, workers, "ep")
    shown = capsys.readouterr().err
    assert "first is done" in shown and "second is done" in shown and "2/4" in shown


def test_an_error_names_its_job_and_lets_the_others_end(capsys):
    with pytest.raises(WorkerError, match=r"1 of 2 tasks .* bad: .*") as raised:
        spread(iter, {"bad": 3, "good": [None, "it is done"]}, lambda job: 1, 1, "ep")
    shown = capsys.readouterr().err
    assert "error in bad: " in shown and "it is done" in shown and "not iterable" in str(raised.value)


def test_a_worker_that_was_killed_is_told_of():
    with pytest.raises(WorkerError, match=r"exit code 3\), perhaps for want of memory"):
        spread(os._exit, {"killed": 3}, lambda job: 1, 1, "ep")


def test_nothing_to_do_is_done():
    spread(iter, {}, len, 2, "ep")
