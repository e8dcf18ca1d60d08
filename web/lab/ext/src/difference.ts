// What differs between two texts, line by line.

export interface Line {
  kind: 'same' | 'gone' | 'new';
  text: string;
}

/** Products of line numbers up to which the shortest difference is looked for. */
const MOST = 4_000_000;

export function difference(before: string, after: string): Line[] {
  const a = before === '' ? [] : before.split('\n');
  const b = after === '' ? [] : after.split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) {
    head++;
  }
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) {
    tail++;
  }
  const same = (text: string): Line => ({ kind: 'same', text });
  return [
    ...a.slice(0, head).map(same),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...a.slice(a.length - tail).map(same)
  ];
}

/** By the longest common subsequence; of texts that are too long all lines differ. */
function middle(a: string[], b: string[]): Line[] {
  const gone = (text: string): Line => ({ kind: 'gone', text });
  const fresh = (text: string): Line => ({ kind: 'new', text });
  if (a.length * b.length > MOST) {
    return [...a.map(gone), ...b.map(fresh)];
  }
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] =
        a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const out: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ kind: 'same', text: a[i++] });
      j++;
    } else if (j >= b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      out.push(gone(a[i++]));
    } else {
      out.push(fresh(b[j++]));
    }
  }
  return out;
}

/** Leaves out what is far from any difference: null stands for lines that are the same. */
export function near(lines: Line[], context = 3): (Line | null)[] {
  const keep = new Set<number>();
  lines.forEach((line, i) => {
    if (line.kind !== 'same') {
      for (let k = i - context; k <= i + context; k++) {
        keep.add(k);
      }
    }
  });
  const out: (Line | null)[] = [];
  lines.forEach((line, i) => {
    if (keep.has(i)) {
      out.push(line);
    } else if (out.length === 0 || out[out.length - 1] !== null) {
      out.push(null);
    }
  });
  return out;
}
