from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from reports.published.figures import SOURCES, published_table

ENTRIES = list(csv.DictReader((files("reports.published") / "success.csv").read_text(encoding="utf-8").splitlines()))


def test_every_row_has_a_source_that_is_named():
    assert {entry["source"] for entry in ENTRIES} == set(SOURCES)
    table = published_table()
    assert {row[0].note for row in table.rows} == {1, 2, 3} and "not comparable" in table.caption


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e['source']} {e['model']} {e['setting']} {e['method']}")
def test_an_average_is_that_of_its_suites(entry):
    suites = [float(entry[name]) for name in ("spatial", "object", "goal", "long") if entry[name]]
    assert len(suites) in (0, 4)
    if suites:
        assert float(entry["average"]) == pytest.approx(sum(suites) / 4, abs=0.06)
