// What is known of a matrix: lines of stars by their places in an order, kept up to date by asking what changed since.
"use strict";
window.sasMatrix = window.sasMatrix ?? {};
(() => {
  // Bodies are parts: place of the first star, number of lines, 4 bytes each, then the lines.
  function eachPart(buffer, bytesPerLine, visit) {
    const head = new DataView(buffer);
    for (let at = 0; at + 8 <= buffer.byteLength;) {
      const from = head.getUint32(at, true), lines = head.getUint32(at + 4, true), length = lines * bytesPerLine;
      visit(from, new Uint8Array(buffer, at + 8, Math.min(length, buffer.byteLength - at - 8)));
      at += 8 + length;
    }
  }

  // Lines that follow each other: each the row of a star, or counts of `perLine` stars.
  class Lines {
    constructor(matrix, order, perLine, from, count) {
      const { head } = matrix;
      this.matrix = matrix; this.order = order; this.perLine = perLine; this.from = from;
      this.count = Math.min(count, head.stars - from);
      this.isCounts = perLine >= head.fewest_counted;
      this.width = head.modules.length * (this.isCounts ? head.states.length * 2 : 1);
      this.starsPerLine = this.isCounts ? perLine : 1;
      this.bytes = new Uint8Array(Math.ceil(this.count / this.starsPerLine) * this.width);
      this.numbers = this.isCounts ? new Uint16Array(this.bytes.buffer) : null;
      this.tick = 0;
    }

    covers(order, perLine, from, to) {
      const isCounts = perLine >= this.matrix.head.fewest_counted;
      return this.order === order && this.isCounts === isCounts && (!isCounts || this.perLine === perLine)
        && from >= this.from && Math.min(to, this.matrix.head.stars) <= this.from + this.count;
    }

    // Asks for what changed; whether anything did.
    async update(signal) {
      const ask = new URLSearchParams({ from: this.from, count: this.count, order: this.order, since: this.tick });
      if (this.isCounts) ask.set("stars_per_line", this.perLine);
      const answer = await fetch(`${this.matrix.address}/matrix${this.isCounts ? "/counts" : ""}?${ask}`, { signal });
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `the coordinator answers ${answer.status}`);
      this.matrix.storedOnly = answer.headers.get("sas-stored-only");
      const body = answer.status === 204 ? null : await answer.arrayBuffer();
      this.tick = Number(answer.headers.get("sas-tick"));
      if (!body) return false;
      eachPart(body, this.width, (from, bytes) => this.bytes.set(bytes, (from - this.from) / this.starsPerLine * this.width));
      return true;
    }

    // Adds to `into` how many tasks of a module are in each state, of the stars from a place to before another.
    tally(module, from, to, into) {
      const { states } = this.matrix.head;
      const first = Math.max(0, Math.floor((from - this.from) / this.starsPerLine));
      const last = Math.min(Math.ceil((Math.min(to, this.from + this.count) - this.from) / this.starsPerLine), this.bytes.length / this.width);
      if (this.isCounts) {
        const width = this.width / 2, part = module * states.length;
        for (let line = first; line < last; line++) for (let s = 0; s < states.length; s++) into[s] += this.numbers[line * width + part + s];
      } else {
        for (let line = first; line < last; line++) { const state = this.bytes[line * this.width + module] >> 4; if (state < states.length) into[state]++; }
      }
      return into;
    }
  }

  // Names of stars by their places, a few screens of them.
  class Names {
    constructor(matrix) { this.matrix = matrix; this.order = ""; this.from = 0; this.list = []; this.asked = 0; }

    at(order, place) { return order === this.order && performance.now() - this.asked < 60000 ? this.list[place - this.from] : undefined; }

    async want(order, from, to) {
      if (this.busy || this.at(order, from) && this.at(order, Math.min(to, this.matrix.head.stars) - 1)) return false;
      this.busy = true;
      try {
        const start = Math.max(0, from - 200);
        const list = await this.ask(order, start, Math.min(to + 200 - start, 2000));
        Object.assign(this, { order, from: start, list, asked: performance.now() });
        return true;
      } finally { this.busy = false; }
    }

    async ask(order, from, count) {
      const answer = await fetch(`${this.matrix.address}/stars?${new URLSearchParams({ from, count, order })}`);
      if (!answer.ok) throw new Error(`the coordinator answers ${answer.status}`);
      return (await answer.json()).map((placed) => placed.star);
    }
  }

  async function open(run) {
    const address = `/api/v1/runs/${encodeURIComponent(run)}`;
    const answer = await fetch(`${address}/matrix/head`);
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `the coordinator answers ${answer.status}`);
    const matrix = { run, address, head: await answer.json(), storedOnly: null };
    // Modules of one group stand side by side; the order within and between groups is the pipeline's.
    const groups = [];
    matrix.head.modules.forEach((module, index) => {
      const name = module.group ?? "";
      let group = groups.find((known) => known.name === name);
      if (!group) groups.push(group = { name, columns: [] });
      group.columns.push({ index, ...module });
    });
    matrix.groups = groups;
    matrix.columns = groups.flatMap((group) => group.columns);
    return matrix;
  }

  Object.assign(window.sasMatrix, { Lines, Names, open });
})();
