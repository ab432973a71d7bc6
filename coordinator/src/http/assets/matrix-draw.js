// Draws a matrix: one pixel a cell on a canvas that nobody sees, then as large as it is shown; letters where there is room.
"use strict";
(() => {
  const { sasMatrix } = window;
  // What must be seen first, however small: within a cell from left to right.
  const WORST = ["failed", "errored", "upstream_failed", "cancelled", "superseded", "waiting", "queued", "blocked", "skipped", "succeeded"];
  const BAR = ["failed", "errored", "upstream_failed", "cancelled", "superseded", "waiting", "queued", "succeeded", "skipped", "blocked"];
  const LETTERS = { blocked: "b", queued: "q", waiting: "w", succeeded: "S", failed: "F", errored: "E", skipped: "K", upstream_failed: "U", cancelled: "C", superseded: "N" };
  // Parts of a cell that shows many stars.
  const PARTS = 16;

  function colours(states) {
    // A colour that depends on the theme is known only as an element has it.
    const probe = document.body.appendChild(document.createElement("i"));
    const css = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
    const numbers = states.map((state) => {
      const [r, g, b] = css(`--${state}`).match(/\d+/g).map(Number);
      return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
    });
    // What is read on each colour.
    const inks = numbers.map((number) => 0.3 * (number & 255) + 0.59 * (number >> 8 & 255) + 0.11 * (number >> 16 & 255) > 150 ? "#16202c" : "#fff");
    const rest = { ink: css("--ink"), soft: css("--soft"), card: css("--card"), focus: css("--focus"), line: css("--line") };
    probe.remove();
    return { numbers, inks, ...rest };
  }

  class Painter {
    constructor(matrix) {
      this.matrix = matrix; this.cells = document.createElement("canvas"); this.pen = this.cells.getContext("2d");
      const order = (names) => names.map((name) => matrix.head.states.indexOf(name)).filter((at) => at >= 0);
      this.worst = order(WORST); this.bar = order(BAR); this.counts = new Uint32Array(matrix.head.states.length);
      this.recolour();
    }

    recolour() { this.colours = colours(this.matrix.head.states); }

    letter(state) { return LETTERS[this.matrix.head.states[state]] ?? "?"; }

    // The cells of so many lines, `perLine` stars each, as an image that is to be enlarged.
    image(lines, from, count, perLine, isMixed) {
      const { columns, head } = this.matrix, parts = perLine > 1 && isMixed ? PARTS : 1;
      const width = columns.length * parts;
      this.cells.width = width; this.cells.height = count;
      const image = this.pen.createImageData(width, count), pixels = new Uint32Array(image.data.buffer);
      for (let line = 0; line < count; line++) {
        const start = from + line * perLine;
        if (start >= head.stars) break;
        columns.forEach((column, at) => {
          const counts = lines.tally(column.index, start, start + perLine, this.counts.fill(0));
          this.cell(pixels, line * width + at * parts, parts, counts);
        });
      }
      this.pen.putImageData(image, 0, 0);
      return this.cells;
    }

    cell(pixels, at, parts, counts) {
      const { numbers } = this.colours;
      if (parts === 1) {
        const worst = this.worst.find((state) => counts[state] > 0);
        if (worst !== undefined) pixels[at] = numbers[worst];
        return;
      }
      let all = 0, filled = 0, told = 0;
      for (const count of counts) all += count;
      for (const state of this.bar) {
        if (!counts[state]) continue;
        told += counts[state];
        // Whatever is there has a part of its own, as long as there are any.
        const end = Math.min(parts, Math.max(filled + 1, Math.round(told / all * parts)));
        pixels.fill(numbers[state], at + filled, at + end); filled = end;
      }
    }

    // Draws a part of the matrix. `shown`: from, lines, perLine, height of a line, isMixed.
    draw(canvas, lines, shown) {
      const scale = devicePixelRatio || 1, pen = canvas.getContext("2d");
      const width = canvas.clientWidth, height = canvas.clientHeight;
      if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
      if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
      pen.setTransform(scale, 0, 0, scale, 0, 0); pen.imageSmoothingEnabled = false;
      pen.clearRect(0, 0, width, height);
      const column = width / this.matrix.columns.length;
      if (lines) pen.drawImage(this.image(lines, shown.from, shown.lines, shown.perLine, shown.isMixed), 0, 0, width, shown.lines * shown.height);
      pen.fillStyle = this.colours.card;
      if (column > 5) for (let at = 1; at < this.matrix.columns.length; at++) pen.fillRect(at * column - 0.5, 0, 1, shown.lines * shown.height);
      if (shown.height >= 6) for (let line = 1; line < shown.lines; line++) pen.fillRect(0, line * shown.height - 0.5, width, 1);
      if (lines && shown.perLine === 1 && shown.height >= 12 && column >= 10) this.letters(pen, lines, shown, column);
      return pen;
    }

    letters(pen, lines, shown, column) {
      pen.font = `700 ${Math.min(shown.height - 3, 12)}px ui-monospace, "DejaVu Sans Mono", monospace`;
      pen.textAlign = "center"; pen.textBaseline = "middle";
      const last = Math.min(shown.lines, this.matrix.head.stars - shown.from);
      for (let line = 0; line < last; line++) this.matrix.columns.forEach(({ index }, at) => {
        const state = lines.tally(index, shown.from + line, shown.from + line + 1, this.counts.fill(0)).findIndex((count) => count > 0);
        const x = (at + 0.5) * column, y = (line + 0.5) * shown.height + 0.5;
        pen.fillStyle = this.colours.inks[state] ?? this.colours.ink; pen.fillText(this.letter(state), x, y);
      });
    }
  }

  Object.assign(sasMatrix, { Painter, LETTERS, WORST });
})();
