/** Whether something is being pressed inside an element: what is drawn anew between press and release loses its click. */

export class Press {
  #over: Promise<void> | null = null;

  constructor(place: HTMLElement) {
    place.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && this.#over === null) this.#over = this.#released();
    });
  }

  get down(): boolean {
    return this.#over !== null;
  }

  /** Resolves when nothing is pressed, and the click has been heard. */
  async over(): Promise<void> {
    while (this.#over !== null) await this.#over;
  }

  #released(): Promise<void> {
    return new Promise((resolve) => {
      const listening = new AbortController();
      const release = (event: Event) => {
        // Elements lose the focus, too.
        if (event.type === "blur" && event.target !== window) return;
        listening.abort();
        // The click follows within the same task.
        setTimeout(() => {
          this.#over = null;
          resolve();
        });
      };
      // A drag ends without a release, and who leaves the window may release elsewhere.
      for (const type of ["pointerup", "pointercancel", "dragend", "blur"])
        addEventListener(type, release, { capture: true, signal: listening.signal });
    });
  }
}
