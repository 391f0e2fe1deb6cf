// The new-batch form: files are uploaded one by one as soon as they are added, and the form starts the batch.
// Without this module the form works as it is: the files then go with it.

import { Draft } from "./draft.js";
import { filesOfDrop, filesOfInput } from "./dropped.js";
import { FileList } from "./filelist.js";
import { Sending } from "./sending.js";

const form = document.querySelector("[data-upload]");
const zone = form.querySelector("[data-drop]");
const input = zone.querySelector('input[type="file"]');
const folderInput = zone.querySelector("[data-folder-input]");
const nameField = form.querySelector('[name="name"]');

const list = new FileList(form.querySelector("[data-files]"));
const sending = new Sending({
  endpoint: form.dataset.upload,
  piece: Number(form.dataset.piece),
  token: form.querySelector('[name="csrfmiddlewaretoken"]').value,
  submission: form.querySelector('[name="submission"]').value,
});
const draft = new Draft(form, list, sending);

function add(found) {
  if (!draft.add(found)) return;
  const folder = found.map(({ path }) => path.split("/")).find((parts) => parts.length > 1);
  if (folder && !nameField.value) nameField.value = folder[0].slice(0, nameField.maxLength);
}

// The files go with the form no more.
zone.classList.add("scripted");
input.required = false;
input.tabIndex = -1; // the button beside it does the same, and does not say “no file chosen”
input.removeAttribute("name");
for (const element of form.querySelectorAll("[data-scripted]")) element.hidden = false;
for (const element of form.querySelectorAll("[data-unscripted]")) element.hidden = true;

for (const chooser of [input, folderInput]) {
  chooser.addEventListener("change", () => {
    add(filesOfInput(chooser));
    chooser.value = ""; // the same ones may be chosen again
  });
}
for (const button of zone.querySelectorAll("[data-choose]")) {
  button.addEventListener("click", () => (button.dataset.choose ? folderInput : input).click());
}

for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault()); // beside the zone
for (const type of ["dragenter", "dragover"]) zone.addEventListener(type, () => zone.classList.add("over"));
for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("over"));
zone.addEventListener("drop", async (event) => {
  list.tell("Looking into the folders…");
  const found = await filesOfDrop(event.dataTransfer);
  list.tell("");
  add(found);
});

addEventListener("pageshow", (event) => event.persisted && location.reload()); // back: what is true now
if (new URLSearchParams(location.search).has("draft")) draft.load();
