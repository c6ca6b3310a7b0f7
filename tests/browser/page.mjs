// usage: node page.mjs WMDETECT CHROMIUM DIRECTORY-FOR-SCREENSHOTS
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [program, browserPath, shots] = process.argv.slice(2);
assert(shots, "usage: node page.mjs WMDETECT CHROMIUM DIRECTORY-FOR-SCREENSHOTS");
mkdirSync(shots, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const dir = mkdtempSync(join(tmpdir(), "page-"));
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

// The key and the text of the examples of wmdetect.
const key = join(dir, "k.bin");
writeFileSync(key, Buffer.alloc(32, 7), { mode: 0o600 });
const marked = readFileSync(new URL("../../detector/examples/marked.txt", import.meta.url), "utf8");
const plain = "The committee met on Tuesday and spoke of the roof. Nobody could say who had paid for the last repair. ";
const mixed = `${plain}\n\n${marked}\n\n${plain}`;
const rtl = `השמש זרחה מעל הנמל והדייגים יצאו לים. \u202eabc\u202c הם שרו שירים ישנים.\n\n${marked}\n\nكان الصباح هادئا فوق المدينة.`;
const hostile = `</textarea><script>document.title="taken"</script>\u202e<img src=x onerror=alert(1)>\u0007`;
const credentials = join(dir, "credentials.toml");
writeFileSync(credentials, `[[credential]]\nname = "desk"\ntoken_sha256 = "${sha256("expert-token")}"\nrole = "expert"\n
[[credential]]\nname = "us"\ntoken_sha256 = "${sha256("operator-token")}"\nrole = "operator"\n`);

const servers = [];
async function serve(...more) {
  const server = spawn(program, ["serve", "--key", key, "--port", "0", "--log", "off", ...more], { stdio: ["ignore", "ignore", "pipe"] });
  servers.push(server);
  let said = "";
  return new Promise((resolve, reject) => {
    server.stderr.on("data", (data) => {
      said += data;
      const address = /(http:\/\/\S+)\s/.exec(said);
      if (address) resolve(`${address[1]}/`);
    });
    server.on("exit", () => reject(new Error(`the server ended: ${said}`)));
  });
}

const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
let failed = 0;
async function check(name, options, act) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints = [];
  page.on("console", (message) => { if (!message.text().startsWith("Failed to load resource")) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  try {
    await act(page);
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: name !== "megabyte" });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert(wide <= 0, `the page is ${wide} pixels wider than the window`);
    // axe comes as a script, which the page's own policy refuses.
    if (options.javaScriptEnabled !== false) {
      const html = await page.content();
      const other = await browser.newContext({ viewport: { width: 1100, height: 800 }, ...options, bypassCSP: true });
      const copy = await other.newPage();
      await copy.setContent(html.replace(/<script>[\s\S]*<\/script>/, ""));
      await copy.evaluate(axe);
      const { violations } = await copy.evaluate(() => axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
      await other.close();
    }
    assert.deepEqual(complaints, []);
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.message}`);
    await page.screenshot({ path: join(shots, `${name}-failed.png`) }).catch(() => {});
  }
  await context.close();
}

const heading = (page) => page.locator("#verdict").innerText();
async function ask(page, url, text, token) {
  await page.goto(url);
  await page.fill("#text", text);
  if (token) await page.fill("#token", token);
  await page.click("button");
  await page.waitForSelector("#verdict");
}

try {
  const open = await serve();
  const closed = await serve("--credentials", credentials);
  const everybody = await serve("--credentials", credentials, "--public");

  await check("form", {}, async (page) => {
    const response = await page.goto(open);
    const headers = response.headers();
    assert.match(headers["content-security-policy"], /^default-src 'none'; .*form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/);
    assert.equal(headers["cache-control"], "no-store");
    assert.equal(headers["referrer-policy"], "no-referrer");
  });
  for (const [name, options] of [
    ["marked", {}],
    ["without-script", { javaScriptEnabled: false }],
    ["dark", { colorScheme: "dark" }],
    ["zoom-200", { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }],
    ["phone", { viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true }],
    ["forced-colours", { forcedColors: "active" }],
  ]) {
    await check(name, options, async (page) => {
      await ask(page, open, mixed);
      assert.equal(await heading(page), "The mark was found");
      assert.equal(new URL(page.url()).search, "", "no text in the address");
      assert(await page.locator(".text .e4").count() > 0, "the evidence is in colour");
      if (options.javaScriptEnabled !== false) {
        assert.equal(await page.evaluate(() => document.activeElement.id), "result");
        assert.match(await page.title(), /^The mark was found/);
      }
    });
  }
  await check("no-colour-vision", {}, async (page) => {
    const session = await page.context().newCDPSession(page);
    await session.send("Emulation.setEmulatedVisionDeficiency", { type: "achromatopsia" });
    await ask(page, open, mixed);
  });
  await check("keyboard", {}, async (page) => {
    await page.goto(open);
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.type);
    const order = [];
    for (let i = 0; i < 4; i += 1) {
      await page.keyboard.press("Tab");
      order.push(await focused());
    }
    assert.deepEqual(order, ["skip", "text", "file", "submit"]);
    await page.focus("#text");
    await page.keyboard.insertText(mixed);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", "the focus can be seen");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#verdict");
    assert.equal(await focused(), "result");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "text");
  });
  await check("right-to-left", {}, async (page) => {
    await ask(page, open, rtl);
    assert.equal(await heading(page), "The mark was found");
    const start = await page.locator(".text").evaluate((element) => {
      const range = document.createRange();
      range.selectNodeContents(element.firstChild);
      return range.getBoundingClientRect().right > element.getBoundingClientRect().left + element.clientWidth / 2;
    });
    assert(start, "Hebrew begins at the right");
    assert(!(await page.content()).split("</textarea>")[0].split("<form")[0].includes("\u202e"));
  });
  await check("hostile", {}, async (page) => {
    await ask(page, open, hostile);
    assert.notEqual(await page.title(), "taken");
    assert.equal(await page.locator("img").count(), 0);
  });
  await check("file", {}, async (page) => {
    await page.goto(open);
    await page.setInputFiles("#file", { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from(mixed) });
    await page.waitForFunction(() => document.getElementById("text").value.length > 0);
    await page.click("button");
    await page.waitForSelector("#verdict");
    assert.equal(await heading(page), "The mark was found");
    await page.setInputFiles("#file", { name: "b.bin", mimeType: "", buffer: Buffer.from([0xff, 0xfe, 0x00]) });
    await page.getByText("b.bin is not a file of plain text").waitFor();
  });
  await check("megabyte", {}, async (page) => {
    const words = Array.from({ length: 170_000 }, (_, i) => sha256(String(i)).slice(0, 5));
    const start = Date.now();
    await ask(page, open, `${words.join(" ")}\n\n${marked}`);
    console.log(`        a megabyte: ${Date.now() - start} ms`);
    await page.getByText("too long to be shown here").waitFor();
    await page.getByText("hum humbly").waitFor();
  });
  await check("no-token", {}, async (page) => {
    await page.goto(closed);
    const response = page.waitForResponse((answer) => answer.request().method() === "POST");
    await page.fill("#text", mixed);
    await page.fill("#token", "wrong");
    await page.click("button");
    assert.equal((await response).status(), 401);
    assert.equal(await heading(page), "The text was not checked");
    assert.equal(await page.inputValue("#text"), mixed);
    assert.equal(await page.inputValue("#token"), "");
  });
  await check("operator", {}, async (page) => {
    await ask(page, closed, mixed, "operator-token");
    assert(await page.getByText("p-value").count() > 0);
  });
  await check("expert", {}, async (page) => {
    await ask(page, closed, mixed, "expert-token");
    assert.equal(await heading(page), "The mark was found");
    assert.equal(await page.locator(".facts, .e1, .e2, .e3, .e4").count(), 0, "no numbers and no colours");
    assert(await page.locator(".text .s").count() > 0, "the passages");
  });
  await check("public", {}, async (page) => {
    await ask(page, everybody, mixed);
    assert.equal(await page.locator(".facts, .text").count(), 0, "the verdict and nothing more");
  });
} finally {
  await browser.close();
  servers.forEach((server) => server.kill());
}
process.exitCode = failed ? 1 : 0;
