// Keeps an open page true, and makes it quick to use. Every page works without it.
"use strict";

const live = document.querySelector("[data-live]");
let stream = null;

// What people are typing, have opened or chosen stays as it is when the page changes around it.
const keep = {
  morphStyle: "innerHTML",
  ignoreActiveValue: true,
  callbacks: {
    beforeNodeMorphed: (before, after) => {
      if (before.nodeType !== Node.ELEMENT_NODE) return true;
      if (before.hasAttribute("data-keep")) return false;
      if (before.tagName === "DETAILS") after.toggleAttribute("open", before.open);
      return true;
    },
  },
};

function follow() {
  if (!live || stream) return;
  stream = new EventSource(location.href);
  stream.onmessage = (event) => {
    Idiomorph.morph(live, event.data, keep);
    tellTimes();
  };
  stream.addEventListener("gone", () => location.reload());
}

function leave() {
  stream?.close();
  stream = null;
}

// A page nobody looks at costs nothing.
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
addEventListener("pagehide", leave);
if (!document.hidden) follow();

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function span(seconds) {
  for (const [index, [size, name]] of UNITS.entries()) {
    if (seconds < size) continue;
    const whole = Math.floor(seconds / size);
    const next = UNITS[index + 1];
    const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
    return `${whole} ${name}` + (rest && whole < 10 ? ` ${rest} ${next[1]}` : "");
  }
  return "0 s";
}

function tellTimes() {
  for (const element of document.querySelectorAll("time[datetime]:not([data-exact])")) {
    const seconds = (Date.now() - Date.parse(element.dateTime)) / 1000;
    const text = seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
    if (element.textContent !== text) element.textContent = text;
  }
}
tellTimes();
setInterval(tellTimes, 1000);

// What cannot be undone is asked about first.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy && navigator.clipboard) {
    await navigator.clipboard.writeText(copy.dataset.copy);
    const said = copy.textContent;
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = said), 1500);
  }
  if (event.target.closest(".menu")) document.querySelector(".side").classList.toggle("open");
});

// A filter that is chosen holds at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("form.filter select")) event.target.form.requestSubmit();
});

// g and a letter go to a place, / to the search, ? says so.
let going = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) return;
  const help = document.querySelector("dialog.keys");
  if (event.key === "?") help?.showModal();
  else if (event.key === "/") {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  } else if (going) {
    going = false;
    document.querySelector(`.side a[data-key="${CSS.escape(event.key)}"]`)?.click();
  } else if (event.key === "g") {
    going = true;
    setTimeout(() => (going = false), 1500);
  }
});
