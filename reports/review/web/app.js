// Ties the parts together: what is chosen, the keyboard, the address.

const state = { group: null, episodes: [], charts: [], token: 0 };
const traceCache = new Map();

const labels = makeLabels((count, lasting) => {
  byId("labelled").textContent = count;
  if (!lasting) say("This browser keeps nothing for files: export the labels before you close the page.");
});
const player = makePlayer((step, last, playing) => {
  byId("scrubber").max = last;
  byId("scrubber").value = step;
  byId("at").textContent = `step ${step} of ${last}`;
  byId("play").textContent = playing ? "Pause" : "Play";
  for (const chart of state.charts) chart.moveTo(step);
});
const list = makeList((group, episode) => labels.has(group, episode), choose);

function say(words) { byId("message").textContent = words; }

// Called by the scripts in review/.
function REVIEW_EPISODE(id, traces) { traceCache.set(id, traces); }

function loadTraces(group) {
  if (traceCache.has(group.id)) return Promise.resolve(traceCache.get(group.id));
  return new Promise((resolve) => {
    const script = element("script", { src: `review/${encodeURIComponent(group.id)}.js` });
    const end = () => { script.remove(); resolve(traceCache.get(group.id) ?? null); };
    script.addEventListener("load", end);
    script.addEventListener("error", end);
    document.head.append(script);
  });
}

function pane(group, episode) {
  const { variant, outcome, verdict, steps, reason, divergence } = episode;
  const film = `frames/${encodeURIComponent(variant.id)}/${encodeURIComponent(group.id)}.mp4`;
  const picture = episode.filmed
    ? element("video", { src: film, preload: "auto", playsinline: "", "aria-label": `${variant.label}, ${outcome}` })
    : element("div", { class: "absent" }, "not filmed");
  if (episode.filmed) picture.muted = true;
  const end = reason ? `error: ${reason}` : `${outcome} at step ${steps - 1}`;
  const facts = element("p", {}, element("span", { class: `badge ${outcome}` }, end),
    verdict ? element("span", { class: `badge ${verdict}` }, ` · ${verdict}`) : "",
    ` · line ${episode.line} of episodes.jsonl`);
  if (divergence !== null) {
    const parting = element("button", { type: "button", class: "parting" }, `first divergence: step ${divergence}`);
    parting.addEventListener("click", () => stopAt(divergence));
    facts.append(" · ", parting);
  }
  const entry = labels.of(group, episode);
  const label = element("input", { type: "text", list: "suggestions", "data-field": "label" });
  const comment = element("textarea", { rows: 1, "data-field": "comment" });
  for (const [field, input] of [["label", label], ["comment", comment]]) {
    input.value = entry[field];
    input.addEventListener("input", () => labels.set(group, episode, { [field]: input.value.trim() }));
  }
  const node = element("section", { class: "pane", style: `--series: ${variant.series}`, "data-variant": variant.id },
    element("h3", {}, variant.label), picture, facts,
    element("div", { class: "said" }, element("label", {}, "Label", label), element("label", {}, "Comment", comment)));
  return { node, film: episode.filmed ? { video: picture, steps, frames: framesOf(steps, outcome === "success") } : null };
}

async function choose(group, step = 0) {
  const token = ++state.token;
  state.group = group;
  state.charts = [];
  state.episodes = shown(group, list.filter);
  list.mark(group);
  say("");
  byId("title").textContent = group.instruction;
  byId("facts").textContent = `${group.suite}, task ${group.number}, init state ${group.init}, seed ${group.seed}`;
  const panes = state.episodes.map((episode) => pane(group, episode));
  byId("panes").replaceChildren(...panes.map(({ node }) => node));
  byId("charts").replaceChildren();
  player.load(panes.map(({ film }) => film).filter(Boolean), Math.max(0, ...state.episodes.map(({ steps }) => steps - 1)));
  player.seek(step);
  byId("divergence").disabled = firstDivergence() === null;
  address();
  const traces = await loadTraces(group);
  if (token !== state.token) return;  // another group was chosen meanwhile
  if (traces === null || !state.episodes.some(({ variant }) => traces[variant.id])) {
    say("No traces here: write them with `qvla-bench review RUN`, or the episode ended in an error.");
    return;
  }
  state.charts = groupCharts(state.episodes, traces, INDEX.threshold_mm, (to) => player.seek(to));
  byId("charts").replaceChildren(...state.charts.map(({ node }) => node));
  player.seek(player.step);
}

