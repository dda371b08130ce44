/** How pictures are looked at: one value for all of them, which controls change and pictures follow. */

/** Values that can be watched: `set` tells every listener once, after what was set together. */
export class View {
  constructor(values) {
    this.values = values;
    this.listeners = new Set();
  }

  get(name) {
    return this.values[name];
  }

  set(changed) {
    const fresh = Object.entries(changed).some(([name, value]) => this.values[name] !== value);
    if (!fresh) return;
    this.values = { ...this.values, ...changed };
    for (const listener of this.listeners) listener(this.values);
  }

  watch(listener) {
    this.listeners.add(listener);
  }
}

/** What a reader sees first: the reference method, half heat, the annotated box and that of the protocol that counts. */
export function firstView(meta) {
  const protocols = Object.fromEntries(meta.protocols.map((name, i) => [`box ${name}`, i === 0]));
  return new View({
    source: meta.reference,
    opacity: 0.5,
    rule: "min-max",
    spotlight: false,
    threshold: 0.2,
    annotated: true,
    ...protocols,
  });
}
