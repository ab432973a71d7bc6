// Keeps a page up to date: asks for its own address again while somebody looks, and changes what differs.
"use strict";
(() => {
  const EVERY = 2000, PATIENCE = 8000;
  const said = document.getElementById("live");
  if (!said) return;
  let seen = Date.now(), busy = false;

  const mayChange = (node) => !(node.nodeType === 1 && (node.hasAttribute("data-keep") || node.contains(document.activeElement) && node.matches("form, input, textarea, select")));

  // Makes `old` like `young`, touching only what differs, so that focus, scrolling and selections stay.
  function morph(old, young) {
    if (!mayChange(old)) return;
    if (old.nodeType !== young.nodeType || old.nodeName !== young.nodeName || old.id !== young.id) { old.replaceWith(young.cloneNode(true)); return; }
    if (old.nodeType !== 1) { if (old.data !== young.data) old.data = young.data; return; }
    if (old.isEqualNode(young)) return;
    for (const { name } of [...old.attributes]) if (!young.hasAttribute(name) && !(name === "open" || name === "hidden" && old.matches("button"))) old.removeAttribute(name);
    for (const { name, value } of young.attributes) if (old.getAttribute(name) !== value && !(name === "hidden" && old.matches("button"))) old.setAttribute(name, value);
    const now = [...old.childNodes], next = [...young.childNodes];
    const byId = new Map(now.filter((node) => node.id).map((node) => [node.id, node]));
    next.forEach((node, at) => {
      let twin = old.childNodes[at];
      const known = node.id && byId.get(node.id);
      if (known && known !== twin) { old.insertBefore(known, twin ?? null); twin = known; }
      if (twin) morph(twin, node); else old.append(node.cloneNode(true));
    });
    while (old.childNodes.length > next.length) old.lastChild.remove();
  }

  const isStill = () => document.querySelector("main[data-still], main [data-still]") !== null;

  function say() {
    // A page that stays as it is asks for nothing, so that nobody can be away.
    if (isStill()) { said.classList.remove("away"); if (said.textContent) said.textContent = ""; return; }
    const away = Date.now() - seen > EVERY * 2.5;
    said.classList.toggle("away", away && !document.hidden);
    const text = away ? `■ no answer since ${new Date(seen).toLocaleTimeString()}` : "● live";
    if (said.textContent !== text) said.textContent = text;
  }

  async function refresh() {
    if (busy || document.hidden || isStill()) return;
    busy = true;
    const stop = new AbortController(), timer = setTimeout(() => stop.abort(), PATIENCE);
    try {
      const answer = await fetch(location.href, { signal: stop.signal, cache: "no-store", headers: { Accept: "text/html" } });
      const young = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = young.getElementById("main");
      if (main && !answer.redirected) {
        morph(document.getElementById("main"), main);
        const lights = young.getElementById("lights");
        if (lights) { lights.querySelector("#live")?.replaceWith(said.cloneNode(true)); morph(document.getElementById("lights"), lights); }
        seen = Date.now();
        document.dispatchEvent(new Event("sas:refreshed"));
      }
    } catch { /* said below */ } finally { clearTimeout(timer); busy = false; }
    say();
  }

  setInterval(refresh, EVERY);
  setInterval(say, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  say();
})();
