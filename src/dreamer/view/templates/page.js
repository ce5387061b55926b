// The page: who acts, what is shown, and the clock.

const $ = (id) => document.getElementById(id);
const MOST = 20000; // moments of a dream: more would fill the memory of a phone
const allFacts = JSON.parse($("facts").textContent);
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const models = new Map(); // by run: graphs and recording, unpacked when they are first wanted
const traces = new Traces(document.querySelectorAll(".traces figure"));
let ort, dream, hands, who = "you", playing = false, due = 0, commands = [], padButtons = [];

const NAMES = { you: "you steer", actor: "the actor steers", random: "random actions", recording: "recorded actions" };

async function loadRun(index) {
  if (!models.has(index)) {
    const facts = allFacts[index], graphs = {};
    for (const name of ["imagine", "look", "act"]) {
      if ($(`part-${index}-${name}`)) graphs[name] = await loadGraph(ort, `${index}-${name}`);
    }
    const recording = new Recording(facts, await unpack(`${index}-numbers`), await pixelsOf(await unpack(`${index}-sheet`)));
    models.set(index, { facts, graphs, recording });
  }
  const { facts, graphs, recording } = models.get(index);
  dream = new Dream(facts, graphs, recording);
  await dream.begin(0);
  describe(facts, graphs, await dream.speed());
  buildHands(facts);
  buildStrip(facts, recording);
  turn(graphs.act ? "actor" : "random");
  $("count").value = "1";
  await begin(Math.min(Math.floor(facts.steps / 4), facts.steps - 1));
}

