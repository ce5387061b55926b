// The hands of the person who steers: keys, sliders or buttons, a drag across the image, a gamepad.

const UP = "QWERTYUIOP", DOWN = "ASDFGHJKL;";
const CODES = { ";": "Semicolon" };
const codeOf = (letter) => CODES[letter] ?? `Key${letter}`;
const DEAD = 0.15; // of a gamepad's stick, which never rests exactly in the middle

// Continuous actions: a slider for each, with one key to either side.
class Sliders {
  constructor(box, facts, takeOver) {
    this.takeOver = takeOver;
    this.keys = new Map();
    this.rows = facts.actions.map((name, i) => this.row(box, name, i, facts.actions.length));
  }

  row(box, name, i, count) {
    const line = document.createElement("div"), keys = [DOWN[i], UP[i]];
    line.className = "action";
    line.innerHTML = `<label for="action-${i}"></label><kbd></kbd><input type="range" id="action-${i}" min="-1" max="1" step="0.01" value="0"><kbd></kbd><output></output>`;
    const label = line.querySelector("label"), slider = line.querySelector("input"), output = line.querySelector("output");
    label.textContent = label.title = name;
    const row = { slider, output, value: 0, held: 0 };
    line.querySelectorAll("kbd").forEach((cap, side) => {
      const codes = keys[side] ? [codeOf(keys[side])] : [];
      if (count === 1) codes.push(["ArrowLeft", "ArrowRight"][side]);
      if (count === 2 && i === 0) codes.push(["ArrowLeft", "ArrowRight"][side]);
      if (count === 2 && i === 1) codes.push(["ArrowDown", "ArrowUp"][side]);
      cap.textContent = keys[side] ?? "";
      cap.hidden = !keys[side];
      for (const code of codes) this.keys.set(code, { row, sign: side ? 1 : -1, cap });
    });
    slider.addEventListener("input", () => { this.takeOver(); row.value = Number(slider.value); });
    // A finger that lets go lets the joint go; the arrow keys of a focused slider leave it where they put it.
    for (const event of ["pointerup", "pointercancel"]) slider.addEventListener(event, () => { row.value = 0; slider.value = "0"; });
    box.append(line);
    return row;
  }

  key(event, down) {
    const key = this.keys.get(event.code);
    if (!key || (event.code.startsWith("Arrow") && event.target.tagName === "INPUT")) return false;
    key.cap.classList.toggle("pressed", down);
    key.down = down;
    if (down) this.takeOver();
    return true;
  }

  press() {}
  release() { for (const key of this.keys.values()) { key.down = false; key.cap.classList.remove("pressed"); } }

  // A drag across the image, or a stick, pushes action i.
  push(i, value) {
    const row = this.rows[i];
    if (!row) return;
    const begins = row.held === 0 && value !== 0;
    row.held = value;
    if (begins) this.takeOver(); // only then, so that one can pause while a stick is held
  }

  action() {
    const pushed = new Map();
    for (const { row, sign, down } of this.keys.values()) if (down) pushed.set(row, (pushed.get(row) ?? 0) + sign);
    return Float32Array.from(this.rows, (row) => Math.max(-1, Math.min(1, (pushed.has(row) ? Math.sign(pushed.get(row)) : row.value) + row.held)));
  }

  show(action) {
    this.rows.forEach(({ slider, output }, i) => {
      slider.value = action[i];
      // The thumb's middle goes from half its width to half its width before the end.
      slider.style.setProperty("--at", `calc(10px + (100% - 20px) * ${(action[i] + 1) / 2})`);
      output.textContent = action[i].toFixed(2).replace("-", "−");
    });
  }
}

// Discrete actions: buttons for the choices of each group, with a row of the keyboard for each of the first three.
class Choices {
  constructor(box, facts, takeOver) {
    this.takeOver = takeOver;
    this.groups = facts.groups;
    this.chosen = facts.groups.map(() => 0);
    this.keys = new Map();
    this.buttons = facts.groups.map((count, group) => {
      const row = document.createElement("div");
      row.className = "buttons";
      row.setAttribute("role", "group");
      row.setAttribute("aria-label", facts.groups.length > 1 ? `Action ${group + 1}` : "Action");
      box.append(row);
      return Array.from({ length: count }, (_, choice) => this.button(row, group, choice));
    });
  }

  button(row, group, choice) {
    const button = document.createElement("button"), key = [UP, DOWN, "ZXCVBNM"][group]?.[choice];
    button.type = "button";
    button.textContent = `${choice} `;
    if (key) button.insertAdjacentHTML("beforeend", `<kbd>${key}</kbd>`);
    button.addEventListener("click", () => this.choose(group, choice));
    if (key) this.keys.set(codeOf(key), { group, choice });
    row.append(button);
    return button;
  }

  choose(group, choice) {
    this.takeOver();
    this.chosen[group] = choice;
  }

  key(event, down) {
    const key = this.keys.get(event.code);
    if (key && down) this.choose(key.group, key.choice);
    return Boolean(key);
  }

  // A gamepad's button chooses the choice with this number, counted through all groups.
  press(number) {
    const all = this.groups.flatMap((count, group) => Array.from({ length: count }, (_, choice) => [group, choice]));
    if (all[number]) this.choose(...all[number]);
  }

  release() {}
  push() {}

  action() { return Float32Array.from(this.chosen.flatMap((chosen, i) => Array.from({ length: this.groups[i] }, (_, j) => Number(j === chosen)))); }

  show(action) {
    let from = 0;
    this.buttons.forEach((buttons) => {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(action[from + i] > 0.5)));
      from += buttons.length;
    });
  }
}

// A drag across the image: how far, as a share of a quarter of its width, pushes the first action.
function followDrag(canvas, hands) {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => { from = event.clientX; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (from === null) return;
    hands().push(0, Math.max(-1, Math.min(1, (event.clientX - from) / (canvas.clientWidth / 4))));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { from = null; hands().push(0, 0); });
}

// Read the first gamepad: its sticks push the actions in their order. A stick that has not moved is left alone, so that
// the image can be dragged meanwhile; one that is unplugged lets go.
let sticks = [];

function readGamepad(hands) {
  const pad = navigator.getGamepads?.().find(Boolean) ?? null, before = sticks;
  sticks = pad ? pad.axes.map((axis) => (Math.abs(axis) < DEAD ? 0 : axis)) : before.map(() => 0);
  sticks.forEach((value, i) => { if (value !== (before[i] ?? 0)) hands.push(i, value); });
  return pad;
}
