// The filters and the list of groups that they leave.

function makeList(isLabelled, onChoose) {
  const PAGE = 500;  // rows that are made at once; the rest on demand
  const filter = { task: "", variant: "", outcome: "", verdict: "", filmed: false, unlabelled: false };
  const selects = ["task", "variant", "outcome", "verdict"], checks = ["filmed", "unlabelled"];
  const rows = new Map();
  let left = [], chosen = null, listed = 0;

  function fill(id, options) {
    byId(id).append(element("option", { value: "" }, "all"),
      ...options.map(([value, text]) => element("option", { value }, text)));
  }
  const suites = [...new Set(INDEX.tasks.map(({ suite }) => suite))];
  const wholeSuites = suites.length > 1 ? suites.map((suite) => [suite, `${suite}: all tasks`]) : [];
  fill("task", [...wholeSuites, ...INDEX.tasks.map(({ suite, task, instruction }) =>
    [`${suite}-${task}`, `${suites.length > 1 ? `${suite} ` : ""}${task}: ${instruction}`])]);
  fill("variant", VARIANTS.map(({ id, label }) => [id, label]));
  fill("outcome", ["success", "failure", "error"].map((outcome) => [outcome, outcome]));
  fill("verdict", INDEX.verdicts.map((verdict) => [verdict, verdict]));

  function words(group) {
    return shown(group, filter).map(({ variant, outcome, verdict }) => element("span", { class: `badge ${verdict ?? outcome}` },
      verdict ?? (variant.baseline ? `FP ${outcome}` : outcome)));
  }

  function row(group) {
    const badges = words(group).flatMap((badge, place) => place ? [" · ", badge] : [badge]);
    const button = element("button", { type: "button", "data-id": group.id },
      `${group.suite} ${group.number}, init ${group.init}${group.seed ? `, seed ${group.seed}` : ""}`,
      element("small", {}, group.instruction), element("small", {}, ...badges));
    button.addEventListener("click", () => onChoose(group));
    rows.set(group.id, button);
    return element("li", {}, button);
  }

  function extend(count) {
    byId("list").append(...left.slice(listed, listed + count).map(row));
    listed = Math.min(left.length, listed + count);
    byId("more").hidden = listed === left.length;
    mark();
  }

  function mark() {
    for (const [id, button] of rows) {
      if (id === chosen?.id) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    }
  }

  const list = {
    filter,
    apply() {
      left = GROUPS.filter((group) => passes(group, filter, isLabelled));
      rows.clear();
      listed = 0;
      byId("list").replaceChildren();
      const odd = left.filter((group) => isDiscordant(group, filter)).length;
      byId("count").textContent = `${left.length} of ${GROUPS.length} episodes, ${odd} discordant`;
      extend(PAGE);
    },
    // From a link: unknown names are left at "all".
    restore(wanted) {
      for (const id of selects) {
        byId(id).value = wanted.get(id) ?? "";
        if (byId(id).selectedIndex < 0) byId(id).value = "";
        filter[id] = byId(id).value;
      }
      for (const id of checks) filter[id] = byId(id).checked = wanted.get(id) === "1";
      this.apply();
    },
    mark(group) {
      chosen = group;
      const place = left.indexOf(group);
      if (place >= listed) extend(place - listed + 1);
      mark();
      rows.get(group.id)?.scrollIntoView({ block: "nearest" });
    },
    first() { return left[0] ?? null; },
    // The next group in a direction, among all that are left or only the discordant ones; null at the end.
    neighbour(direction, onlyDiscordant) {
      for (let place = left.indexOf(chosen) + direction; place >= 0 && place < left.length; place += direction) {
        if (!onlyDiscordant || isDiscordant(left[place], filter)) return left[place];
      }
      return null;
    },
  };

  byId("more").addEventListener("click", () => extend(PAGE));
  return list;
}
