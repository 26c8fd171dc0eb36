from __future__ import annotations

from reports.load import load_run
from reports.sources import source_of
from reports.table import results
from reports.write import write_reports


def test_every_figure_leads_to_the_file_that_it_was_computed_from(timed_folder):
    run = load_run(timed_folder)
    assert source_of(run, "rtn4", "memory_gb") == "audits/rtn4.json"
    assert source_of(run, "qvla", "speedup_cpu_low") == "timings/cpu.json"
    assert source_of(run, "rtn4", "regressed") == "review.html#variant=rtn4&verdict=regressed"
    assert source_of(run, "rtn4", "Object") == "review.html#variant=rtn4&task=libero_object"
    assert source_of(run, "rtn4", "n") == "review.html#variant=rtn4"


def test_what_is_gone_is_not_linked(run_folder):
    (run_folder / "audits" / "rtn4.json").unlink()
    run = load_run(run_folder)
    assert source_of(run, "rtn4", "memory_gb") is None and source_of(run, "rtn4", "timed_ms_cpu") is None


def test_only_cells_without_a_figure_have_no_link(timed_folder):
    run = load_run(timed_folder)
    table = results(run)
    shown = {(vid, name) for vid, row in table.frame.iterrows() for name in row.index if row[name] is not None}
    assert shown <= set(table.links)


def test_the_page_links_figures_and_tasks(timed_folder):
    write_reports(timed_folder)
    page = (timed_folder / "report.html").read_text()
    assert '<a href="timings/cpu.json">1.31×</a>' in page and '<a href="audits/rtn4.json">' in page
    assert '<a href="review.html#variant=rtn4&amp;task=libero_object-0">1/2</a>' in page
    assert '<section class="plot"><h2>Success per task</h2>' in page
