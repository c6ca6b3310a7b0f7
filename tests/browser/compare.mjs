// usage: node compare.mjs WMGEN CHROMIUM DIRECTORY-FOR-SCREENSHOTS [LLM-COMPARATOR]
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [wmgen, browserPath, shots, archive] = process.argv.slice(2);
assert(shots, "usage: node compare.mjs WMGEN CHROMIUM DIRECTORY-FOR-SCREENSHOTS [LLM-COMPARATOR]");
mkdirSync(shots, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const dir = mkdtempSync(join(tmpdir(), "compare-"));
const at = (name) => join(dir, name);
const run = (...args) => execFileSync(wmgen, args, { cwd: dir, maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"] }).toString();
const lines = (name, all) => writeFileSync(at(name), all.map((line) => `${JSON.stringify(line)}\n`).join(""));

// Marked and unmarked answers of the model that ships with wmgen, an answer that tries to take over the page, and one from right to
// left. The ratings are made up, by a rule: this shows the page, not the models.
const hostile = `</div></script><script>document.title="taken"</script><img src=x onerror="document.title='taken'">\u202e`;
const starts = [["The old lighthouse", "place"], ["It was a dark night, and", "place"], ["The captain laughed", "people"], ["She opened the letter and", "people"],
  ["\"Come in,\" said the doctor", "people"], ["Beyond the river there was", "place"], ["The dog would not", "animals"], ["A horse is", "animals"],
  ["Every morning the boy", "people"], ["The storm had passed, but", "place"], ["Two birds sat on", "animals"], ["My dear uncle", "people"]];
writeFileSync(at("k.bin"), Buffer.alloc(32, 7), { mode: 0o600 });
lines("prompts.jsonl", starts.map(([prompt, tag]) => ({ prompt, tags: [tag] })));
const answered = (args) => run("generate", "--prompts", "prompts.jsonl", "--json", "--max-tokens", "110", "--seed", "5", ...args)
  .trim().split("\n").map((line, i) => ({ ...JSON.parse(line), prompt: starts[i][0], tags: [starts[i][1]] }));
const extra = (side) => [
  { prompt: hostile, text: `${side} ${hostile}`, tags: [hostile], tokens: 9 },
  { prompt: "شمس", text: `${side} كان الصباح هادئا فوق المدينة`, tags: ["place"], tokens: 12 }];
lines("marked.jsonl", [...answered(["--key", "k.bin"]), ...extra("one")]);
lines("unmarked.jsonl", [...answered(["--no-watermark"]), ...extra("two")]);
const why = { A: ["Response A is more vivid. It has detailed pictures.", "Response A tells a coherent story.", "Response A is detailed."],
  B: ["Response B is coherent.", "Response B is concise and clear.", "B is vivid, while Response A repeats itself."] };
const ratings = [];
for (let example = 0; example < starts.length + 1; example += 1) {
  for (let repeat = 0; repeat < 6; repeat += 1) {
    const score = [1, 0.5, -1, 1.5, 0, -0.5, 1][(example * 3 + (repeat % 3)) % 7] * (example % 4 === 1 ? -1 : 1);
    ratings.push({ example, flipped: repeat % 2 === 1, score, rationale: score > 0 ? why.A[repeat % 3] : score < 0 ? why.B[repeat % 3] : hostile });
  }
}
lines("ratings.jsonl", ratings);
const report = JSON.parse(run("compare", "marked.jsonl", "unmarked.jsonl", "--key", "k.bin", "--ratings", "ratings.jsonl", "--json",
  "--output", "comparison.json", "--html", "comparison.html"));
const unrated = JSON.parse(run("compare", "marked.jsonl", "unmarked.jsonl", "--json", "--output", "unrated.json", "--html", "unrated.html"));
assert.equal(unrated.judge, null);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
let failed = 0;
async function check(name, options, act, { own = true } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints = [], asked = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => asked.push(request.url()));
  // What is far below is shown, too.
  const shown = ".example { content-visibility: visible !important; }";
  try {
    await act(page);
    if (own && options.javaScriptEnabled !== false) await page.addStyleTag({ content: shown });
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: own && options.tall !== false });
    assert.deepEqual(complaints, []);
    if (own) {
      assert(asked.every((url) => url.startsWith("file:")), `the page asks for ${asked}`);
      assert.notEqual(await page.title(), "taken");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(wide <= 0, `the page is ${wide} pixels wider than the window`);
      if (options.javaScriptEnabled !== false) {
        // axe comes as a script, which the page's own policy refuses.
        const html = await page.content();
        const other = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options, bypassCSP: true });
        const copy = await other.newPage();
        await copy.setContent(html.replace(/<script>[\s\S]*<\/script>/, ""));
        await copy.evaluate(axe);
        const { violations } = await copy.evaluate(() => axe.run());
        assert.deepEqual(violations.map(({ id, nodes: [node] }) => `${id}: ${node.html} ${node.any[0]?.message}`), []);
        await other.close();
      }
    }
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.message}`);
    await page.screenshot({ path: join(shots, `${name}-failed.png`) }).catch(() => {});
  }
  await context.close();
}
const open = (page, name = "comparison.html") => page.goto(pathToFileURL(at(name)).href);
const visible = (page) => page.locator("article.example:visible").count();
const count = async (page, expected) => page.waitForFunction((text) => document.getElementById("count").textContent.startsWith(text), expected);
const highlights = (page, name) => page.evaluate((of) => [...CSS.highlights.get(of)].map((range) => range.toString()), name);

try {
  const all = starts.length + 2;
  for (const [name, options] of [["whole", {}], ["dark", { colorScheme: "dark" }], ["phone", { viewport: { width: 390, height: 800 }, isMobile: true, hasTouch: true }],
    ["without-script", { javaScriptEnabled: false }], ["forced-colours", { forcedColors: "active" }]]) {
    await check(name, options, async (page) => {
      await open(page);
      const { overall } = report;
      assert.match(await page.locator("p.verdict").innerText(), new RegExp(`A's win rate is ${percent(overall.win_rate)}`.replaceAll(".", "\\.")));
      assert.equal(await visible(page), all);
      assert(await page.locator(".text .e3, .text .e4").count() > 0, "the evidence is in colour");
      assert.equal(await page.locator("#controls").isVisible(), options.javaScriptEnabled !== false);
    });
  }
  await check("filter", { tall: false }, async (page) => {
    await open(page);
    const tag = report.tags.findIndex(({ tag: name }) => name === "animals");
    await page.selectOption("#tag", String(tag));
    const { a, ties, b, examples, win_rate } = report.tags[tag];
    await count(page, `${examples} of ${all} examples: A ${a}, ${ties} tie${ties === 1 ? "" : "s"}, B ${b}; A’s win rate ${percent(win_rate)}`);
    assert.equal(await visible(page), examples);
    assert.equal(await page.locator("#tags button[aria-pressed=true]").innerText(), "animals");
    // The name in the table takes it back and sets it again.
    await page.locator("#tags button", { hasText: "animals" }).click();
    await count(page, `${all} of ${all} examples`);
    await page.selectOption("#winner", "b");
    await count(page, `${report.overall.b} of ${all} examples: A 0, 0 ties, B ${report.overall.b}`);
    await page.locator("#reasons button").first().click();
    assert(await visible(page) <= report.overall.b);
    await page.click("button[type=reset]");
    await count(page, `${all} of ${all} examples`);
    await page.selectOption("#winner", "b");
    await count(page, `${report.overall.b} of`);
    await page.locator("#examples-heading").scrollIntoViewIfNeeded();
    await page.evaluate(() => document.getElementById("examples-heading").scrollIntoView());
  });
  await check("sort", { tall: false }, async (page) => {
    await open(page);
    await page.selectOption("#sort", "score-up");
    await page.waitForFunction(() => document.querySelector("article").dataset.at !== "0");
    const scores = await page.locator("article").evaluateAll((list) => list.map(({ dataset }) => dataset.score).filter(Boolean).map(Number));
    assert.deepEqual(scores, [...scores].sort((x, y) => x - y));
    await page.selectOption("#sort", "pa");
    await page.waitForTimeout(300);
    const p = await page.locator("article").evaluateAll((list) => list.map(({ dataset }) => Number(dataset.pa)));
    assert.deepEqual(p, [...p].sort((x, y) => x - y));
    await page.evaluate(() => document.getElementById("examples-heading").scrollIntoView());
  });
  await check("search", { tall: false }, async (page) => {
    await open(page);
    await page.fill("#search", "lighthouse");
    await page.waitForFunction(() => document.getElementById("count").textContent.includes("Found in"));
    assert(await visible(page) >= 1 && await visible(page) < all);
    assert((await highlights(page, "found")).every((text) => text.toLowerCase() === "lighthouse"));
    await page.fill("#search", "(");
    await page.check("#regex");
    await page.locator("#problem", { hasText: "not a regular expression" }).waitFor();
    await page.fill("#search", "\\bthe\\s\\w+");
    await page.waitForFunction(() => CSS.highlights.get("found").size > 5);
    await page.evaluate(() => document.getElementById("examples-heading").scrollIntoView());
  });
  await check("differences", { tall: false }, async (page) => {
    await open(page);
    await page.selectOption("#view", "differences");
    await page.waitForFunction(() => CSS.highlights.get("only-a")?.size > 0);
    assert((await highlights(page, "only-a")).includes("one") && (await highlights(page, "only-b")).includes("two"));
    // What both have is not painted.
    assert(!(await highlights(page, "only-a")).includes("الصباح"));
    await page.evaluate(() => document.getElementById("examples-heading").scrollIntoView());
  });
  await check("ratings", { tall: false, colorScheme: "dark" }, async (page) => {
    await open(page);
    await page.locator("article summary").first().click();
    await page.evaluate(() => document.getElementById("examples-heading").scrollIntoView());
  });
  await check("keyboard", { tall: false }, async (page) => {
    await open(page);
    await page.focus("#tag");
    await page.keyboard.press("ArrowDown");
    await page.waitForFunction(() => !document.getElementById("count").textContent.startsWith(`${document.querySelectorAll("article").length} of`));
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", "the focus can be seen");
  });
  await check("unrated", { tall: false }, async (page) => {
    await open(page, "unrated.html");
    assert.equal(await visible(page), all);
    assert.equal(await page.locator("#winner").count(), 0);
  });

  if (archive) {
    const types = { ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json" };
    const server = createServer((request, response) => {
      const path = normalize(new URL(request.url, "http://x").pathname);
      const file = path.startsWith("/data/") ? at(path.slice(6)) : join(archive, path === "/" ? "index.html" : path);
      try {
        const body = readFileSync(file);
        response.writeHead(200, { "content-type": types[extname(file)] ?? "text/plain" }).end(body);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const site = `http://127.0.0.1:${server.address().port}/`;
    const cells = (page) => page.locator("comparator-metrics-by-slice tbody tr").evaluateAll((rows) => rows.map((row) =>
      [".tag", ".count .number", ".win-rate .number", ".score-avg .number"].map((part) => row.querySelector(part)?.textContent.trim() ?? "")));
    for (const [name, data] of [["llm-comparator", report], ["llm-comparator-unrated", unrated]]) {
      await check(name, {}, async (page) => {
        await page.route((url) => !url.href.startsWith(site), (route) => route.abort());
        await page.goto(`${site}?results_path=${encodeURIComponent(`${site}data/${name === "llm-comparator" ? "comparison" : "unrated"}.json`)}`);
        await page.getByText(`Loaded the dataset of ${data.overall.examples} examples.`).waitFor();
        const found = Object.fromEntries((await cells(page)).map(([tag, ...rest]) => [tag, rest]));
        if (data.judge) {
          const shown = (share) => `${(100 * share).toFixed(1)}%`;
          assert.deepEqual(found.All.slice(0, 2), [String(data.overall.examples), shown(data.overall.win_rate)]);
          for (const tag of data.tags.filter(({ win_rate }) => win_rate !== null)) assert.deepEqual(found[tag.tag]?.slice(0, 2), [String(tag.examples), shown(tag.win_rate)]);
          const clusters = (await page.locator("comparator-rationale-summary tbody tr").allInnerTexts()).join("\n");
          for (const { title } of data.rationales) assert(clusters.includes(title), `${title} in ${clusters}`);
        }
        // An example's ratings, with their order.
        await page.locator("comparator-example-table tbody tr").first().click();
        await page.waitForTimeout(500);
      }, { own: false });
    }
    server.close();
  }
} finally {
  await browser.close();
}
console.log(`the files are in ${dir}`);
process.exit(failed > 0 ? 1 : 0);
