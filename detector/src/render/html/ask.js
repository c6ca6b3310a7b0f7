"use strict";
const field = document.getElementById("text");
const file = document.getElementById("file");
const said = document.getElementById("said");
const limit = Number(field.dataset.limit);
async function take(chosen) {
  if (!chosen) return;
  if (chosen.size > limit) {
    said.textContent = `${chosen.name} is too long: at most ${limit} bytes are taken.`;
    return;
  }
  try {
    field.value = new TextDecoder("utf-8", { fatal: true }).decode(await chosen.arrayBuffer());
    said.textContent = `${chosen.name} is in the field above.`;
  } catch {
    said.textContent = `${chosen.name} is not a file of plain text in UTF-8.`;
  }
}
document.getElementById("file-row").hidden = false;
file.addEventListener("change", () => take(file.files[0]));
const hasFile = (event) => event.dataTransfer.types.includes("Files");
field.addEventListener("dragover", (event) => { if (hasFile(event)) event.preventDefault(); });
field.addEventListener("drop", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
