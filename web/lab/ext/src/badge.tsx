// The state of a notebook's kernel, in a word, in the notebook's toolbar.
import { ordinal } from './format';
import { KernelWidget } from './watch';
import * as hub from './hub';

const WORDS: Record<string, [label: string, explanation: string]> = {
  starting: ['Starting', 'The kernel is starting.'],
  restarting: ['Restarting', 'The kernel ended by itself. It starts again, with nothing in it.'],
  running: ['Running', 'The kernel is running.'],
  idle: ['Idle', 'The kernel waits for work.'],
  busy: ['Busy', 'The kernel is working.'],
  switching: ['Switching', 'The kernel moves to another configuration; its variables stay. What you run now waits.'],
  freezing: ['Freezing', 'The state of the kernel is being saved.'],
  hibernated: ['Hibernated', 'The state of the kernel is saved and nothing is charged. Run a cell and it continues.'],
  resuming: ['Resuming', 'The kernel is coming back with its variables.'],
  waiting: ['Waiting', 'There is no room for the kernel on this machine now. It goes on when it is its turn.'],
  dead: ['Dead', 'The kernel has ended. Restart it, or apply a checkpoint.'],
  none: ['No kernel', 'This notebook has no kernel.']
};

export class KernelBadge extends KernelWidget {
  constructor(...args: ConstructorParameters<typeof KernelWidget>) {
    super(...args);
    this.addClass('cellar-KernelBadge');
  }

  protected render(): JSX.Element {
    const state = this._state();
    const kernel = this.kernel;
    const [word, explanation] = WORDS[state] ?? [state, ''];
    const label = kernel?.line ? `${word}, ${ordinal(kernel.line.position)}` : word;
    this.node.dataset.state = state;
    const awake = kernel?.awake_until && `It is kept awake until ${new Date(kernel.awake_until).toLocaleTimeString()}.`;
    this.node.title = [explanation, kernel?.state_detail, awake].filter(Boolean).join('\n');
    // Busy and idle alternate with every cell: they are shown, not announced.
    const announced = WORDS[state === 'restarting' || state === 'waiting' ? state : (kernel?.state ?? 'none')]?.[1];
    return (
      <>
        <span className="cellar-KernelBadge-dot" aria-hidden="true" />
        <span className="cellar-KernelBadge-label" aria-hidden="true">
          {label}
        </span>
        <span className="cellar-Unseen" role="status" aria-live="polite">
          {announced}
        </span>
      </>
    );
  }

  /** The hub's word, and Jupyter's while the kernel simply runs. */
  private _state(): string {
    if (!this.kernelId) {
      return this.session.isReady ? 'none' : 'starting';
    }
    const state: hub.KernelState = this.kernel?.state ?? 'running';
    if (this.kernel?.line) {
      return 'waiting';
    }
    if (state !== 'running') {
      return state === 'starting' && this.kernel?.died ? 'restarting' : state;
    }
    const jupyter = this.session.session?.kernel?.status;
    return jupyter === 'idle' || jupyter === 'busy' || jupyter === 'starting' ? jupyter : 'running';
  }
}
