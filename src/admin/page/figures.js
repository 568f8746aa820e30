// Numbers: the text of the metrics, rates and quantiles of what changed in it, and how figures are written.

const WINDOW = 60_000;

// Families by name, each a list of { labels, value }.
export function parse(text) {
  const families = new Map();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const found = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, char) => (char === 'n' ? '\n' : char));
    }
    const value = found[3] === '+Inf' ? Infinity : Number(found[3]);
    if (!families.has(found[1])) families.set(found[1], []);
    families.get(found[1]).push({ labels, value });
  }
  return families;
}

const holds = (labels, wanted) => Object.entries(wanted).every(([name, value]) => (value instanceof RegExp ? value.test(labels[name]) : labels[name] === value));

export function sum(families, name, wanted = {}) {
  return (families?.get(name) ?? []).filter(({ labels }) => holds(labels, wanted)).reduce((all, { value }) => all + value, 0);
}

// Looks of the last minute; a gateway that has begun anew counts from zero.
export class History {
  looks = [];

  add(at, families) {
    this.looks.push({ at, families });
    while (this.looks.length > 2 && at - this.looks[0].at > WINDOW) this.looks.shift();
  }

  forget() {
    this.looks = [];
  }

  get last() {
    return this.looks.at(-1)?.families;
  }

  get seconds() {
    return this.looks.length < 2 ? 0 : (this.looks.at(-1).at - this.looks[0].at) / 1000;
  }

  // How much a counter has grown.
  grown(name, wanted) {
    return Math.max(0, sum(this.last, name, wanted) - sum(this.looks[0]?.families, name, wanted));
  }

  rate(name, wanted) {
    return this.seconds > 0 ? this.grown(name, wanted) / this.seconds : null;
  }

  // The bound of the bucket in which the quantile lies; null where nothing was counted.
  quantile(name, wanted, part) {
    const count = this.grown(`${name}_count`, wanted);
    if (count === 0) return null;
    const buckets = (this.last?.get(`${name}_bucket`) ?? []).filter(({ labels }) => holds(labels, wanted)).map(({ labels }) => labels.le);
    const bounds = [...new Set(buckets)].map((le) => [le === '+Inf' ? Infinity : Number(le), le]).sort((a, b) => a[0] - b[0]);
    for (const [bound, le] of bounds) {
      if (this.grown(`${name}_bucket`, { ...wanted, le }) >= part * count) return bound;
    }
    return null;
  }
}

export function labelsOf(families, name, label) {
  return [...new Set((families?.get(name) ?? []).map(({ labels }) => labels[label]))];
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(value) {
  return value === null || value === undefined ? '–' : whole.format(value);
}

export function perSecond(value) {
  if (value === null || value === undefined) return '–';
  return value === 0 || value >= 100 ? whole.format(value) : value.toFixed(value < 1 ? 2 : 1);
}

export function atMost(seconds) {
  if (seconds === null) return '–';
  if (seconds === Infinity) return 'longer';
  return `≤ ${seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${seconds} s`}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return '–';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

// Of ISO 8601, as tasks have it.
export function isoDuration(text) {
  const found = /^P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?$/.exec(text ?? '');
  if (!found) return '–';
  const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part ?? 0));
  return duration(((days * 24 + hours) * 60 + minutes) * 60 + seconds);
}

export function bytes(value) {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let left = value;
  while (left >= 1024 && at < units.length - 1) {
    left /= 1024;
    at += 1;
  }
  return `${at === 0 ? left : left.toFixed(1)} ${units[at]}`;
}

export function clock(date) {
  const read = new Date(date);
  return Number.isNaN(read.getTime()) ? '–' : read.toLocaleTimeString('en-GB');
}

export function moment(date) {
  const read = new Date(date ?? NaN);
  if (Number.isNaN(read.getTime())) return '–';
  return `${read.toLocaleDateString('sv')} ${read.toLocaleTimeString('en-GB')}`;
}
