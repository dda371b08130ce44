/** Drawing what can be seen: pictures on the screen at once, the others when there is nothing else to do. */

/**
 * Call `draw(element)` for watched elements: when they come near the screen, and again after `stale()`.
 *
 * Elements far away are drawn in idle time, one by one, so that a printed page holds them too.
 */
export class Lazy {
  constructor(draw) {
    this.draw = draw;
    this.waiting = new Set();
    this.near = new Set();
    this.watched = new Set();
    this.observer = new IntersectionObserver((entries) => this.moved(entries), { rootMargin: "300px" });
  }

  watch(element) {
    this.watched.add(element);
    this.waiting.add(element);
    this.observer.observe(element);
    this.soon();
  }

  /** Forget an element that leaves the page. */
  forget(element) {
    this.observer.unobserve(element);
    for (const set of [this.watched, this.waiting, this.near]) set.delete(element);
  }

  /** What was drawn is out of date: what is in sight is drawn anew with the next frame, however often this is called. */
  stale() {
    for (const element of this.watched) this.waiting.add(element);
    if (this.framed) return;
    this.framed = true;
    requestAnimationFrame(() => {
      this.framed = false;
      for (const element of this.near) this.drawn(element);
      this.soon();
    });
  }

  /** Draw all that is left, as far as that needs no waiting: paper shows what is there when it is printed. */
  rush() {
    for (const element of [...this.waiting]) this.drawn(element);
  }

  moved(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.near.add(target);
      else this.near.delete(target);
      if (isIntersecting && this.waiting.has(target)) this.drawn(target);
    }
  }

  drawn(element) {
    this.waiting.delete(element);
    this.draw(element);
  }

  soon() {
    if (this.asked || !this.waiting.size) return;
    this.asked = true;
    const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 200));
    idle(() => {
      this.asked = false;
      const [first] = this.waiting;
      if (first) this.drawn(first);
      this.soon();
    });
  }
}
