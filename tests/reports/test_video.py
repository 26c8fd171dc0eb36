import logging

import imageio.v2 as imageio
import numpy as np
import pytest

from reports.load import load_run
from reports.panel import HEIGHT, WIDTH, Side, Story, draw_frame
from reports.video import find_pairs, write_videos

# imageio-ffmpeg leaves the pipes of a finished reader to the garbage collector, which closes them with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file <_io.Buffered:ResourceWarning")


def test_a_pair_becomes_one_video_of_the_expected_size_and_length(filmed_folder):
    paths = write_videos(filmed_folder)
    assert [p.name for p in paths] == ["libero_object-0-rtn4.mp4"]
    with imageio.get_reader(paths[0], "ffmpeg") as reader:
        meta = reader.get_meta_data()
        frames = sum(1 for _ in reader)
    assert meta["size"] == (WIDTH, HEIGHT) and meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p")
    # The longer episode takes 30 steps: 16 pictures, and 1.5 s at 10 pictures a second of the last one.
    assert (frames, meta["fps"]) == (31, 10.0)
    assert [p.name for p in (filmed_folder / "videos").iterdir()] == [paths[0].name]


def test_a_task_without_frames_is_skipped_and_named(filmed_folder, caplog):
    with caplog.at_level(logging.WARNING, logger="reports.video"):
        write_videos(filmed_folder)
    assert "libero_object task 0, qvla: no episode with frames and traces of both" in caplog.text
    assert "libero_spatial task 0, rtn:bits=4" in caplog.text


def test_a_run_without_frames_has_no_videos(run_folder):
    assert write_videos(run_folder) == []
    assert len(find_pairs(load_run(run_folder))[1]) == 6


@pytest.fixture
def story():
    return Story("put the milk in the basket", Side("full precision", "success", 20), Side("rtn", "failure", 30),
                 np.linspace(0.0, 40.0, 20), 6, 10.0)


def test_the_outcome_is_drawn_only_when_an_episode_is_over(story):
    grey = np.full((64, 64, 3), 90, np.uint8)
    during, after = (draw_frame(story, grey, grey, step) for step in (18, 20))
    left, right = np.s_[72:456, :384], np.s_[72:456, 400:]
    assert (during[left] == 90).all() and (during[right] == 90).all()
    assert not (after[left] == 90).all() and (after[right] == 90).all()


def test_a_long_instruction_and_a_wide_picture_fit(story):
    long = Story("put the black bowl " * 20, story.left, story.right, np.empty(0), None, None)
    frame = draw_frame(long, np.zeros((48, 96, 3), np.uint8), np.zeros((64, 64, 3), np.uint8), 30)
    assert frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8
