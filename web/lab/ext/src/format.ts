// Figures and times in words.

/** Binary units: what operators configure and what control groups count. */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  const digits = n >= 10 || Number.isInteger(n) ? 0 : 1;
  return `${n.toFixed(digits)} ${units[i]}`;
}

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

export function ago(time: string, now = Date.now()): string {
  const seconds = (new Date(time).getTime() - now) / 1000;
  const steps: [Intl.RelativeTimeFormatUnit, number][] = [
    ['day', 86400],
    ['hour', 3600],
    ['minute', 60]
  ];
  const [unit, size] = steps.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return Math.abs(seconds) < 10 ? 'just now' : relative.format(Math.round(seconds / size), unit);
}

/** "12:04", or "Mar 3, 12:04" of another day. */
export function moment(time: string): string {
  const at = new Date(time);
  const hours: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' };
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString([], hours) : at.toLocaleString([], { month: 'short', day: 'numeric', ...hours });
}

/** "0.125", "12.5", "1,204": what is used in units, no finer than it is read. */
export const units = (n: number) =>
  n.toLocaleString('en', { maximumFractionDigits: n >= 100 ? 0 : 1, minimumFractionDigits: n >= 100 ? 0 : 1 });

/** "1st", "2nd", "11th". */
export function ordinal(n: number): string {
  const tens = n % 100;
  const end = tens > 10 && tens < 14 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${end}`;
}

export const plural = (n: number, noun: string) => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;

/** "38 min", "2 h 5 min", "4.2 s", "180 ms". */
export function duration(ms: number): string {
  if (ms < 1000) {
    return `${Math.round(ms)} ms`;
  }
  const seconds = ms / 1000;
  if (seconds < 60) {
    return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  }
  const minutes = Math.round(seconds / 60);
  const rest = minutes % 60;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h${rest ? ` ${rest} min` : ''}`;
}

/** A time that runs: "12 s", "3 min 05 s", "2 h 05 min". */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (n: number) => String(n).padStart(2, '0');
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${two(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** "2 CPUs, 8 GiB" or "8 CPUs, 64 GiB, 1 GPU". */
export function sizeOf(c: { cpus: number; memory: number; gpus: number }): string {
  const parts = [plural(c.cpus, 'CPU'), bytes(c.memory)];
  if (c.gpus) {
    parts.push(plural(c.gpus, 'GPU'));
  }
  return parts.join(', ');
}
