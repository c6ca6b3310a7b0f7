"use strict";
const get = (id) => document.getElementById(id);
const controls = get("controls"), list = get("examples"), main = document.querySelector("main");
const lower = (text) => text.toLowerCase();
const examples = [...list.children].map((element) => {
  const [a, b] = element.querySelectorAll(".side .text");
  const rest = [element.querySelector(".asked"), ...element.querySelectorAll(".why, .id")];
  const number = (name) => (element.dataset[name] ? Number(element.dataset[name]) : null);
  return {
    element, a, b, places: [a, b, ...rest],
    texts: [a, b, ...rest].map((place) => place.textContent),
    at: number("at"), score: number("score"), spread: number("spread"), pa: number("pa"), pb: number("pb"),
    length: a.textContent.length + b.textContent.length,
    tags: element.dataset.tags.split(" "), groups: element.dataset.groups.split(" "), winner: element.dataset.winner,
  };
});
const value = (id) => get(id)?.value ?? "";

// Where in the text of an element a stretch of characters lies.
function ranges(element, stretches) {
  const found = [], walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let node = walker.nextNode(), start = 0;
  for (const [from, to] of stretches) {
    while (node && start + node.data.length <= from) { start += node.data.length; node = walker.nextNode(); }
    if (!node) break;
    const range = new Range();
    range.setStart(node, from - start);
    let [last, begin] = [node, start];
    while (begin + last.data.length < to) {
      const next = walker.nextNode();
      if (!next) break;
      begin += last.data.length;
      last = next;
    }
    range.setEnd(last, Math.min(to - begin, last.data.length));
    [node, start] = [last, begin];
    found.push(range);
  }
  return found;
}
function paint(name, all) {
  if (!CSS.highlights) return;
  const highlight = new Highlight();
  for (const range of all) highlight.add(range);
  CSS.highlights.set(name, highlight);
}

// The words of each side that the other lacks, by a longest common subsequence.
function differences(a, b) {
  const cut = (text) => [...text.matchAll(/[\p{L}\p{M}\p{N}_'’-]+/gu)].map((match) => [match[0], match.index]);
  const [x, y] = [cut(a), cut(b)], width = y.length + 1;
  if (x.length * y.length > 4e6) return [[], []];
  const common = new Uint16Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i -= 1) {
    for (let j = y.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = x[i][0] === y[j][0] ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const only = [[], []], put = (side, [word, index]) => only[side].push([index, index + word.length]);
  let i = 0, j = 0;
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i][0] === y[j][0]) { i += 1; j += 1; }
    else if (j >= y.length || (i < x.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) { put(0, x[i]); i += 1; }
    else { put(1, y[j]); j += 1; }
  }
  return only;
}

// What is searched for, as a function from a text to stretches; null for nothing.
function wanted() {
  const text = value("search"), problem = get("problem");
  problem.textContent = "";
  if (!text) return null;
  let pattern;
  try {
    pattern = new RegExp(get("regex").checked ? text : text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  } catch {
    problem.textContent = "This is not a regular expression.";
    return null;
  }
  return (text) => [...text.matchAll(pattern)].filter((match) => match[0]).map((match) => [match.index, match.index + match[0].length]);
}

const orders = {
  at: (x) => x.at, "score-down": (x) => -(x.score ?? -9), "score-up": (x) => x.score ?? 9, spread: (x) => -x.spread,
  pa: (x) => x.pa, pb: (x) => x.pb, length: (x) => -x.length,
};
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const few = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;

function show() {
  const [tag, winner, group, view, search] = [value("tag"), value("winner"), value("group"), value("view"), wanted()];
  const found = [], shown = [], hits = [0, 0], wins = { a: 0, tie: 0, b: 0 };
  for (const example of examples) {
    let visible = (!tag || example.tags.includes(tag)) && (!winner || example.winner === winner) && (!group || example.groups.includes(group));
    if (visible && search) {
      const stretches = example.texts.map(search);
      visible = stretches.some((of) => of.length > 0);
      if (visible) {
        for (const side of [0, 1]) hits[side] += stretches[side].length > 0 ? 1 : 0;
        example.places.forEach((place, i) => found.push(...ranges(place, stretches[i])));
      }
    }
    example.element.hidden = !visible;
    if (!visible) continue;
    shown.push(example);
    if (example.winner in wins) wins[example.winner] += 1;
  }
  paint("found", found);
  const key = orders[value("sort")] ?? orders.at;
  const sorted = [...examples].sort((x, y) => key(x) - key(y) || x.at - y.at);
  if (sorted.some(({ element }, i) => list.children[i] !== element)) list.append(...sorted.map(({ element }) => element));
  main.dataset.view = view;
  const only = [[], []];
  if (view === "differences") {
    for (const { a, b } of shown) {
      const [x, y] = differences(a.textContent, b.textContent);
      only[0].push(...ranges(a, x));
      only[1].push(...ranges(b, y));
    }
  }
  paint("only-a", only[0]);
  paint("only-b", only[1]);
  const rated = wins.a + wins.tie + wins.b;
  let count = `${shown.length} of ${few(examples.length, "example")}`;
  if (rated > 0) count += `: A ${wins.a}, ${few(wins.tie, "tie")}, B ${wins.b}; A’s win rate ${percent((wins.a + wins.tie / 2) / rated)}`;
  if (search) count += `. Found in ${few(hits[0], "response")} of A and ${few(hits[1], "response")} of B`;
  get("count").textContent = `${count}.`;
  for (const button of document.querySelectorAll("td button")) {
    const { tag: ofTag, group: ofGroup } = button.parentElement.dataset;
    button.setAttribute("aria-pressed", String(ofTag !== undefined ? ofTag === tag : ofGroup === group));
  }
}

// Names in the tables choose what the lists choose.
for (const [name, cells] of [["tag", "#tags td[data-tag]"], ["group", "#reasons td[data-group]"]]) {
  for (const cell of document.querySelectorAll(cells)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = cell.textContent;
    button.addEventListener("click", () => {
      const choice = get(name), mine = cell.dataset[name];
      choice.value = choice.value === mine ? "" : mine;
      show();
    });
    cell.replaceChildren(button);
  }
}
let waiting;
controls.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(show, 120); });
controls.addEventListener("reset", () => setTimeout(show));
controls.addEventListener("submit", (event) => event.preventDefault());
controls.hidden = false;
show();
