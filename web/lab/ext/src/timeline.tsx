// The drawing beside a checkpoint: where it came from, and what goes on from it.
import { Row } from './lineage';

/** Pixels from lane to lane, and from the top of a row to the middle of its name. */
const LANE = 14;
const MIDDLE = 19;

const x = (lane: number) => LANE / 2 + lane * LANE;

export const widthOf = (rows: Row[]) =>
  LANE * (1 + Math.max(0, ...rows.map(r => Math.max(r.lane, ...r.passing, ...r.joining))));

interface Props {
  row: Row;
  width: number;
  /** the kernel goes on from here */
  here: boolean;
  /** of another kernel */
  foreign: boolean;
}

/** Says in words, to those who do not see it, only where the kernel is. */
export const Timeline = ({ row, width, here, foreign }: Props): JSX.Element => (
  <svg className="cellar-Timeline" style={{ width }} aria-hidden="true" data-here={here || undefined}>
    {row.passing.map(lane => (
      <line key={lane} x1={x(lane)} y1="0" x2={x(lane)} y2="100%" />
    ))}
    {row.joining.map(lane => (
      <line key={lane} x1={x(lane)} y1="0" x2={x(row.lane)} y2={MIDDLE} />
    ))}
    {row.above && <line x1={x(row.lane)} y1="0" x2={x(row.lane)} y2={MIDDLE} />}
    {row.below && <line x1={x(row.lane)} y1={MIDDLE} x2={x(row.lane)} y2="100%" />}
    <circle cx={x(row.lane)} cy={MIDDLE} r={here ? 5 : 4} data-foreign={foreign || undefined} data-here={here || undefined} />
  </svg>
);