function firstDivergence() {
  const steps = state.episodes.map(({ divergence }) => divergence).filter((step) => step !== null);
  return steps.length ? Math.min(...steps) : null;
}

function go(direction, onlyDiscordant) {
  const group = list.neighbour(direction, onlyDiscordant);
  if (group) choose(group);
  else say(`No ${direction > 0 ? "further" : "earlier"} ${onlyDiscordant ? "discordant pair" : "episode"} in the list.`);
}

function address() {
  const parts = Object.entries(list.filter).filter(([, value]) => value).map(([name, value]) => [name, value === true ? "1" : value]);
  if (state.group) parts.push(["episode", state.group.id]);
  history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
}

function openAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  list.restore(wanted);
  const group = GROUPS.find(({ id }) => id === wanted.get("episode")) ?? list.first();
  if (group) choose(group, Number(wanted.get("step") ?? 0)); else say("No episode passes the filters.");
}

function stopAt(step) {
  if (player.playing) player.toggle();
  player.seek(step);
}

const jump = () => { if (firstDivergence() !== null) stopAt(firstDivergence()); };
const KEYS = {
  " ": () => player.toggle(), n: () => go(1, true), p: () => go(-1, true), d: jump,
  ArrowLeft: (event) => player.nudge(event.shiftKey ? -10 : -1), ArrowRight: (event) => player.nudge(event.shiftKey ? 10 : 1),
  ArrowUp: () => go(-1, false), ArrowDown: () => go(1, false), Home: () => player.nudge(-Infinity), End: () => player.nudge(Infinity),
};

document.addEventListener("keydown", (event) => {
  // Where keys mean something else they keep their meaning; a focused button is pressed by the space bar.
  const types = event.target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");
  const presses = event.key === " " && event.target.matches("button, summary, input[type=checkbox]");
  if (types || presses || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key](event);
});

byId("run").textContent = INDEX.run;
document.title = `Rollout review: ${INDEX.run}`;
byId("notices").querySelector("ul").append(...INDEX.notices.map((line) => element("li", {}, line)));
document.body.append(element("datalist", { id: "suggestions" }, ...["grasp missed", "object dropped", "wrong object",
  "collision", "stuck", "placed beside", "no approach", "jitter"].map((value) => element("option", { value }))));
byId("play").addEventListener("click", () => player.toggle());
byId("back").addEventListener("click", () => player.nudge(-1));
byId("forth").addEventListener("click", () => player.nudge(1));
byId("scrubber").addEventListener("input", (event) => player.seek(Number(event.target.value)));
byId("speed").addEventListener("change", (event) => player.setSpeed(Number(event.target.value)));
byId("divergence").addEventListener("click", jump);
byId("previous").addEventListener("click", () => go(-1, true));
byId("next").addEventListener("click", () => go(1, true));
byId("theme").addEventListener("change", (event) => { document.documentElement.style.colorScheme = event.target.value; });
byId("reviewer").value = labels.reviewer;
byId("reviewer").addEventListener("input", (event) => { labels.reviewer = event.target.value.trim(); });
byId("export").addEventListener("click", () => download(`labels-${INDEX.run}.json`, labels.toJson()));
byId("import").addEventListener("change", async (event) => {
  const refused = labels.fromJson(await event.target.files[0].text());
  event.target.value = "";
  if (state.group) await choose(state.group, player.step);
  say(refused === null ? "Labels were taken over." : `This file was not taken: ${refused}.`);
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("change", (event) => {
  const { id, type, checked, value } = event.target;
  list.filter[id] = type === "checkbox" ? checked : value;
  list.apply();
  const group = list.first();
  if (group) choose(group); else say("No episode passes the filters.");
});
byId("reset").addEventListener("click", () => { history.replaceState(null, "", "#"); openAddress(); });
window.addEventListener("hashchange", openAddress);
labels.announce();
openAddress();
