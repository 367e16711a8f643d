/**
 * Returns a function that makes `ask` run, one at a time.
 *
 * Who asks while it runs is answered by another run after it, one for all of them; so an older answer never replaces
 * a newer one, and what happened while a question was under way is not missed. Events come in bunches: `gatherMs` is
 * waited for before each run. `ask` must not fail.
 */
export function oneAtATime(ask: () => Promise<void>, gatherMs = 0): () => Promise<void> {
  let running: Promise<void> | null = null;
  let again = false;
  const run = async () => {
    try {
      do {
        await new Promise((resolve) => setTimeout(resolve, gatherMs));
        again = false;
        await ask();
      } while (again);
    } finally {
      running = null;
    }
  };
  return () => {
    again = true;
    return (running ??= run());
  };
}
