// The new-batch form: choosing a preset ticks its languages, as long as nobody has ticked others.
// Without this module the server does the same.

const form = document.querySelector("[data-upload]");
const radios = form.querySelectorAll('[data-presets] input[type="radio"]');
const boxes = form.querySelectorAll('[data-languages-chosen] input[type="checkbox"]');
const languages = ({ dataset }) => dataset.languages.split(" ").filter(Boolean);
const ticked = () => [...boxes].filter((box) => box.checked).map((box) => box.value);

function isAsPreset(radio) {
  const there = ticked();
  const own = languages(radio);
  return there.length === own.length && own.every((language) => there.includes(language));
}

form.querySelector('[name="as_ticked"]').value = "1"; // what is ticked is what is meant
let chosen = [...radios].find((radio) => radio.checked);
for (const radio of radios) {
  radio.addEventListener("change", () => {
    if (!chosen || isAsPreset(chosen)) for (const box of boxes) box.checked = languages(radio).includes(box.value);
    chosen = radio;
  });
}
