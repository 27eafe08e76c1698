// What is heard, block by block: an AudioWorklet that hands on its first channel, 20 blocks at a time.

const BLOCKS = 20;

class Recorder extends AudioWorkletProcessor {
  #samples = new Float32Array(128 * BLOCKS);
  #filled = 0;
  #from = 0;

  process([input]) {
    if (this.#filled === 0) this.#from = currentFrame;
    // A node whose sources have all ended has no channels: that is silence.
    if (input[0]) this.#samples.set(input[0], this.#filled);
    else this.#samples.fill(0, this.#filled, this.#filled + 128);
    this.#filled += 128;
    if (this.#filled === this.#samples.length) {
      this.port.postMessage({ from: this.#from, samples: this.#samples.slice() });
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor('recorder', Recorder);
