// JupyterLab gives a language server up that it lost: editors would be without until the page is loaded anew.
// A server ends with the hub, when it runs out of memory, when packages are reset; then it is asked for again.
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ILSPConnection, ILSPDocumentConnectionManager, VirtualDocument, WidgetLSPAdapter } from '@jupyterlab/lsp';
import { ServerConnection } from '@jupyterlab/services';
import { WITHOUT_ARGUMENTS } from './schema';

/** Milliseconds before the first attempt, and the longest pause between two: a server that always ends is no hurry. */
const FIRST = 500;
const LONGEST = 60_000;
/** One that lived as long as this may be asked for at once again. */
const STABLE = 60_000;

/** What a document's adapter does when its file is renamed, in two halves. */
interface Adapter {
  readonly isDisposed: boolean;
  readonly virtualDocument: VirtualDocument | null;
  disconnect(): void;
  initVirtual(): void;
  connectDocument(document: VirtualDocument, open: boolean): Promise<void>;
}

const pause = (ms: number) => new Promise<void>(done => setTimeout(done, ms));

export function keepConnected(manager: ILSPDocumentConnectionManager): void {
  const known = new WeakSet<ILSPConnection>();
  const waits = new Map<string, { next: number; since: number }>();
  manager.connected.connect((_, { connection, virtualDocument }) => {
    if (known.has(connection)) {
      return;
    }
    known.add(connection);
    warm(connection, virtualDocument.documentInfo.uri);
    const id = String(connection.serverIdentifier);
    const wait = waits.get(id) ?? { next: FIRST, since: 0 };
    wait.since = Date.now();
    waits.set(id, wait);
    connection.closeSignal.connect((_, byUs) => {
      if (byUs) {
        return;
      }
      const stable = Date.now() - wait.since > STABLE;
      const ms = stable ? FIRST : wait.next;
      wait.next = Math.min(LONGEST, ms * 2);
      reconnect(manager, connection, ms).catch(reason => console.warn('Cellar:', reason));
    });
  });
}

/**
 * A first completion takes some servers a second or more, and the completer waits for one. Asked once for nothing, they
 * have read by then what every completion needs.
 */
function warm(connection: ILSPConnection, uri: string): void {
  if (connection.provides('completionProvider')) {
    connection.clientRequests['textDocument/completion']
      .request({ textDocument: { uri }, position: { line: 0, character: 0 } })
      .catch(() => undefined);
  }
}

/**
 * A menu that is being opened asks each command whether it is to be shown. One that throws, as jupyterlab-lsp's do
 * until a notebook's virtual document is there, would leave the whole menu empty: it is not shown.
 */
export function guardMenus({ commands }: JupyterFrontEnd): void {
  for (const ask of ['isVisible', 'isEnabled'] as const) {
    const plain = commands[ask].bind(commands);
    commands[ask] = (id, args) => {
      try {
        return plain(id, args);
      } catch (reason) {
        console.debug('Cellar: a command cannot tell whether it is to be shown', id, reason);
        return false;
      }
    };
  }
}

/** The command of jupyterlab-lsp is for a context menu only, and renames what that was opened on. */
export function addRename(app: JupyterFrontEnd): void {
  const theirs = 'lsp:rename-symbol';
  app.commands.addCommand('cellar:rename-symbol', {
    describedBy: WITHOUT_ARGUMENTS,
    label: 'Rename Symbol…',
    caption: 'Rename what the cursor is on wherever it is used',
    isEnabled: () => app.commands.hasCommand(theirs) && app.commands.isVisible(theirs),
    execute: async () => {
      // Else the place where a menu was opened last would count, not the cursor's.
      (app as unknown as { _contextMenuEvent?: MouseEvent })._contextMenuEvent = undefined;
      await app.commands.execute(theirs);
    }
  });
}

/** The documents of a connection; those of foreign code in a notebook go with the notebook's. */
function documentsOf(manager: ILSPDocumentConnectionManager, connection: ILSPConnection): Adapter[] {
  const all = [...manager.adapters.values()] as WidgetLSPAdapter[];
  return (all as unknown as Adapter[]).filter(
    adapter => !adapter.isDisposed && adapter.virtualDocument && manager.connections.get(adapter.virtualDocument.uri) === connection
  );
}

async function reconnect(manager: ILSPDocumentConnectionManager, lost: ILSPConnection, ms: number): Promise<void> {
  await pause(ms);
  while (!(await answers(manager))) {
    await pause((ms = Math.min(LONGEST, Math.max(1000, ms * 2))));
  }
  const adapters = documentsOf(manager, lost);
  // All of them first: the connection is forgotten with its last document.
  adapters.forEach(adapter => adapter.disconnect());
  for (const adapter of adapters) {
    adapter.initVirtual();
    await adapter.connectDocument(adapter.virtualDocument!, true);
  }
}

/** Whether the hub is there. */
async function answers(manager: ILSPDocumentConnectionManager): Promise<boolean> {
  const { settings, statusUrl } = manager.languageServerManager;
  try {
    return (await ServerConnection.makeRequest(statusUrl, {}, settings)).ok;
  } catch {
    return false;
  }
}
