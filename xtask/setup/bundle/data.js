const groups = ["lwp", "vcpu", "callout", "sleepq"];

/** @type {import("./shapes").Shape[]} */
const shapes = Array.from({ length: 64 }, (_, n) => ({
  group: groups[n % groups.length],
  size: 0.2 + (n % 7) / 10,
  at: [(n % 8) - 4, Math.floor(n / 8) - 4, Math.sin(n)],
}));

export default shapes;
