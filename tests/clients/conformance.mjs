// What clients in JavaScript rely on: the package openai, and the AI SDK. The server's address is the argument.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const baseURL = process.argv[2] + "/v1";
const api = new OpenAI({ baseURL, apiKey: "require", maxRetries: 0 });
const options = { model: "gemma", messages: [{ role: "user", content: "Tell me about the sea." }], max_tokens: 40, seed: 7 };

const whole = await api.chat.completions.create(options);
assert.ok(whole.watermark.applied && whole.watermark.marked_tokens > 0);
const stream = await api.chat.completions.create({ ...options, stream: true, stream_options: { include_usage: true } });
let [text, usage, mark] = ["", null, null];
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta.content ?? "";
  if (chunk.usage) [usage, mark] = [chunk.usage, chunk.watermark];
}
assert.equal(text, whole.choices[0].message.content);
assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
assert.deepEqual(mark, whole.watermark);
await assert.rejects(api.chat.completions.create({ ...options, temperature: 0 }), (error) => {
  assert.equal(error.status, 400);
  assert.equal(error.param, "temperature");
  return true;
});
await assert.rejects(new OpenAI({ baseURL, apiKey: "nobody", maxRetries: 0 }).models.list(), { status: 401 });
const left = await api.completions.create({ model: "gemma", prompt: "The sea", max_tokens: 4000, stream: true, ignore_eos: true });
for await (const _ of left) break;

const model = createOpenAICompatible({ name: "wmgen", baseURL, apiKey: "default", includeUsage: true })("gemma");
const prompt = "Tell me about the sea.";
const written = await generateText({ model, prompt, maxOutputTokens: 20, maxRetries: 0 });
assert.ok(written.text.length > 0 && written.usage.outputTokens > 0);
const streamed = streamText({ model, system: "Be kind.", prompt, maxOutputTokens: 20, maxRetries: 0 });
let pieces = 0;
for await (const _ of streamed.textStream) pieces += 1;
assert.ok(pieces > 0 && (await streamed.usage).outputTokens > 0);
console.log("openai and the AI SDK in JavaScript: passed");
