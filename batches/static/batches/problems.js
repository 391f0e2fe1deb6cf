// The problems of a batch as the server groups them: asked for anew when there is another, at most once a
// second. What a person has ticked, chosen or folded stays so.

const AT_MOST_EVERY = 1000;

export class Problems {
  constructor(place) {
    this.place = place;
    this.stale = false;
  }

  // Something has changed. Where it cannot be asked for now, it is when there is a line again.
  changed() {
    this.stale = true;
    this.timer ??= setTimeout(() => this.refresh(), AT_MOST_EVERY);
  }

  lineIsBack() {
    if (this.stale) this.changed();
  }

  async refresh() {
    this.stale = false; // before asking: what happens meanwhile may be missing in the answer
    let failed = false;
    try {
      const response = await fetch(this.place.dataset.problems, { redirect: "error" });
      if (!response.ok) throw new Error(response.statusText);
      this.show(await response.text());
    } catch {
      failed = true;
    }
    this.timer = null;
    if (this.stale) this.changed();
    this.stale ||= failed;
  }

  show(html) {
    const template = document.createElement("template");
    template.innerHTML = html; // our own server's, with every user's word escaped there
    for (const field of template.content.querySelectorAll("input, select")) this.keepField(field);
    for (const details of template.content.querySelectorAll("details")) this.keepFold(details);
    const focus = this.pathOf(document.activeElement);
    this.place.replaceChildren(template.content);
    if (focus) this.place.querySelector(focus)?.focus();
  }

  keepField(field) {
    if (field.type === "hidden") return;
    const before = this.place.querySelector(this.pathOf(field));
    if (!before) return;
    if (field.type === "checkbox") field.checked = before.checked;
    else field.value = before.value;
  }

  keepFold(details) {
    const before = this.place.querySelector(`details[data-key="${details.dataset.key}"]`);
    if (before) details.open = before.open;
  }

  // The same field in another rendering; null for what is none.
  pathOf(element) {
    if (!element?.name) return null;
    const value = element.type === "checkbox" || element.localName === "button" ? `[value="${element.value}"]` : "";
    return `${element.localName}[name="${element.name}"]${value}`;
  }
}
