// The browser says that a long cell has ended while the page is not seen.
import { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification as Told } from '@jupyterlab/apputils';
import { NotebookPanel } from '@jupyterlab/notebook';
import { Kernel, KernelMessage } from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { duration } from './format';
import * as hub from './hub';

/** Milliseconds after which the hub is asked once more for a run whose end it has not taken in yet. */
const AGAIN = 1000;

export class Teller {
  constructor(private readonly _shell: JupyterFrontEnd.IShell) {}

  use(settings: ISettingRegistry.ISettings): void {
    this._settings = settings;
  }

  /** The person wants it, and the browser lets us. */
  get on(): boolean {
    return this._wanted && 'Notification' in window && Notification.permission === 'granted';
  }

  private get _wanted(): boolean {
    return this._settings?.composite.notifications !== false;
  }

  private get _threshold(): number {
    return 1000 * Number(this._settings?.composite.notifyAfterSeconds ?? 60);
  }

  /** Only ever called by a person's click: only then is the browser asked for its permission. */
  async toggle(): Promise<void> {
    const on = !this.on;
    if (on && (await Notification.requestPermission()) !== 'granted') {
      Told.warning('The browser does not let this page notify. Its settings for this address can change that.');
      return;
    }
    await this._settings?.set('notifications', on);
  }

  watch(panel: NotebookPanel): void {
    const begun = new Map<string, number>(); // when requests whose beginning this page heard began;
    const onMessage = (_: unknown, message: KernelMessage.IMessage): void => {
      const parent = message.parent_header as Partial<KernelMessage.IHeader>;
      const state = (message.content as { execution_state?: string }).execution_state;
      if (message.header.msg_type !== 'status' || parent.msg_type !== 'execute_request' || !parent.msg_id) {
        return;
      }
      if (state === 'busy') {
        begun.set(parent.msg_id, performance.now());
      } else if (state === 'idle') {
        const heard = begun.get(parent.msg_id);
        begun.delete(parent.msg_id);
        this._ended(panel, parent.msg_id, heard);
      }
    };
    const onStatus = (_: unknown, status: Kernel.Status): void => {
      if (status === 'dead') {
        begun.forEach((heard, id) => this._ended(panel, id, heard));
      }
      if (status === 'dead' || status === 'starting' || status === 'restarting') {
        begun.clear();
      }
    };
    panel.sessionContext.iopubMessage.connect(onMessage);
    panel.sessionContext.statusChanged.connect(onStatus);
    panel.disposed.connect(() => {
      panel.sessionContext.iopubMessage.disconnect(onMessage);
      panel.sessionContext.statusChanged.disconnect(onStatus);
    });
  }

  /** What was short is known here; of what may be long the hub knows how long and how it ended. */
  private _ended(panel: NotebookPanel, id: string, heard: number | undefined): void {
    const short = heard !== undefined && performance.now() - heard < this._threshold - AGAIN;
    if (!document.hidden || !this.on || short) {
      return;
    }
    void this._tell(panel, id).catch(reason => console.warn('Cellar: no notification:', hub.messageOf(reason)));
  }

  private async _tell(panel: NotebookPanel, id: string): Promise<void> {
    const find = async () => (await hub.timings(panel.context.path)).find(t => t.msg_id === id);
    let run = await find();
    if (!run || run.state === 'running') {
      await new Promise(done => setTimeout(done, AGAIN));
      run = await find();
    }
    if (!run?.ended_at || run.duration_ms < this._threshold || !document.hidden) {
      return;
    }
    const words = { done: 'finished', error: 'failed', aborted: 'was cut off' }[run.state as string] ?? 'ended';
    const note = new Notification(`A cell ${words}`, {
      body: `${panel.context.path}, after ${duration(run.duration_ms)}`,
      tag: run.msg_id // two tabs of the same notebook say it once
    });
    note.onclick = () => {
      note.close();
      window.focus();
      show(this._shell, panel, run!.cell_id);
    };
  }

  private _settings: ISettingRegistry.ISettings | undefined;
}

function show(shell: JupyterFrontEnd.IShell, panel: NotebookPanel, cell: string): void {
  if (panel.isDisposed) {
    return;
  }
  shell.activateById(panel.id);
  const notebook = panel.content;
  const index = notebook.widgets.findIndex(w => w.model.id === cell);
  if (index >= 0) {
    notebook.activeCellIndex = index;
    void notebook.scrollToItem(index, 'smart');
  }
}