async function pixelsOf(sheet) {
  const bitmap = await createImageBitmap(new Blob([sheet], { type: "image/webp" }), { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), pen = canvas.getContext("2d");
  pen.drawImage(bitmap, 0, 0);
  return pen.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

function describe(facts, graphs, speed) {
  $("task").textContent = facts.task;
  $("frames").textContent = facts.env_step.toLocaleString("en");
  const own = 1 / facts.seconds, enough = speed >= own ? "fast enough for the task's own" : "slower than the task's own";
  $("measured").innerHTML = `This browser imagines <b id="fps">${speed.toFixed(0)}</b> images a second on one core: ${enough} ${own.toFixed(0)}.`;
  document.querySelector('[data-trace="value"]').hidden = dream.now.value === null;
  document.querySelector('[name="who"][value="actor"]').disabled = !graphs.act;
}

// -- what there is to press -----------------------------------------------------------------------------

function buildHands(facts) {
  $("actions").replaceChildren();
  const takeOver = () => { if (who !== "you") turn("you"); if (!playing) play(true); };
  hands = new (facts.groups.length ? Choices : Sliders)($("actions"), facts, takeOver);
  const drag = facts.groups.length ? "" : ` Or drag across the image${facts.actions.length > 1 ? " for the first" : ""}.`;
  const touch = matchMedia("(pointer: coarse)").matches, what = facts.groups.length ? "Press a button" : "Move a slider";
  $("hint").textContent = `${what}${touch ? "" : ", hold a key, or take a gamepad"}, and the dream obeys you.${drag}`;
}

function buildStrip(facts, recording) {
  const count = Math.min(16, facts.steps), strip = $("strip");
  strip.replaceChildren(...Array.from({ length: count }, (_, i) => {
    const t = Math.round((i * (facts.steps - 1)) / Math.max(1, count)), button = document.createElement("button"), canvas = document.createElement("canvas");
    paint(canvas, recording.image(t), facts);
    button.type = "button";
    button.dataset.t = t;
    button.setAttribute("aria-label", `Begin from step ${t}`);
    button.append(canvas);
    button.addEventListener("click", () => enqueue(() => begin(t)));
    return button;
  }));
  $("start").max = facts.steps - 1;
}

function buildFutures() {
  const side = Math.sqrt(dream.futures), box = $("futures");
  box.style.gridTemplate = `repeat(${side}, 1fr) / repeat(${side}, 1fr)`;
  box.replaceChildren(...(dream.futures === 1 ? [] : Array.from({ length: dream.futures }, (_, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Go on with future ${i + 1}`);
    button.addEventListener("click", () => enqueue(async () => { await dream.split(1, i); $("count").value = "1"; buildFutures(); }));
    return button;
  })));
}

// -- what happens ---------------------------------------------------------------------------------------

// Commands run one after the other, because a model computes one thing at a time.
function enqueue(command) { commands.push(command); }

async function begin(t) {
  await dream.begin(t);
  $("start").value = t;
  $("start-shown").textContent = `step ${t} of ${dream.recording.length - 1}`;
  const marked = [...$("strip").children].reduce((a, b) => (Math.abs(b.dataset.t - t) < Math.abs(a.dataset.t - t) ? b : a));
  for (const button of $("strip").children) button.setAttribute("aria-pressed", String(button === marked));
  buildFutures();
}

function turn(name) {
  who = name;
  document.querySelector(`[name="who"][value="${name}"]`).checked = true;
  // Recorded actions belong to the recorded states: follow them from where this dream began.
  if (name === "recording" && dream.moments.length && dream.now.recorded === null) enqueue(() => begin(dream.start));
}

function play(on) {
  playing = on;
  due = performance.now();
  document.documentElement.toggleAttribute("data-playing", on);
  $("play-name").textContent = on ? "Pause" : "Play";
}

async function advance() {
  const size = dream.facts.sizes.action;
  if (dream.at >= MOST) return play(false);
  if (who === "recording") {
    const t = (dream.now.recorded ?? dream.start) + 1;
    if (t >= dream.recording.length) return play(false);
    return dream.step(dream.recording.action(t), true);
  }
  if (who === "actor") return dream.step(await dream.act());
  if (who === "random") return dream.step(randomAction(size));
  return dream.step(hands.action());
}

function randomAction(size) {
  if (!dream.facts.groups.length) return Float32Array.from({ length: size }, () => 2 * Math.random() - 1);
  return Float32Array.from(dream.facts.groups.flatMap((count) => {
    const chosen = Math.floor(Math.random() * count);
    return Array.from({ length: count }, (_, i) => Number(i === chosen));
  }));
}

function step(count) {
  play(false);
  enqueue(() => (count > 0 && dream.at === dream.moments.length - 1 ? advance() : dream.seek(dream.at + count)));
}

// -- what is seen ---------------------------------------------------------------------------------------

function paint(canvas, pixels, { width, height }) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
}

function draw() {
  const { facts, now, images, recording } = dream, { width, height } = facts, side = Math.sqrt(dream.futures), canvas = $("dream");
  if (canvas.width !== side * width || canvas.height !== side * height) Object.assign(canvas, { width: side * width, height: side * height });
  const pen = canvas.getContext("2d"), size = width * height * 4;
  for (let i = 0; i < dream.futures; i++) {
    const image = new ImageData(new Uint8ClampedArray(images.buffer, images.byteOffset + i * size, size), width, height);
    pen.putImageData(image, (i % side) * width, Math.floor(i / side) * height);
  }
  const compared = now.recorded !== null, truth = recording.image(compared ? now.recorded : dream.start);
  paint($("truth"), truth, facts);
  if (compared) paint($("difference"), truth.map((value, i) => (i % 4 === 3 ? 255 : (images[i] - value + 255) / 2)), facts);
  $("beside").classList.toggle("idle", !compared);
  $("recorded").textContent = compared ? (dream.at ? "same actions" : "the dream begins here") : "where the dream began";
  $("clock").textContent = `${dream.seconds.toFixed(1)} s, step ${dream.at}`;
  $("acting").textContent = playing ? NAMES[who] : "paused";
  $("moment").max = dream.moments.length - 1;
  if (document.activeElement !== $("moment") || playing) $("moment").value = dream.at;
  $("moment-shown").textContent = `${dream.at} of ${dream.moments.length - 1}`;
  hands.show(who === "you" ? hands.action() : now.action);
  traces.draw(dream);
}

// -- the clock ------------------------------------------------------------------------------------------

let drawn = 0;

async function tick() {
  const pressed = readGamepad(hands)?.buttons.map((button) => button.pressed) ?? [];
  const newly = pressed.flatMap((on, i) => (on && !padButtons[i] ? [i] : []));
  padButtons = pressed;
  for (const i of newly) {
    if (i === 0) play(!playing);
    else if (i === 1) enqueue(() => begin(dream.start));
    else hands.press(i - 2);
  }
  let changed = commands.length > 0;
  while (commands.length) await commands.shift()();
  const now = performance.now(), rate = Number($("speed").value);
  if (playing && now >= due) {
    // Where the browser is slower than the task, nothing is caught up on.
    due = rate ? Math.max(due + (1000 * dream.facts.seconds) / rate, now - 100) : now;
    await advance();
    changed = true;
  }
  // Four times a second is enough for what changes between two steps, such as the sliders.
  if (!changed && now - drawn < 250) return;
  drawn = now;
  draw();
}

async function run() {
  while (true) {
    await new Promise(requestAnimationFrame);
    await tick();
  }
}

// -- listening ------------------------------------------------------------------------------------------

function listen() {
  $("play").addEventListener("click", () => play(!playing));
  $("restart").addEventListener("click", () => enqueue(() => begin(dream.start)));
  $("back").addEventListener("click", () => step(-1));
  $("forward").addEventListener("click", () => step(1));
  $("moment").addEventListener("input", () => { const at = Number($("moment").value); play(false); enqueue(() => Number($("moment").value) === at && dream.seek(at)); });
  $("start").addEventListener("input", () => { const t = Number($("start").value); enqueue(() => Number($("start").value) === t && begin(t)); });
  $("count").addEventListener("change", () => enqueue(async () => { await dream.split(Number($("count").value)); buildFutures(); }));
  $("amount").addEventListener("change", () => { dream.amount = Number($("amount").value); });
  for (const radio of document.querySelectorAll('[name="who"]')) radio.addEventListener("change", () => { turn(radio.value); if (!playing) play(true); });
  for (const radio of document.querySelectorAll('[name="run"]')) radio.addEventListener("change", () => enqueue(() => loadRun(Number(radio.value))));
  // What was pressed with a pointer, or chosen from a list, would keep the keys to itself.
  addEventListener("pointerup", (event) => event.target.tagName !== "SELECT" && setTimeout(() => document.activeElement?.blur()));
  for (const select of document.querySelectorAll("select")) select.addEventListener("change", () => select.blur());
  $("follow").addEventListener("click", () => { turn("recording"); play(true); });
  followDrag($("dream"), () => hands);
  addEventListener("keydown", (event) => onKey(event, true));
  addEventListener("keyup", (event) => onKey(event, false));
  addEventListener("blur", () => hands.release());
}

function onKey(event, down) {
  if (down && (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT")) return;
  const others = ["you", "actor", "random", "recording"], digit = Number(event.key);
  const action = {
    " ": () => !event.repeat && play(!playing), ",": () => step(-1), ".": () => step(1),
    Backspace: () => enqueue(() => begin(dream.start)),
  }[event.key];
  if (event.key === " " && event.target.tagName === "BUTTON") return;
  if (down && action) action();
  else if (down && digit >= 1 && digit <= 4) document.querySelector(`[name="who"][value="${others[digit - 1]}"]`).click();
  else if (!hands.key(event, down)) return;
  event.preventDefault();
}

function fail(error) {
  $("problem").textContent = `The model stopped with an error (${error?.message ?? error}): reload the page, or take a newer browser.`;
  $("problem").hidden = false;
  $("loading").hidden = true;
}

async function main() {
  ort = await startRuntime();
  await loadRun(0);
  $("loading").hidden = true;
  document.querySelector("main").hidden = false;
  listen();
  play(!still);
  draw();
  document.documentElement.dataset.ready = "yes";
  await run();
}

// For tests, and for who is curious.
window.dreamer = { get dream() { return dream; }, play, begin: (t) => new Promise((done) => enqueue(() => begin(t).then(done))) };
if (!window.cannotRun) main().catch(fail);
