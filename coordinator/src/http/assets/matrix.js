// The page of a matrix: where one looks, what the pointer and the keys do, what is selected. Data and drawing are beside this file.
"use strict";
(async () => {
  const { sasMatrix } = window, root = document.getElementById("matrix");
  if (!root) return;
  const $ = (name) => root.querySelector(`[data-is="${name}"]`);
  const [canvas, map, heads, gutter, readout, chosen, orders, mixed, note] =
    ["cells", "map", "heads", "gutter", "readout", "chosen", "order", "mixed", "note"].map($);
  const say = (words) => { note.hidden = !words; if (note.textContent !== words) note.textContent = words ?? ""; };
  let matrix;
  try { matrix = await sasMatrix.open(root.dataset.run); } catch (error) { say(`The matrix cannot be shown: ${error.message}`); return; }
  const { head, columns } = matrix, painter = new sasMatrix.Painter(matrix), names = new sasMatrix.Names(matrix);
  $("tools").hidden = false; $("frame").hidden = false;
  // A run of few stars needs no more room than they do.
  if (head.stars * 28 < innerHeight / 2) $("frame").style.gridTemplateRows = `auto ${Math.max(84, head.stars * 28)}px`;
  const digits = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u2009");
  const word = (state) => state.replaceAll("_", " ").replace(/^queued$/, "queued or running");

  // From the closest look to the furthest: height of a line in pixels, and stars of a line.
  const LEVELS = [[20, 1], [13, 1], [7, 1], [4, 1], [2, 1], [1, 1], ...[2, 4, 8, 16, 64, 128, 256, 512, 1024, 2048, 4096].map((stars) => [1, stars])];
  const size = () => Math.max(1, canvas.clientHeight);
  const lines = (level) => Math.max(1, Math.floor(size() / LEVELS[level][0]));
  // Where all stars fit the lines grow, up to twice as high, to fill the room.
  const heightOf = (level) => { const [height, stars] = LEVELS[level]; return spans(level) < head.stars ? height : clamp(size() / Math.ceil(head.stars / stars), height, height * (height < 20 ? 2 : 1.4)); };
  const spans = (level) => lines(level) * LEVELS[level][1];
  const furthest = () => { const at = LEVELS.findIndex((_, level) => spans(level) >= head.stars); return at < 0 ? LEVELS.length - 1 : at; };
  const at = { level: furthest(), from: 0, place: 0, column: 0 };
  let selection = null, detail = null, overview = null, isAsking = false, wants = false;

  const clamp = (value, least, most) => Math.max(least, Math.min(value, most));
  function settle() {
    at.level = clamp(at.level, 0, furthest());
    const stars = LEVELS[at.level][1];
    at.from = clamp(Math.floor(at.from / stars) * stars, 0, Math.max(0, Math.ceil((head.stars - spans(at.level)) / stars) * stars));
    at.place = clamp(at.place, 0, head.stars - 1); at.column = clamp(at.column, 0, columns.length - 1);
  }
  const shown = () => ({ from: at.from, lines: Math.min(lines(at.level), Math.ceil((head.stars - at.from) / LEVELS[at.level][1])), perLine: LEVELS[at.level][1], height: heightOf(at.level), isMixed: mixed.checked });
  const order = () => orders.value;

  // ---- what is asked for ----

  function wanted() {
    const { from, lines, perLine } = shown(), isCounts = perLine >= head.fewest_counted;
    const stars = isCounts ? perLine : 1, visible = lines * perLine;
    const most = isCounts ? head.most_lines * stars : head.most_rows;
    const count = Math.min(most, visible * 2), before = Math.floor(Math.min(from, (count - visible) / 2) / stars) * stars;
    return { from: from - Math.max(0, before), count, visible };
  }

  async function ask() {
    wants = true;
    if (isAsking) return;
    isAsking = true;
    try {
      while (wants) {
        wants = false;
        const { perLine } = shown(), { from, count, visible } = wanted();
        const isThere = detail?.covers(order(), perLine, at.from, at.from + visible);
        const next = isThere ? detail : new sasMatrix.Lines(matrix, order(), perLine, from, count);
        if (await next.update() || next !== detail) { detail = next; draw(); }
        root.dataset.painted ??= Math.round(performance.now());
        const perMap = LEVELS[furthest()][1];
        if (!overview?.covers(order(), perMap, 0, head.stars)) overview = new sasMatrix.Lines(matrix, order(), perMap, 0, Math.min(head.stars, perMap >= head.fewest_counted ? head.stars : head.most_rows));
        if (await overview.update()) drawMap();
        if (shown().height >= 12 && await names.want(order(), at.from, at.from + visible)) { drawGutter(); tell(); }
      }
      say(matrix.storedOnly && `Only what has ended is shown: ${matrix.storedOnly}`);
    } catch (error) { say(`No news: ${error.message}`); } finally { isAsking = false; }
  }

  // ---- drawing ----

  function draw() {
    settle();
    const { from, perLine, height } = shown(), column = canvas.clientWidth / columns.length;
    const isThere = detail?.covers(order(), perLine, from, from + lines(at.level) * perLine);
    const pen = painter.draw(canvas, isThere ? detail : overview?.order === order() && perLine >= overview.perLine ? overview : null, shown());
    const box = (first, last, left, right, colour, line) => {
      const top = (first - from) / perLine * height, bottom = Math.max((last - from) / perLine * height, top + Math.max(height, 2));
      pen.strokeStyle = colour; pen.lineWidth = line;
      pen.strokeRect(left * column + 1, Math.max(-9, top) + 0.5, (right - left) * column - 2, Math.min(bottom, size() + 9) - Math.max(-9, top) - 1);
    };
    if (selection) box(selection.from, selection.to, selection.left, selection.right + 1, painter.colours.ink, 2);
    const here = Math.floor(at.place / perLine) * perLine;
    box(here, here + perLine, at.column, at.column + 1, painter.colours.focus, 2);
    drawGutter(); drawMap(); tell();
  }

  function drawMap() {
    if (!overview) return;
    const { perLine } = overview, count = Math.ceil(overview.count / overview.perLine);
    const pen = painter.draw(map, overview, { from: 0, lines: count, perLine, height: map.clientHeight / count, isMixed: false });
    if (spans(at.level) >= head.stars) return;
    const per = map.clientHeight / head.stars, top = at.from * per, height = Math.max(6, Math.min(spans(at.level), head.stars) * per);
    pen.fillStyle = painter.colours.focus + "33"; pen.strokeStyle = painter.colours.focus; pen.lineWidth = 2;
    pen.fillRect(0, top, map.clientWidth, height); pen.strokeRect(1, top + 1, map.clientWidth - 2, height - 2);
  }

  function drawGutter() {
    const { from, perLine, height } = shown(), step = Math.max(1, Math.ceil((height >= 12 ? 14 : 56) / height)), labels = [];
    for (let line = 0; line < lines(at.level) && from + line * perLine < head.stars; line += step) {
      const place = from + line * perLine, star = height >= 12 ? names.at(order(), place) : undefined;
      labels.push([line * height, star ? star.slice(6, canvas.clientWidth < 600 ? 13 : 19) : digits(place + 1), star]);
    }
    gutter.replaceChildren(...labels.map(([top, text, star]) => {
      const label = document.createElement(star ? "a" : "span");
      label.textContent = text; label.style.top = `${top}px`; label.style.lineHeight = `${Math.max(height, 12)}px`;
      if (star) { label.href = starPage(star); label.title = star; label.tabIndex = -1; }
      return label;
    }));
  }

  const starPage = (star) => `/stars/${star}?run=${matrix.run}`;

  function drawHeads() {
    const groups = matrix.groups.map((group) => {
      const box = document.createElement("div"), title = document.createElement("b");
      box.style.flexGrow = group.columns.length; title.textContent = group.name || "–"; box.append(title);
      for (const { module, doc } of group.columns) { const name = document.createElement("span"); name.textContent = module; name.title = doc; box.append(name); }
      return box;
    });
    heads.replaceChildren(...groups);
  }

  // What stands below the pointer or the keys' cell, in words.
  function tell() {
    const { perLine } = shown(), first = Math.floor(at.place / perLine) * perLine, last = Math.min(first + perLine, head.stars);
    const star = perLine === 1 ? names.at(order(), first) : undefined;
    const where = perLine === 1 ? `${star ?? "star"} (${digits(first + 1)} of ${digits(head.stars)})` : `stars ${digits(first + 1)} to ${digits(last)} of ${digits(head.stars)}`;
    const { module, doc, index } = columns[at.column];
    const text = `${where} · ${module}${doc ? ` (${doc})` : ""}: ${counted(index, first, last)}`;
    if (readout.textContent !== text) readout.textContent = text;
  }

  function counted(module, from, to) {
    const source = [detail, overview].find((known) => known?.order === order() && from >= known.from && to <= known.from + known.count);
    if (!source) return "…";
    const counts = source.tally(module, from, to, new Array(head.states.length).fill(0));
    return sasMatrix.WORST.map((state) => [state, counts[head.states.indexOf(state)]]).filter(([, count]) => count > 0)
      .map(([state, count]) => to - from === 1 ? word(state) : `${digits(count)} ${word(state)}`).join(", ") || "…";
  }

  // ---- what is selected ----

  const selected = () => columns.slice(selection.left, selection.right + 1);
  function remember() {
    const words = new URLSearchParams({ order: order(), from: at.from, stars: LEVELS[at.level][1], height: LEVELS[at.level][0] });
    if (selection) { words.set("select", `${selection.from}-${selection.to}`); words.set("modules", selected().map(({ module }) => module).join(",")); }
    history.replaceState(null, "", `#${words}`);
  }
  function recall() {
    const words = new URLSearchParams(location.hash.slice(1));
    if ([...orders.options].some((option) => option.value === words.get("order"))) orders.value = words.get("order");
    const level = LEVELS.findIndex(([height, stars]) => height === Number(words.get("height")) && stars === Number(words.get("stars")));
    if (level >= 0) at.level = level;
    at.from = at.place = Number(words.get("from")) || 0;
    const range = /^(\d+)-(\d+)$/.exec(words.get("select") ?? ""), wanted = (words.get("modules") ?? "").split(",");
    const places = columns.flatMap(({ module }, place) => wanted.includes(module) ? [place] : []);
    if (range && places.length && Number(range[1]) < Math.min(Number(range[2]), head.stars)) {
      selection = { from: Number(range[1]), to: Math.min(Number(range[2]), head.stars), left: places[0], right: places[places.length - 1] };
      at.place = selection.from; at.column = selection.left;
    } else selection = null;
  }

  let telling = 0;
  async function showChosen() {
    const mine = ++telling;
    chosen.hidden = !selection;
    if (!selection) return;
    const { from, to } = selection, count = to - from, modules = selected();
    const is = (name) => chosen.querySelector(`[data-is="${name}"]`);
    is("what").textContent = `${digits(count)} ${count === 1 ? "star" : "stars"} × ${modules.length} ${modules.length === 1 ? "module" : "modules"}`;
    const every = modules.length === columns.length ? [] : modules.map(({ module }) => module);
    const words = ["--run", matrix.run, ...every.flatMap((module) => ["--module", module])];
    const isSome = count < head.stars, save = is("save");
    save.hidden = !isSome || count <= 10 || count > 4096;
    is("many").hidden = !isSome || count <= 4096;
    let stars = [];
    if (isSome && count <= 10) { try { stars = await names.ask(order(), from, count); } catch { /* the commands do without */ } }
    if (mine !== telling) return;
    const of = stars.length ? stars.flatMap((star) => ["--star", star]) : save.hidden ? [] : ["--stars-from", "stars.txt"];
    const commands = [["list", `sas task list ${[...words, ...of].join(" ")}`], ["retry", `sas task retry ${[...words, ...of].join(" ")} --dry-run`]];
    for (const [name, line] of commands) { is(name).textContent = line; is(`copy-${name}`).dataset.copy = line; }
    const query = new URLSearchParams([...every.map((module) => ["module", module]), ...stars.map((star) => ["star", star])]);
    is("tasks").href = `/runs/${matrix.run}/tasks?${query}`;
    const open = is("open"); open.hidden = count !== 1 || !stars.length;
    if (!open.hidden) open.href = starPage(stars[0]);
  }
  chosen.querySelector('[data-is="save"]').addEventListener("click", async () => {
    try {
      const stars = await names.ask(order(), selection.from, selection.to - selection.from);
      const link = document.createElement("a"); link.download = "stars.txt";
      link.href = URL.createObjectURL(new Blob([stars.join("\n"), "\n"], { type: "text/plain" }));
      link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    } catch (error) { say(`The stars cannot be saved: ${error.message}`); }
  });

  function select(anchor, place, column) {
    const { perLine } = shown(), line = (of) => Math.floor(of / perLine) * perLine;
    selection = {
      from: line(Math.min(anchor.place, place)), to: Math.min(line(Math.max(anchor.place, place)) + perLine, head.stars),
      left: Math.min(anchor.column, column), right: Math.max(anchor.column, column),
    };
  }
  function changed() { draw(); remember(); ask(); }

  // ---- pointer ----

  const pointed = (event) => {
    const box = canvas.getBoundingClientRect(), { from, perLine, height } = shown();
    return { place: from + Math.floor(clamp(event.clientY - box.top, 0, size() - 1) / height) * perLine, column: Math.floor(clamp(event.clientX - box.left, 0, box.width - 1) / box.width * columns.length) };
  };
  function zoom(level, place, share) {
    at.level = clamp(level, 0, furthest());
    at.from = Math.round(place - share * spans(at.level)); at.place = place; changed();
  }
  canvas.addEventListener("wheel", (event) => {
    if (event.shiftKey) { at.from += Math.sign(event.deltaX || event.deltaY) * LEVELS[at.level][1] * Math.max(1, Math.round(lines(at.level) / 8)); }
    else if (event.deltaY > 0 && at.level >= furthest()) return;
    else { const { place } = pointed(event), box = canvas.getBoundingClientRect(); event.preventDefault(); zoom(at.level + Math.sign(event.deltaY), place, (event.clientY - box.top) / size()); return; }
    event.preventDefault(); changed();
  }, { passive: false });
  let anchor = null, pulled = false;
  canvas.addEventListener("pointerdown", (event) => { canvas.focus(); canvas.setPointerCapture(event.pointerId); anchor = pointed(event); pulled = false; });
  canvas.addEventListener("pointermove", (event) => {
    const here = pointed(event);
    if (here.place === at.place && here.column === at.column) return;
    Object.assign(at, here);
    if (anchor) { pulled = true; select(anchor, here.place, here.column); }
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (anchor && pulled) showChosen(); else if (anchor) { Object.assign(at, pointed(event)); select(at, at.place, at.column); showChosen(); }
    anchor = null; changed();
  });
  canvas.addEventListener("dblclick", (event) => { const { place } = pointed(event); zoom(at.level - 4, place, 0.5); });
  const drag = (event) => {
    if (!event.buttons) return;
    const box = map.getBoundingClientRect();
    at.from = Math.round((event.clientY - box.top) / box.height * head.stars - spans(at.level) / 2); at.place = at.from + spans(at.level) / 2 | 0; changed();
  };
  map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); drag(event); });
  map.addEventListener("pointermove", drag);

  // ---- keys ----

  let keyAnchor = null;
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const stars = LEVELS[at.level][1], page = Math.max(1, lines(at.level) - 1) * stars, share = clamp((at.place - at.from) / spans(at.level), 0, 1);
    const moves = { ArrowDown: [stars, 0], ArrowUp: [-stars, 0], PageDown: [page, 0], PageUp: [-page, 0], Home: [-Infinity, 0], End: [Infinity, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
    const move = moves[event.key];
    if (move) {
      if (event.shiftKey) keyAnchor ??= { place: at.place, column: at.column }; else keyAnchor = null;
      at.place = clamp(at.place + move[0], 0, head.stars - 1); at.column = clamp(at.column + move[1], 0, columns.length - 1);
      if (at.place < at.from) at.from = at.place; else if (at.place >= at.from + spans(at.level)) at.from = at.place - spans(at.level) + stars;
      if (event.shiftKey) { select(keyAnchor, at.place, at.column); showChosen(); }
      changed();
    } else if (event.key === "+" || event.key === "=") zoom(at.level - 1, at.place, share);
    else if (event.key === "-") zoom(at.level + 1, at.place, share);
    else if (event.key === "0") zoom(furthest(), at.place, share);
    else if (event.key === " ") { select(at, at.place, at.column); showChosen(); changed(); }
    else if (event.key === "Escape") { selection = keyAnchor = null; showChosen(); changed(); }
    else if (event.key === "Enter") { const star = stars === 1 && names.at(order(), at.place); if (star) location.href = starPage(star); else zoom(at.level - 3, at.place, share); }
    else return;
    event.preventDefault(); event.stopPropagation();
  });
  $("in").addEventListener("click", () => zoom(at.level - 1, at.from + spans(at.level) / 2 | 0, 0.5));
  $("out").addEventListener("click", () => zoom(at.level + 1, at.from + spans(at.level) / 2 | 0, 0.5));
  $("all").addEventListener("click", () => zoom(furthest(), 0, 0));
  orders.addEventListener("change", () => { selection = null; at.from = at.place = 0; showChosen(); changed(); });
  mixed.addEventListener("change", draw);

  // ---- begin, and go on ----

  recall(); drawHeads(); settle(); showChosen(); draw(); ask();
  addEventListener("hashchange", () => { recall(); showChosen(); changed(); });
  new ResizeObserver(() => { draw(); ask(); }).observe(canvas);
  const recolour = () => { painter.recolour(); draw(); };
  new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  setInterval(() => { if (!document.hidden) ask(); }, 1500);
})();
