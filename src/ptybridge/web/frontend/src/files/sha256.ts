/**
 * SHA-256 of what comes in pieces (FIPS 180-4). The browser's own wants the whole of it in memory at once, and a file
 * may be larger than that.
 */

const ROUNDS = constants();

export class Sha256 {
  #state = Uint32Array.of(
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  );
  #schedule = new Uint32Array(64);
  #rest = new Uint8Array(64);
  #waiting = 0;
  #length = 0;

  update(data: Uint8Array): void {
    this.#length += data.length;
    let at = 0;
    while (at < data.length) {
      if (this.#waiting === 0 && data.length - at >= 64) {
        this.#block(data, at);
        at += 64;
        continue;
      }
      const taken = Math.min(64 - this.#waiting, data.length - at);
      this.#rest.set(data.subarray(at, at + taken), this.#waiting);
      this.#waiting += taken;
      at += taken;
      if (this.#waiting === 64) {
        this.#block(this.#rest, 0);
        this.#waiting = 0;
      }
    }
  }

  /** The digest; nothing may follow. */
  digest(): Uint8Array {
    const bits = BigInt(this.#length) * 8n;
    const tail = new Uint8Array((this.#waiting < 56 ? 64 : 128) - this.#waiting);
    tail[0] = 0x80;
    new DataView(tail.buffer).setBigUint64(tail.length - 8, bits);
    this.update(tail);
    const out = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, index) => out.setUint32(index * 4, word));
    return new Uint8Array(out.buffer);
  }

  #block(data: Uint8Array, at: number): void {
    const w = this.#schedule;
    for (let i = 0; i < 16; i++, at += 4)
      w[i] = (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]!;
      const y = w[i - 2]!;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
    }
    let [a, b, c, d, e, f, g, h] = this.#state as unknown as [
      number, number, number, number, number, number, number, number,
    ];
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i]! + w[i]!) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + one) | 0;
      d = c;
      c = b;
      b = a;
      a = (one + two) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((word, index) => (this.#state[index]! += word));
  }
}

/** The first 32 bits behind the point of the cube roots of the first 64 primes. */
function constants(): Uint32Array {
  const words = new Uint32Array(64);
  let count = 0;
  for (let candidate = 2n; count < 64; candidate++) {
    let prime = true;
    for (let divisor = 2n; divisor * divisor <= candidate; divisor++) if (candidate % divisor === 0n) prime = false;
    if (!prime) continue;
    // The integer cube root of prime · 2^96 is the root with 32 bits behind the point.
    const wanted = candidate << 96n;
    let root = 0n;
    for (let bit = 1n << 36n; bit; bit >>= 1n) if ((root | bit) ** 3n <= wanted) root |= bit;
    words[count++] = Number(root & 0xffffffffn);
  }
  return words;
}
