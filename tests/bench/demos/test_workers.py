"""Jobs in processes of their own."""

from __future__ import annotations

import pytest

from bench.demos.workers import spread


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_of_every_job_is_shown(workers, capsys):
    spread(iter, [[None, "first is done"], [None, "second is done"]], 2, workers, "ep")
    shown = capsys.readouterr().err
    assert "first is done" in shown and "second is done" in shown and "2/2" in shown


def test_the_error_of_a_job_is_the_error_of_all():
    with pytest.raises(TypeError, match="not iterable"):
        spread(iter, [[None], 3], 2, 1, "ep")


def test_nothing_to_do_is_done():
    spread(iter, [], 0, 2, "ep")
