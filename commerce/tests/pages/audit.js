// What a person could stumble over on the page that is open, as a list of sentences; an empty list is a good page.
const faults = [];
const wide = document.documentElement.clientWidth;
const said = (element) => {
  const text = (element.innerText || element.value || element.name || element.id || "").trim().slice(0, 40);
  return element.tagName.toLowerCase() + (element.id ? "#" + element.id : "") + ' "' + text + '"';
};
const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
  && element.getClientRects().length > 0;

// The frame of the page.
if (document.documentElement.lang === "") faults.push("the page names no language");
if (document.title.trim() === "") faults.push("the page has no title");
if (document.querySelectorAll("h1").length !== 1) faults.push("there is not exactly one h1");
if (document.documentElement.scrollWidth > wide) {
  faults.push("the page scrolls sideways: " + document.documentElement.scrollWidth + " px wide in a window of " + wide);
}
const ids = new Set();
for (const element of document.querySelectorAll("[id]")) {
  if (ids.has(element.id)) faults.push("two elements have the id " + element.id);
  ids.add(element.id);
}

// Nothing inline, nothing from elsewhere.
for (const element of document.querySelectorAll("*")) {
  for (const attribute of element.attributes) {
    if (attribute.name.startsWith("on") || (attribute.name === "style" && element.id !== "atom-checkout")) {
      faults.push(said(element) + " has the attribute " + attribute.name);
    }
  }
}
for (const script of document.scripts) if (script.src === "") faults.push("there is an inline script");
const gateway = document.querySelector("script[src^=http]");
for (const entry of performance.getEntriesByType("resource")) {
  const own = entry.name.startsWith(location.origin + "/");
  const theirs = gateway !== null && entry.name.startsWith(new URL(gateway.src).origin + "/");
  if (!own && !theirs) faults.push("loaded from elsewhere: " + entry.name);
}

// Controls: named, within reach, large enough.
for (const control of document.querySelectorAll("input:not([type=hidden]), select, textarea, button, summary, a.button, nav a")) {
  if (!seen(control)) continue;
  const box = control.getBoundingClientRect();
  const typed = control.matches("input, select, textarea");
  if (typed && control.labels.length === 0) faults.push(said(control) + " has no label");
  if (!typed && control.innerText.trim() === "") faults.push(said(control) + " has no words");
  if (box.left < 0 || box.right > wide + 0.5) {
    const scrolls = control.closest("nav");
    if (scrolls === null) faults.push(said(control) + " is outside the window");
  }
  const small = control.type === "checkbox" ? 20 : 40;
  if (box.height < small) faults.push(said(control) + " is only " + box.height + " px high");
}

// Text that stands out enough from what it stands on (WCAG 2, level AA).
const colour = (text) => {
  const parts = text.match(/[\d.]+/g).map(Number);
  return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
};
const light = (rgb) => {
  const linear = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const ground = (element) => {
  for (let at = element; at !== null; at = at.parentElement) {
    const found = colour(getComputedStyle(at).backgroundColor);
    if (found.alpha > 0.99) return found.rgb;
  }
  return [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (walker.currentNode.textContent.trim() === "" || element.closest("script, noscript, option, .skip") || !seen(element)) continue;
  const style = getComputedStyle(element);
  const lights = [light(colour(style.color).rgb), light(ground(element))].sort((a, b) => b - a);
  const ratio = (lights[0] + 0.05) / (lights[1] + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) faults.push(said(element) + " has a contrast of " + ratio.toFixed(2));
  if (size < 12) faults.push(said(element) + " is only " + size + " px large");
}
return faults;
