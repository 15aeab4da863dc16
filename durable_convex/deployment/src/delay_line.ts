/** Delivers things in order, each after the delay that applies when it arrives. */
export class DelayLine<T> {
  private readonly delay: () => number;
  private readonly deliver: (item: T) => void;
  private readonly waiting: { item: T; at: number }[] = [];

  constructor(delay: () => number, deliver: (item: T) => void) {
    this.delay = delay;
    this.deliver = deliver;
  }

  push(item: T): void {
    const delay = this.delay();
    if (delay === 0 && this.waiting.length === 0) {
      this.deliver(item);
      return;
    }
    this.waiting.push({ item, at: Math.max(Date.now() + delay, this.waiting.at(-1)?.at ?? 0) });
    if (this.waiting.length === 1) this.arm();
  }

  private arm(): void {
    const next = this.waiting[0];
    if (next === undefined) return;
    setTimeout(
      () => {
        this.waiting.shift();
        this.deliver(next.item);
        this.arm();
      },
      Math.max(0, next.at - Date.now()),
    );
  }
}
