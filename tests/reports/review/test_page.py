"""The review page as a reader meets it: opened as a file in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from reports.review.write import write_review

VARIANTS = {"fp-0": "fp", "rtn-1": "rtn:w4a4", "qvla-2": "qvla"}
STEPS = {"success": 41, "failure": 60}


def outcome_of(variant: str, group: int) -> str:
    """Full precision succeeds; of every five episodes the first is regressed by rtn, the second fails everywhere."""
    return "failure" if group % 5 == 1 or (variant == "rtn-1" and group % 5 == 0) else "success"


def trace(steps: int, aside_m: float) -> pd.DataFrame:
    at = np.arange(steps)
    frame = pd.DataFrame({"step": at, "decision": at // 8, **{f"a{i}": np.sin(at / (3 + i)) for i in range(7)}})
    return frame.assign(x=at * 1e-3, y=aside_m * np.maximum(at - 10, 0), z=1.0, g0=0.04, g1=-0.04, success=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """500 episodes of full precision and of two variants; 70 of each have a trace and 20 a film."""
    folder = tmp_path_factory.mktemp("runs") / "large"
    lines = []
    for place, variant in enumerate(VARIANTS):
        (folder / "traces" / variant).mkdir(parents=True)
        (folder / "frames" / variant).mkdir(parents=True)
        for outcome, steps in STEPS.items():
            trace(steps, place * 1e-3).to_parquet(folder / f"{outcome}.parquet")
            frames = np.zeros(((steps + 1) // 2, 64, 64, 3), np.uint8)
            for i, frame in enumerate(frames):
                frame[:, : 2 * i + 2] = 200
            iio.imwrite(folder / f"{outcome}.mp4", frames, plugin="FFMPEG", codec="libx264", fps=10)
        for group in range(500):
            outcome, task, init = outcome_of(variant, group), group // 50, group % 50
            name = f"libero_object-{task}-{init}-0"
            if init < 7:
                os.link(folder / f"{outcome}.parquet", folder / "traces" / variant / f"{name}.parquet")
            if init < 2:
                os.link(folder / f"{outcome}.mp4", folder / "frames" / variant / f"{name}.mp4")
            drift = {"first_divergence_step": 16, "divergence_threshold_mm": 5.0, "teacher_forced": None}
            lines.append({
                "key": {"variant_id": variant, "suite": "libero_object", "task": task, "init_state": init, "seed": 0},
                "task_name": f"task_{task}", "instruction": f"pick up </script> & <b>object {task}</b>",
                "outcome": outcome, "reason": None, "steps": STEPS[outcome], "latencies_ms": [1.0], "wall_s": 1.0,
                "drift": None if variant == "fp-0" else drift, "peak_rss_bytes": 1,
                "trace": f"traces/{variant}/{name}.parquet", "finished": "2026-01-02T03:05:00Z"})
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "header.json").write_text(json.dumps({
        "schema_version": 1, "spec": {}, "assets": {"kind": "builtin"}, "protocol": {"name": "oft"}, "machine": {},
        "packages": {}, "commit": None, "dirty": None, "created": "2026-01-02T03:04:05Z",
        "variants": [{"variant_id": v, "policy": "pocket", "method": m, "baseline": m == "fp"}
                     for v, m in VARIANTS.items()]}))
    write_review(folder)
    return folder


@pytest.fixture(scope="module")
def page(browser, folder):
    """The page in a browser, freshly opened."""
    shown = browser()
    shown.open((folder / "review.html").as_uri())
    wait_for_charts(shown)
    return shown


@pytest.fixture(autouse=True)
def start(request):
    """Every test begins with the first episode and no filter, and ends without an error in the page."""
    if "page" not in request.fixturenames:
        yield
        return
    page = request.getfixturevalue("page")
    page.evaluate("if (player.playing) player.toggle(); byId('reset').click(); document.activeElement.blur()")
    wait_for_charts(page)
    yield
    assert page.exceptions == []


def wait_for_charts(page) -> None:
    page.wait(lambda: page.evaluate("document.querySelectorAll('.chart').length === 10"), "ten charts")


def wait_for_films(page, count: int) -> None:
    # 2: the picture at the current time is there, so Chromium can decode the film.
    page.wait(lambda: page.evaluate("[...document.querySelectorAll('video')].filter(v => v.readyState >= 2).length")
              == count, f"{count} films")


def times(page) -> list[float]:
    return page.evaluate("[...document.querySelectorAll('video')].map(v => v.currentTime)")


def choose(page, select: str, value: str) -> None:
    page.evaluate(f"byId('{select}').value = {json.dumps(value)};"
                  f"byId('{select}').dispatchEvent(new Event('change', {{bubbles: true}}))")


def current(page) -> str:
    return page.evaluate("document.querySelector('#list [aria-current=true]').dataset.id")


def count(page) -> str:
    return page.evaluate("byId('count').textContent")


def test_five_hundred_episodes_are_painted_within_two_seconds(page, folder):
    # Computing time of the page's thread: the clock would also count what else the machine is doing.
    page.send("Performance.enable", timeDomain="threadTicks")
    page.open((folder / "review.html").as_uri())
    page.wait(lambda: page.evaluate("performance.getEntriesByName('first-contentful-paint').length"), "a first paint")
    metrics = {metric["name"]: metric["value"] for metric in page.send("Performance.getMetrics")["metrics"]}
    page.send("Performance.disable")
    assert metrics["TaskDuration"] < 2
    assert page.evaluate("document.querySelectorAll('#list li').length") == 500
    wait_for_charts(page)


def test_only_the_chosen_episode_is_loaded(page):
    loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert not any("-9-49-0" in name for name in loaded)
    assert page.evaluate("traceCache.size") <= 3


def test_text_of_a_run_cannot_become_markup(page):
    assert page.evaluate("byId('title').textContent") == "pick up </script> & <b>object 0</b>"


def test_filters_leave_what_they_name(page):
    assert count(page) == "500 of 500 episodes, 100 discordant"
    choose(page, "verdict", "regressed")
    assert count(page) == "100 of 500 episodes, 100 discordant"
    choose(page, "variant", "qvla-2")
    assert count(page) == "0 of 500 episodes, 0 discordant"
    choose(page, "verdict", "")
    choose(page, "outcome", "failure")
    choose(page, "task", "libero_object-3")
    assert count(page) == "10 of 500 episodes, 0 discordant"
    assert page.evaluate("document.querySelectorAll('.pane').length") == 2
    page.evaluate("byId('filmed').click()")
    assert count(page) == "1 of 500 episodes, 0 discordant"


def test_a_link_restores_filters_and_episode(page, folder):
    page.open((folder / "review.html").as_uri() + "#verdict=regressed&variant=rtn-1&episode=libero_object-2-5-0&step=7")
    wait_for_charts(page)
    assert count(page) == "100 of 500 episodes, 100 discordant" and current(page) == "libero_object-2-5-0"
    assert page.evaluate("player.step") == 7


def test_films_play_in_step_and_the_shorter_one_waits_at_its_end(page):
    wait_for_films(page, 3)
    page.press(" ")
    page.wait(lambda: min(times(page)) > 0.5, "all films to run")
    for _ in range(5):
        one, other, third = times(page)
        assert max(one, other, third) - min(one, other, third) < 0.2
        time.sleep(0.1)
    page.wait(lambda: not page.evaluate("player.playing"), "the end")
    assert page.evaluate("player.step") == 59
    # Within each film's last frame: full precision and qvla take 41 steps (21 frames), rtn 60 (30 frames).
    page.wait(lambda: times(page) == pytest.approx([2.05, 2.95, 2.05], abs=0.05), "the last pictures")


def test_every_film_shows_the_step_under_the_scrubber(page):
    wait_for_films(page, 3)
    page.evaluate("byId('scrubber').value = 31; byId('scrubber').dispatchEvent(new Event('input'))")
    # Frame 15 of a film with 10 frames a second shows control steps 30 and 31.
    page.wait(lambda: times(page) == pytest.approx([1.55] * 3, abs=0.01), "the films to seek")
    cursor = page.evaluate("document.querySelector('.cursor').getAttribute('x1')")
    assert float(cursor) == pytest.approx(1000 * 31 / 59)


def test_keys_step_and_jump(page):
    page.press("ArrowRight")
    page.press("ArrowRight", shift=True)
    assert page.evaluate("player.step") == 11
    page.press("ArrowLeft")
    assert page.evaluate("player.step") == 10
    page.press("d")
    assert page.evaluate("player.step") == 16
    page.press("End")
    assert page.evaluate("[player.step, byId('at').textContent]") == [59, "step 59 of 59"]
    page.press("ArrowDown")
    assert current(page) == "libero_object-0-1-0"


def test_n_and_p_walk_over_the_discordant_pairs(page):
    page.press("n")
    assert current(page) == "libero_object-0-5-0"
    page.press("n")
    assert current(page) == "libero_object-0-10-0"
    page.press("p")
    page.press("p")
    assert current(page) == "libero_object-0-0-0"
    page.press("p")
    assert page.evaluate("byId('message').textContent") == "No earlier discordant pair in the list."


def test_keys_are_text_while_a_comment_is_written(page):
    page.evaluate("document.querySelector('[data-field=comment]').focus()")
    page.press("n")
    assert page.evaluate("document.activeElement.value") == "n" and current(page) == "libero_object-0-0-0"
    page.press("Backspace")
    page.evaluate("document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input'))")


def test_labels_are_exported_with_the_key_of_their_episode_and_imported_again(page, folder, tmp_path):
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.evaluate("byId('reviewer').value = 'Ada'; byId('reviewer').dispatchEvent(new Event('input'));"
                  "const box = document.querySelector('[data-variant=rtn-1] [data-field=label]');"
                  "box.value = 'grasp missed'; box.dispatchEvent(new Event('input')); byId('export').click()")
    file = tmp_path / "labels-large.json"
    page.wait(lambda: file.exists() and file.stat().st_size, "the export")
    content = json.loads(file.read_text())
    assert (content["run"], content["reviewer"]) == ("large", "Ada")
    assert content["labels"] == [{
        "key": {"variant_id": "rtn-1", "suite": "libero_object", "task": 0, "init_state": 0, "seed": 0},
        "outcome": "failure", "verdict": "regressed", "label": "grasp missed", "comment": ""}]
    refused = page.evaluate("labels.fromJson(JSON.stringify({run: 'other', labels: []}))")
    assert refused == "labels of run other, this is large"
    text = file.read_text().replace("grasp missed", "stuck")
    assert page.evaluate(f"labels.fromJson({json.dumps(text)})") is None
    page.open((folder / "review.html").as_uri())
    wait_for_charts(page)
    assert page.evaluate("document.querySelector('[data-variant=rtn-1] [data-field=label]').value") == "stuck"
    page.evaluate("byId('unlabelled').click()")
    assert count(page).startswith("500 of 500")  # the other two episodes of the group have no label
    choose(page, "variant", "rtn-1")
    assert count(page).startswith("499 of 500")


def test_without_its_scripts_the_page_says_how_to_make_them(browser, folder, tmp_path):
    shutil.copy(folder / "review.html", tmp_path)
    page = browser()
    page.open((tmp_path / "review.html").as_uri())
    page.wait(lambda: "qvla-bench review" in page.evaluate("byId('message').textContent"), "the message")
    assert page.exceptions == []


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_follows_the_choice_of_dark_or_light(browser, folder, dark):
    page = browser(dark)
    page.open((folder / "review.html").as_uri())
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
