// The drop zone of the new-batch form. Without this module the form works as it is.

const form = document.querySelector("[data-upload]");
const zone = form.querySelector("[data-drop]");
const input = form.querySelector('input[type="file"]');
const chosen = form.querySelector("[data-chosen]");

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let i = 0;
  for (; bytes >= 1000 && i < 3; i += 1) bytes /= 1000;
  return `${i ? bytes.toFixed(1) : bytes} ${units[i]}`;
}

function show() {
  const files = [...input.files];
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const names = files.slice(0, 3).map((file) => file.name).join(", ");
  const more = files.length > 3 ? ` and ${files.length - 3} more` : "";
  chosen.textContent = files.length ? `${names}${more}: ${files.length} file(s), ${size(total)}` : "";
}

for (const type of ["dragenter", "dragover"]) {
  zone.addEventListener(type, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
}
for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("over"));

zone.addEventListener("drop", (event) => {
  event.preventDefault();
  const all = new DataTransfer(); // dropping twice adds, as people expect
  for (const file of [...input.files, ...event.dataTransfer.files]) all.items.add(file);
  input.files = all.files;
  show();
});
input.addEventListener("change", show);

form.addEventListener("submit", () => {
  const button = form.querySelector("[data-submit]");
  button.setAttribute("aria-busy", "true");
  button.textContent = "Uploading…";
  button.disabled = true;
});
addEventListener("pageshow", (event) => event.persisted && location.reload()); // back: an enabled form again
show();
