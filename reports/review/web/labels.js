// What a reviewer says of an episode. It is kept in this browser and leaves it as a JSON file.

function makeLabels(onChange) {
  const PLACE = `qvla-bench review ${INDEX.run} ${INDEX.created}`;
  const FIELDS = ["variant_id", "suite", "task", "init_state", "seed"];
  const kept = new Map();
  let reviewer = "", lasting = true;

  const keyOf = (group, { variant }) => ({ variant_id: variant.id, suite: group.suite, task: group.number,
    init_state: group.init, seed: group.seed });
  const nameOf = (key) => FIELDS.map((field) => key[field]).join("|");

  function content() {
    return { run: INDEX.run, created: INDEX.created, reviewer, labels: [...kept.values()] };
  }

  function keep() {
    // A browser may forbid storage to files; then the export is the only copy, and the page says so.
    try { localStorage.setItem(PLACE, JSON.stringify(content())); } catch { lasting = false; }
    onChange(kept.size, lasting);
  }

  function take(read) {
    for (const entry of read.labels) kept.set(nameOf(entry.key), entry);
    reviewer = reviewer || read.reviewer || "";
  }

  try {
    const stored = localStorage.getItem(PLACE);
    if (stored !== null) take(JSON.parse(stored));
  } catch { lasting = false; }

  return {
    of(group, episode) { return kept.get(nameOf(keyOf(group, episode))) ?? { label: "", comment: "" }; },
    has(group, episode) { return kept.has(nameOf(keyOf(group, episode))); },
    set(group, episode, changes) {
      const key = keyOf(group, episode), entry = { ...this.of(group, episode), key, ...changes };
      if (entry.label === "" && entry.comment === "") kept.delete(nameOf(key));
      else kept.set(nameOf(key), { key, outcome: episode.outcome, verdict: episode.verdict, label: entry.label, comment: entry.comment });
      keep();
    },
    get reviewer() { return reviewer; },
    set reviewer(name) { reviewer = name; keep(); },
    announce() { onChange(kept.size, lasting); },
    toJson() { return JSON.stringify(content(), null, 1) + "\n"; },
    // Returns why a file cannot be taken, or null.
    fromJson(text) {
      let read;
      try { read = JSON.parse(text); } catch (error) { return `not JSON: ${error.message}`; }
      if (read?.run !== INDEX.run || read?.created !== INDEX.created) return `labels of run ${read?.run}, this is ${INDEX.run}`;
      if (!Array.isArray(read.labels) || !read.labels.every((entry) => FIELDS.every((field) => entry.key && field in entry.key))) {
        return "it has no list of labels with keys";
      }
      take(read);
      keep();
      return null;
    },
  };
}

function download(name, text) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: "application/json" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);  // the browser reads it after the click
}
