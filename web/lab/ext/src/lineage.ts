// How checkpoints descend from each other, as lanes of a drawing: one row each, newest first.
import { Checkpoint } from './hub';

/** The part of the drawing beside one checkpoint. */
export interface Row {
  checkpoint: Checkpoint;
  /** its own lane, from 0 */
  lane: number;
  /** something newer descends from it, in its own lane */
  above: boolean;
  /** what it came from is further down */
  below: boolean;
  /** lanes that pass by */
  passing: number[];
  /** lanes that end here: branches that began from it */
  joining: number[];
}

/**
 * Those of a kernel, all that they came from, and all that came from any of these. base is the one that the kernel
 * goes on from: a branch that has just begun has none of its own.
 */
export function family(all: Checkpoint[], kernel: string, base?: string): Checkpoint[] {
  const byId = new Map(all.map(c => [c.id, c]));
  const root = (c: Checkpoint) => {
    const seen = new Set<string>();
    while (c.parent && byId.has(c.parent) && !seen.has(c.id)) {
      seen.add(c.id);
      c = byId.get(c.parent)!;
    }
    return c.id;
  };
  const roots = new Set(all.filter(c => c.kernel === kernel || c.id === base).map(root));
  return all.filter(c => c.kernel === kernel || roots.has(root(c)));
}

/** Lays checkpoints out. */
export function layOut(family: Checkpoint[]): Row[] {
  const newest = [...family].sort((a, b) => b.created_at.localeCompare(a.created_at));
  const ids = new Set(newest.map(c => c.id));
  const lanes: (string | null)[] = []; // the checkpoint that each waits for
  return newest.map(checkpoint => {
    const waiting = lanes.flatMap((id, i) => (id === checkpoint.id ? [i] : []));
    const free = lanes.indexOf(null);
    const lane = waiting[0] ?? (free < 0 ? lanes.length : free);
    waiting.forEach(i => (lanes[i] = null));
    const passing = lanes.flatMap((id, i) => (id !== null && i !== lane ? [i] : []));
    const below = !!checkpoint.parent && ids.has(checkpoint.parent);
    lanes[lane] = below ? checkpoint.parent! : null;
    return { checkpoint, lane, above: waiting.length > 0, below, passing, joining: waiting.slice(1) };
  });
}
