// A dream: the latent states since its first one, of one or several futures. Knows nothing of the page.

// Standard normal numbers from a seed (mulberry32 and Box-Muller).
class Noise {
  constructor(seed) { this.state = seed >>> 0; }

  uniform() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  }

  normal(count, scale = 1) {
    const numbers = new Float32Array(count);
    for (let i = 0; i < count; i += 2) {
      const radius = scale * Math.sqrt(-2 * Math.log(1 - this.uniform())), angle = 2 * Math.PI * this.uniform();
      numbers[i] = radius * Math.cos(angle);
      if (i + 1 < count) numbers[i + 1] = radius * Math.sin(angle);
    }
    return numbers;
  }
}

// What was recorded: images, and of every step the action that led to it, its reward, and its latent state.
class Recording {
  constructor(facts, numbers, pixels) {
    const { stoch, deter, action } = facts.sizes;
    this.facts = facts;
    this.numbers = new Float32Array(numbers);
    this.pixels = pixels;
    this.width = action + 1 + stoch + deter;
    this.length = facts.steps;
  }

  part(t, from, size) { return this.numbers.subarray(t * this.width + from, t * this.width + from + size); }
  action(t) { return this.part(t, 0, this.facts.sizes.action); }
  reward(t) { return this.part(t, this.facts.sizes.action, 1)[0]; }
  stoch(t) { return this.part(t, this.facts.sizes.action + 1, this.facts.sizes.stoch); }
  deter(t) { return this.part(t, this.facts.sizes.action + 1 + this.facts.sizes.stoch, this.facts.sizes.deter); }

  // Return the image of step t, RGBA `(H, W, 4)`, from the sheet that holds all.
  image(t) {
    const { width, height, columns } = this.facts, row = width * 4, sheet = columns * row;
    const image = new Uint8ClampedArray(height * row);
    const corner = Math.floor(t / columns) * height * sheet + (t % columns) * row;
    for (let y = 0; y < height; y++) image.set(this.pixels.subarray(corner + y * sheet, corner + y * sheet + row), y * row);
    return image;
  }
}

class Dream {
  // `graphs` has the functions imagine, look and, where there is an actor, act.
  constructor(facts, graphs, recording, seed = 1) {
    Object.assign(this, { facts, graphs, recording });
    this.noise = new Noise(seed);
    this.futures = 1;
    this.amount = 1;
    this.moments = [];
    this.at = 0;
  }

  get now() { return this.moments[this.at]; }
  get seconds() { return this.at * this.facts.seconds; }

  // Begin at step t of the recording.
  async begin(t) {
    this.start = t;
    const { stoch, deter, action } = this.facts.sizes;
    const repeat = (array, size) => {
      const all = new Float32Array(this.futures * size);
      for (let i = 0; i < this.futures; i++) all.set(array, i * size);
      return all;
    };
    const state = { stoch: repeat(this.recording.stoch(t), stoch), deter: repeat(this.recording.deter(t), deter) };
    const first = { ...state, action: new Float32Array(this.futures * action), std: null, recorded: t };
    this.moments = [await this.look(first)];
    this.at = 0;
  }

  // Take one action `(A,)` in all futures, or one for each `(N A,)`. What came after the present moment is forgotten.
  // `recorded` is whether the action is that of the recording; noise is drawn unless it is given.
  async step(action, recorded = false, noise = null) {
    const { now, futures } = this, { stoch, action: size } = this.facts.sizes;
    let actions = action;
    if (action.length !== futures * size) {
      actions = new Float32Array(futures * size);
      for (let i = 0; i < futures; i++) actions.set(action, i * size);
    }
    const next = await this.graphs.imagine({
      stoch: this.tensor(now.stoch), deter: this.tensor(now.deter), action: this.tensor(actions),
      noise: this.tensor(noise ?? this.noise.normal(futures * stoch, this.amount)),
    });
    const follows = recorded && now.recorded !== null && now.recorded + 1 < this.recording.length;
    const moment = { stoch: next.next_stoch, deter: next.next_deter, action: actions, std: next.std };
    moment.recorded = follows ? now.recorded + 1 : null;
    this.moments.length = this.at + 1;
    this.moments.push(await this.look(moment));
    this.at += 1;
  }

  // Return the actor's mode in each future, `(N A,)`.
  async act() {
    const noise = this.noise.normal(this.futures * this.facts.act_noise);
    const { stoch, deter } = this.now;
    const state = { stoch: this.tensor(stoch), deter: this.tensor(deter) };
    return (await this.graphs.act({ ...state, noise: this.tensor(noise) })).action;
  }

  // Add to a moment what it looks like and is worth, and how far it is from the recording. Images are not kept.
  async look(moment) {
    const { rgba, reward, value } = await this.graphs.look({
      stoch: this.tensor(moment.stoch), deter: this.tensor(moment.deter),
    });
    this.images = rgba;
    const error = moment.recorded === null ? null : this.error(rgba, this.recording.image(moment.recorded));
    const still = moment.recorded === null ? null
      : this.error(this.recording.image(this.start), this.recording.image(moment.recorded));
    return { ...moment, reward, value: value ?? null, error, still };
  }

  // Mean absolute difference of two images, of which each number counts from 0 to 1.
  error(image, other) {
    let sum = 0;
    for (let i = 0; i < other.length; i += 4) {
      sum += Math.abs(image[i] - other[i]) + Math.abs(image[i + 1] - other[i + 1]) + Math.abs(image[i + 2] - other[i + 2]);
    }
    return sum / (0.75 * other.length * 255);
  }

  // Go to another moment of this dream.
  async seek(at) {
    this.at = Math.max(0, Math.min(this.moments.length - 1, at));
    await this.look(this.now);
  }

  // Go on with `count` futures from the future `chosen`. The moments before remain as they are, as its past.
  async split(count, chosen = 0) {
    const pick = (array, size) => array.slice(chosen * size, (chosen + 1) * size);
    const { stoch, deter, action } = this.facts.sizes;
    this.moments.length = this.at + 1;
    this.moments = this.moments.map((moment) => {
      const take = (array, size) => {
        const all = new Float32Array(count * size), one = pick(array, size);
        for (let i = 0; i < count; i++) all.set(one, i * size);
        return all;
      };
      return {
        ...moment, stoch: take(moment.stoch, stoch), deter: take(moment.deter, deter), action: take(moment.action, action),
        std: moment.std && take(moment.std, 1), reward: take(moment.reward, 1), value: moment.value && take(moment.value, 1),
      };
    });
    this.futures = count;
    await this.look(this.now);
  }

  tensor(data) { return { data, dims: [this.futures, data.length / this.futures] }; }

  // Return how many steps a second this browser imagines: action, image, reward and value. It is the median of up to
  // 30 steps, because other programs may be at work.
  async speed() {
    const action = new Float32Array(this.facts.sizes.action), begun = performance.now(), times = [];
    while (times.length < 30 && performance.now() - begun < 2000) {
      const before = performance.now();
      if (this.graphs.act) await this.act();
      await this.step(action);
      times.push(performance.now() - before);
    }
    return 1000 / times.sort((a, b) => a - b)[times.length >> 1];
  }
}
