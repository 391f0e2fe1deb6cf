// Files that people add, each with its path: {file, path}. Folders are looked into; what is hidden is left out.

const visible = (name) => !name.startsWith(".");

export function filesOfInput(input) {
  return [...input.files]
    .map((file) => ({ file, path: file.webkitRelativePath || file.name }))
    .filter(({ path }) => !path.includes("/") || path.split("/").every(visible));
}

// The transfer is readable only while the event is handled: everything is taken from it before the first wait.
export async function filesOfDrop(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const found = [];
  for (const { entry, file } of taken) {
    if (entry?.isDirectory) await walk(entry, found);
    else if (file) found.push({ file, path: file.name });
  }
  return found;
}

async function walk(folder, found) {
  const reader = folder.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (!some.length) return; // at most 100 at a time are told: ask until there are none
    for (const entry of some.filter(({ name }) => visible(name))) {
      if (entry.isDirectory) await walk(entry, found);
      else found.push({ file: await fileOf(entry), path: entry.fullPath.replace(/^\//, "") });
    }
  }
}

// A file that cannot be opened is an empty one: the list then says that it cannot be read.
function fileOf(entry) {
  return new Promise((resolve) => entry.file(resolve, () => resolve(new File([], entry.name))));
}
