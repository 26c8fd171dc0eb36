import csv
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reports.console import console_table
from reports.write import read_summary, write_reports


class Page(HTMLParser):
    """Fails on tags that do not nest; collects text, links and anchors."""

    VOID = {"meta", "br", "hr", "img", "link"}

    def __init__(self) -> None:
        super().__init__()
        self.open, self.words, self.links, self.anchors = [], [], [], set()

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.links += [named[name] for name in ("href", "src") if name in named]
        self.anchors.add(named.get("id"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read_page(folder: Path) -> Page:
    page = Page()
    page.feed((folder / "report.html").read_text())
    assert page.open == []
    return page


def test_every_file_is_written_and_writing_again_changes_nothing(run_folder):
    paths = write_reports(run_folder)
    assert [str(p.relative_to(run_folder)) for p in paths] == [
        "report.md", "report.csv", "report.tex", "report.html", "summary.json", "review.html", "plots/forest.svg",
        "plots/latency.svg", "plots/pareto.svg"]
    first = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in write_reports(run_folder)] == first


def test_the_page_nests_names_every_variant_and_needs_nothing_outside(run_folder):
    (run_folder / "videos").mkdir()
    (run_folder / "videos" / "libero_object-0-rtn4.mp4").write_bytes(b"")
    write_reports(run_folder)
    page = read_page(run_folder)
    text = " ".join(page.words)
    for name in ("full precision", "rtn:bits=4", "qvla", "sha256:abc", "0123abc", "Two <fast> cores", "oft"):
        assert name in text
    files = {link.partition("#")[0] for link in page.links if not link.startswith("#")}
    assert all((run_folder / file).is_file() for file in files) and "videos/libero_object-0-rtn4.mp4" in files
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.anchors


def test_text_from_a_run_cannot_become_markup(run_folder):
    write_reports(run_folder)
    assert "<object 0>" not in (run_folder / "report.html").read_text()
    markdown = (run_folder / "report.md").read_text()
    assert "\\<object 0\\> \\| and" in markdown


def test_markdown_rows_have_as_many_cells_as_headings(run_folder):
    write_reports(run_folder)
    lines = (run_folder / "report.md").read_text().replace("\\|", "").splitlines()
    for above, line in zip(lines, lines[1:], strict=False):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|")


def test_a_speed_that_was_not_measured_is_a_dash_with_a_footnote(run_folder):
    write_reports(run_folder)
    markdown = (run_folder / "report.md").read_text()
    assert "not measured: speed on cpu was not timed in this run" in markdown
    assert "×" not in markdown.partition("## Published")[0]


def test_a_measured_speed_is_shown(timed_folder):
    assert "1.31×" in console_table(timed_folder)


def test_the_columns_of_the_console_table_are_aligned(timed_folder):
    lines = console_table(timed_folder).splitlines()
    assert len({len(line) for line in lines[:5]}) == 1
    assert any(line.endswith("] not measured: no integer kernel") for line in lines)
    assert any("built-in assets" in line for line in lines)


@pytest.mark.parametrize("missing", ["episodes", "audits"])
def test_a_report_of_next_to_nothing_is_still_a_report(run_folder, missing):
    if missing == "episodes":
        (run_folder / "episodes.jsonl").unlink()
    else:
        for file in (run_folder / "audits").iterdir():
            file.unlink()
    write_reports(run_folder)
    read_page(run_folder)
    assert "nan" not in (run_folder / "report.md").read_text().lower().split()
    assert read_summary(run_folder)["complete"] is (missing == "audits")


def test_the_summary_holds_what_a_program_needs(timed_folder):
    write_reports(timed_folder)
    text = (timed_folder / "summary.json").read_text()
    content = read_summary(timed_folder)
    assert text.count("\n") == 1 and json.loads(text) == content
    assert content["complete"] is True and content["run"] == str(timed_folder) and content["protocol"] == "oft"
    rtn, qvla, fp = (content["variants"][v] for v in ("rtn4", "qvla", "fp00"))
    assert (rtn["successes"], rtn["n"], rtn["errors"], rtn["method"]) == (4, 6, 0, "rtn:bits=4")
    assert rtn["success_rate"] == pytest.approx(4 / 6)
    assert rtn["wilson95"] == pytest.approx([0.29999, 0.90323], abs=1e-5)
    assert (rtn["storage_bytes"], rtn["held_bytes"], rtn["percent_of_full"]) == (6_000_000, 12_000_000, 25.0)
    assert rtn["speedup"] == {"cpu": {"reason": "not measured: no integer kernel"}}
    assert qvla["speedup"] == {"cpu": {"median": 1.31, "low": 1.25, "high": 1.37}}
    assert fp["drift"] is None and rtn["drift"]["translation_mm"][1] == 2.0


def test_the_csv_keeps_every_digit_and_says_why_a_cell_is_empty(run_folder):
    write_reports(run_folder)
    with (run_folder / "report.csv").open(newline="") as file:
        rows = {row["variant_id"]: row for row in csv.DictReader(file)}
    assert float(rows["rtn4"]["average"]) == 62.5 and rows["rtn4"]["storage_bytes"] == "6000000"
    assert rows["rtn4"]["speedup_cpu"] == "" and "speedup_cpu: not measured" in rows["rtn4"]["not_measured"]


def test_errors_are_listed_with_their_reasons(run_folder, append, make_record):
    crash = make_record("qvla", 0, outcome="error", reason="the renderer <died>")
    crash["key"]["init_state"] = 7
    append(run_folder, crash)
    write_reports(run_folder)
    assert "the renderer <died>" in " ".join(read_page(run_folder).words)


def test_reports_import_neither_torch_nor_a_simulator_nor_our_other_packages():
    root = Path(__file__).resolve().parents[2]
    modules = [f"reports.{file.stem}" for file in sorted((root / "reports").glob("*.py")) if file.stem != "__init__"]
    banned = ("torch", "mujoco", "robosuite", "libero", "bench", "envs", "policies", "quantizers", "transformers")
    code = (f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
            f"print([name for name in {banned} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_deviates_from_the_published_protocol_is_said_in_the_report(run_folder):
    header = json.loads((run_folder / "header.json").read_text())
    header["protocol"]["deviations"] = ["crop_area: 0.9 in the protocol, 1.0 for policy 'pocket'"]
    (run_folder / "header.json").write_text(json.dumps(header))
    write_reports(run_folder)
    for name in ("report.md", "report.html"):
        text = (run_folder / name).read_text()
        assert "not figures of protocol" in text and "0.9 in the protocol, 1.0 for" in text
