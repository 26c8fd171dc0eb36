// The index decoded, and which groups of paired episodes the filters leave.

const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const VARIANTS = INDEX.variants.map((variant, place) => ({ ...variant, place, series: `var(--series-${place % 6})` }));

const GROUPS = INDEX.groups.map(([task, init, seed, rows]) => {
  const { suite, task: number, instruction } = INDEX.tasks[task];
  const episodes = rows.map(([variant, outcome, steps, divergence, filmed, line, verdict, reason]) => ({
    variant: VARIANTS[variant], outcome, steps, divergence, filmed: Boolean(filmed), line, reason,
    verdict: verdict === null ? null : INDEX.verdicts[verdict],
  }));
  return { id: `${suite}-${number}-${init}-${seed}`, task, suite, number, instruction, init, seed, episodes };
});

const DISCORDANT = ["repaired", "regressed"];

// The episodes of a group that the chosen variant is about: itself and what it is compared with, or all.
function shown(group, filter) {
  if (filter.variant === "") return group.episodes;
  const chosen = VARIANTS.find((variant) => variant.id === filter.variant);
  return group.episodes.filter(({ variant }) => variant === chosen || variant.place === chosen.reference);
}

function judged(group, filter) {
  return group.episodes.filter(({ variant }) => filter.variant === "" || variant.id === filter.variant);
}

function isDiscordant(group, filter) {
  return judged(group, filter).some(({ verdict }) => DISCORDANT.includes(verdict));
}

function passes(group, filter, isLabelled) {
  if (filter.task !== "" && `${group.suite}-${group.number}` !== filter.task && group.suite !== filter.task) return false;
  if (filter.filmed && !shown(group, filter).some((episode) => episode.filmed)) return false;
  const episodes = judged(group, filter);
  if (filter.unlabelled && episodes.every((episode) => isLabelled(group, episode))) return false;
  // One and the same episode must have the outcome and the verdict.
  return episodes.some(({ outcome, verdict }) => (filter.outcome === "" || outcome === filter.outcome)
    && (filter.verdict === "" || verdict === filter.verdict));
}
