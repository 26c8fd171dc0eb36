from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.trials.compare import compare_trials
from reports.trials.read import COLUMNS, TrialsError, read_trials
from reports.trials.unpaired import difference_interval, difference_p, worse_p
from reports.trials.write import import_trials

PUBLISHED = Path(__file__).parents[3] / "docs" / "published_trials.csv"
HEAD = ",".join(COLUMNS)


def written(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    path = tmp_path / "trials.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def many(method: str, successes: int, n: int, task: str = "lift") -> list[str]:
    return [f"{task},{method},,{i},{int(i < successes)},{4 + i}," for i in range(n)]


def test_the_published_table_gives_its_counts_and_no_verdict(tmp_path):
    fp, qvla = compare_trials(read_trials(PUBLISHED), "fp", 2.0, paired=False)
    assert list(fp.per_task.values()) == [(8, 10), (7, 10), (4, 10)]
    assert list(qvla.per_task.values()) == [(8, 10), (6, 10), (5, 10)]
    assert (fp.successes, qvla.successes, qvla.n) == (19, 19, 30)
    assert qvla.against.difference_points == 0 and qvla.against.verdict == "undecided"
    low, high = qvla.against.interval_points
    # Thirty trials each leave more than twenty points open to either side.
    assert low < -20 and high > 20
    text = import_trials(PUBLISHED, tmp_path / "out")
    assert json.loads(text.splitlines()[-1])["methods"][1]["successes"] == 19
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"trials.csv", "report.md", "report.html", "report.csv",
                                                              "summary.json"}
    assert "63.3" in (tmp_path / "out" / "report.md").read_text()


def test_newcombes_interval_is_that_of_his_table():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/10.
    assert difference_interval((48, 56), (80, 70)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert difference_interval((3, 9), (10, 10)) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert difference_interval((0, 10), (10, 10)) == pytest.approx((0.6075, 1.0000), abs=5e-5)


def test_fishers_p_is_that_of_the_tea_tasting():
    assert difference_p((1, 3), (4, 4)) == pytest.approx(0.4857, abs=1e-4)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
       st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_p_of_being_worse_agrees_with_the_interval(one, other):
    successes, n = (one[0], other[0]), (one[1], other[1])
    low = difference_interval(successes, n, 0.9)[0]
    assert (worse_p(successes, n, 0.1) < 0.05) == (low > -0.1)


def test_many_trials_show_what_few_do_not(tmp_path):
    few = written(tmp_path, *many("fp", 9, 10), *many("rtn", 3, 10))
    assert compare_trials(read_trials(few), "fp", 2.0, False)[1].against.verdict == "worse"
    equal = written(tmp_path, *many("fp", 950, 1000), *many("rtn", 950, 1000))
    assert compare_trials(read_trials(equal), "fp", 5.0, False)[1].against.verdict == "non-inferior"


def test_pairs_are_compared_as_pairs_only_on_request(tmp_path):
    path = written(tmp_path, *many("fp", 9, 10), *many("rtn", 3, 10))
    alone, paired = (compare_trials(read_trials(path), "fp", 2.0, p)[1].against for p in (False, True))
    assert paired.different_p == pytest.approx(2 * 0.5**6) and alone.different_p == pytest.approx(0.0198, abs=1e-4)
    assert [paired.difference_points, alone.difference_points] == pytest.approx([-60, -60])


def test_several_methods_are_adjusted_together(tmp_path):
    path = written(tmp_path, *many("fp", 9, 10), *many("a", 3, 10), *many("b", 9, 10))
    assert compare_trials(read_trials(path), "fp", 2.0, False)[1].against.different_p == pytest.approx(0.0395, abs=1e-4)


def test_seconds_are_those_of_timed_successes(tmp_path):
    path = written(tmp_path, "lift,fp,,1,yes,10,", "lift,fp,,2,no,60,", "lift,fp,,3,TRUE,20,", "lift,fp,,4,true,,")
    assert compare_trials(read_trials(path), "fp", 2.0, False)[0].seconds == (15, 2)


def test_a_task_stands_in_its_own_column_whatever_the_order_of_rows(tmp_path):
    path = written(tmp_path, *many("fp", 1, 2, "a"), *many("fp", 2, 3, "b"), *many("x", 3, 3, "b"),
                   *many("x", 0, 2, "a"))
    import_trials(path, tmp_path / "out")
    assert "| x | – | 0/2 | 3/3 |" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(("rows", "head", "words"), [
    ([], HEAD, "no trial below"), (["a,fp,,1,1,,"], HEAD.replace("note", "notes"), r"missing: \['note'\]"),
    (["a,fp,,1,maybe,,"], HEAD, "line 2 has success 'maybe', legal are 1, true"),
    (["a,fp,,1,1,,", "a,fp,,1,0,,"], HEAD, "line 3 repeats .* of line 2"), (["a,fp,,1,1,-3,"], HEAD, "seconds '-3'"),
    (["a,fp,,1,1,nan,"], HEAD, "seconds 'nan'"), (["a,fp,,,1,,"], HEAD, "has no trial"),
    (["a,fp,,1,1"], HEAD, "another number of cells"), (["a,fp,,1,1,,x,y"], HEAD, "another number of cells"),
])
def test_what_is_wrong_is_named_with_its_line(tmp_path, rows, head, words):
    with pytest.raises(TrialsError, match=words):
        read_trials(written(tmp_path, *rows, head=head))


@pytest.mark.parametrize(("rows", "paired", "words"), [
    (many("fpp", 1, 2), False, "did you mean 'fpp'"), (["a,fp,x,1,1,,", "a,fp,y,1,1,,"], False, "several settings"),
    ([*many("fp", 1, 2), *many("a", 1, 2, "other")], False, "different tasks"),
    ([*many("fp", 1, 3), *many("a", 1, 2)], True, "cannot be paired: task 'lift' trial '2'"),
])
def test_what_cannot_be_compared_is_refused(tmp_path, rows, paired, words):
    with pytest.raises(TrialsError, match=words):
        compare_trials(read_trials(written(tmp_path, *rows)), "fp", 2.0, paired)
