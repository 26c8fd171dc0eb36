// One clock for all videos of a group: the control step. Videos follow it, they never lead.

// A film has a frame for every FRAME_STEPS-th control step, and one more of the step that succeeded.
function framesOf(steps, succeeded) {
  const last = steps - 1;
  return Math.floor(last / INDEX.frame_steps) + 1 + (succeeded && last % INDEX.frame_steps !== 0 ? 1 : 0);
}

function makePlayer(onStep) {
  const STEPS_PER_SECOND = 20;  // without a video to tell
  let films = [], step = 0, last = 0, playing = false, speed = 1, before = null;

  function secondsOf(film, at) {
    const over = at >= film.steps - 1;
    const frame = over ? film.frames - 1 : Math.floor(at / INDEX.frame_steps);
    return (frame + 0.5) * film.video.duration / film.frames;  // the middle of a frame is safe from rounding
  }

  function ready(film) { return film.video.readyState >= 1 && film.video.duration > 0; }

  function rate() {
    const film = films.find(ready);
    return film ? INDEX.frame_steps * film.frames / film.video.duration : STEPS_PER_SECOND;
  }

  function place(film) {
    if (!ready(film)) return;
    const wanted = secondsOf(film, step), frame = film.video.duration / film.frames;
    const runs = playing && step < film.steps - 1;
    if (!runs && !film.video.paused) film.video.pause();
    if (Math.abs(film.video.currentTime - wanted) > (runs ? 1.5 : 0.4) * frame && !film.video.seeking) {
      film.video.currentTime = wanted;
    }
    if (runs && film.video.paused) {
      film.video.playbackRate = speed;
      film.video.play().catch((error) => { if (error.name !== "AbortError") throw error; });
    }
  }

  function tell() {
    films.forEach(place);
    onStep(Math.floor(step), last, playing);
  }

  function tick(now) {
    if (!playing) return;
    // A hidden page gets no ticks; what it missed is not caught up.
    if (before !== null) step = Math.min(last, step + Math.min(now - before, 250) / 1000 * rate() * speed);
    before = now;
    if (step >= last) playing = false;
    tell();
    if (playing) requestAnimationFrame(tick);
  }

  return {
    load(newFilms, newLast) {
      playing = false;
      for (const { video } of films) { video.removeAttribute("src"); video.load(); }
      films = newFilms;
      last = newLast;
      step = 0;
      for (const film of films) {
        film.video.addEventListener("loadedmetadata", () => place(film));
        // The scrubber may have moved on while the decoder was seeking.
        film.video.addEventListener("seeked", () => place(film));
      }
      tell();
    },
    seek(to) { step = Math.max(0, Math.min(last, to)); tell(); },
    nudge(by) { playing = false; this.seek(Math.floor(step) + by); },
    toggle() {
      playing = !playing;
      if (playing && step >= last) step = 0;
      before = null;
      tell();
      if (playing) requestAnimationFrame(tick);
    },
    setSpeed(value) { speed = value; for (const { video } of films) video.playbackRate = value; },
    get step() { return Math.floor(step); },
    get playing() { return playing; },
  };
}
