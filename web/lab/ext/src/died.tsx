// A strip above a notebook whose kernel ended by itself: why, and the way back to its newest checkpoint.
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ReactWidget } from '@jupyterlab/ui-components';
import { ago, moment } from './format';
import * as hub from './hub';
import { IKernels } from './kernels';
import { track } from './progress';
import { kernelOf } from './watch';

/** JupyterLab's own message says that the kernel died; this one stays, and is there for who comes later. */
export function tellDeaths(tracker: INotebookTracker, kernels: IKernels): void {
  tracker.widgetAdded.connect((_, panel) => {
    void panel.revealed.then(() => panel.isDisposed || follow(panel, kernels));
  });
}

function follow(panel: NotebookPanel, kernels: IKernels): void {
  let id = '';
  let read = ''; // when the end was that this page has told
  let strip: DiedStrip | undefined;
  const look = (): void => {
    id = kernelOf(panel.sessionContext) ?? id; // one that is dead has no connection
    const kernel = kernels.get(id);
    if (kernel?.died && kernel.died.at !== read) {
      strip?.dispose();
      strip = new DiedStrip(panel);
      read = kernel.died.at;
    }
    if (kernel && strip && !strip.isDisposed) {
      AWAY.has(kernel.state) ? strip.dispose() : strip.tell(kernel.died, kernel.state === 'dead');
    }
  };
  const onKernel = (_: unknown, changed: string): void => {
    if (changed === (kernelOf(panel.sessionContext) ?? id)) {
      look();
    }
  };
  const onRestarted = (_: unknown, told: hub.Restarted): void => {
    if (told.kernel === id) {
      strip?.dispose();
    }
  };
  kernels.changed.connect(onKernel);
  kernels.restarted.connect(onRestarted);
  panel.sessionContext.kernelChanged.connect(look);
  panel.disposed.connect(() => {
    kernels.changed.disconnect(onKernel);
    kernels.restarted.disconnect(onRestarted);
    panel.sessionContext.kernelChanged.disconnect(look);
  });
  look();
}

/** Runs cells by their IDs, in that order; those that are not there any more are passed over. */
async function runAgain(panel: NotebookPanel, ids: string[]): Promise<void> {
  const cells = ids.flatMap(id => panel.content.widgets.find(cell => cell.model.id === id) ?? []);
  if (cells.length) {
    await NotebookActions.runCells(panel.content, cells, panel.sessionContext);
  }
}

/** States in which the life that followed is over, too. */
const AWAY = new Set<hub.KernelState>(['freezing', 'resuming']);

class DiedStrip extends ReactWidget {
  constructor(private readonly _panel: NotebookPanel) {
    super();
    this.addClass('cellar-Died');
    _panel.contentHeader.addWidget(this);
  }

  /** What is known of it; undefined once somebody has gone on, and the strip stays as it is. */
  tell(died: hub.Died | undefined, dead: boolean): void {
    this._died = died ?? this._died;
    this._dead = dead;
    this.update();
  }

  protected render(): JSX.Element | null {
    const died = this._died;
    if (!died) {
      return null;
    }
    const at = moment(died.at);
    return (
      <div className="cellar-Died-strip" role="alert">
        <div className="cellar-Died-words" title={died.reason}>
          <b>{this._dead ? `The kernel ended at ${at} and does not come up again.` : `The kernel started again at ${at}: its variables are gone.`}</b>
          <div>{died.reason}</div>
        </div>
        {died.checkpoint && died.checkpoint_at && (
          <button
            type="button"
            className="jp-mod-styled jp-mod-accept"
            title={`Every variable as it was ${ago(died.checkpoint_at)}`}
            disabled={this._going}
            onClick={() => void this._goBack(died.checkpoint!)}
          >
            Go back to the checkpoint of {moment(died.checkpoint_at)}
          </button>
        )}
        {died.checkpoint && !!died.since?.length && (
          <button
            type="button"
            className="jp-mod-styled"
            title="The cells that had ended well since that checkpoint, in the order in which they were run"
            disabled={this._going}
            onClick={() => void this._goBack(died.checkpoint!, died.since)}
          >
            … and run {died.since.length === 1 ? 'the cell' : `the ${died.since.length} cells`} since then
          </button>
        )}
        <button type="button" className="jp-mod-styled" onClick={() => this.dispose()} aria-label="Close">
          ×
        </button>
      </div>
    );
  }

  private async _goBack(checkpoint: string, again: string[] = []): Promise<void> {
    this._going = true;
    this.update();
    const end = 'The kernel is what it was at the checkpoint.';
    const done = await track('Going back', () => hub.applyCheckpoint(checkpoint, hub.VARIABLES_ONLY), end);
    this._going = false;
    if (done && !this._panel.isDisposed) {
      void runAgain(this._panel, again);
    }
    if (this.isDisposed) { // as it is while the kernel goes back
      return;
    }
    done ? this.dispose() : this.update();
  }

  private _died: hub.Died | undefined;
  private _dead = false;
  private _going = false;
}
