// Keys, the switch of colours, commands to copy, and drawings that are wider than the window.
"use strict";
(() => {
  const root = document.documentElement, theme = document.getElementById("theme"), help = document.getElementById("help");
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  if (theme) {
    const name = () => { theme.textContent = isDark() ? "☀ light" : "☾ dark"; };
    theme.hidden = false; name();
    theme.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark"; name();
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it lasts as long as the page */ }
    });
  }

  const showCopy = () => { if (navigator.clipboard) for (const button of document.querySelectorAll(".copy[hidden]")) button.hidden = false; };
  showCopy();
  document.addEventListener("sas:refreshed", showCopy);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.(".copy");
    if (!button) return;
    try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = "copied"; } catch { button.textContent = "not copied"; }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });

  // Where a drawing begins is in its middle.
  for (const drawing of document.querySelectorAll(".dag")) drawing.scrollLeft = (drawing.scrollWidth - drawing.clientWidth) / 2;

  function keys() {
    let box = document.getElementById("keys");
    if (!box) {
      box = document.createElement("dialog"); box.id = "keys";
      const rows = [...document.querySelectorAll("nav [data-key]")].map((link) => [`g ${link.dataset.key}`, link.textContent]);
      rows.push(["/", "search a run or a star"], ["t", "light or dark"], ["?", "these keys"], ["Esc", "close"]);
      const table = document.createElement("table");
      for (const [key, what] of rows) {
        const row = table.insertRow(); const pressed = document.createElement("kbd");
        pressed.textContent = key; row.insertCell().append(pressed); row.insertCell().textContent = what;
      }
      const form = document.createElement("form"); form.method = "dialog";
      const close = document.createElement("button"); close.textContent = "Close"; form.append(close);
      box.append(table, form); document.body.append(box);
    }
    box.showModal();
  }
  if (help) { help.hidden = false; help.addEventListener("click", keys); }

  let began = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, [data-own-keys]")) return;
    if (event.key === "g") { began = Date.now(); return; }
    if (Date.now() - began < 1500) {
      began = 0;
      const link = document.querySelector(`nav [data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); return; }
    }
    if (event.key === "/") { event.preventDefault(); document.querySelector(".search input")?.focus(); }
    else if (event.key === "?") { event.preventDefault(); keys(); }
    else if (event.key === "t") theme?.click();
  });
})();
