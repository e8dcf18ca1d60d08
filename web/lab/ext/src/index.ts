// Cellar in JupyterLab: what each part needs and where it is put.
import { IConnectionLost, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry, Notification } from '@jupyterlab/apputils';
import { ILSPDocumentConnectionManager } from '@jupyterlab/lsp';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator } from '@jupyterlab/translation';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { KernelBadge } from './badge';
import { undoCell } from './apply';
import { CheckpointPanel, keepAwake, saveCheckpoint } from './checkpoints';
import { ConfigurationButton } from './configuration';
import { tellDeaths } from './died';
import { showVersions } from './files';
import { HomeLink } from './home';
import * as hub from './hub';
import { IKernels, Kernels } from './kernels';
import { addRename, guardMenus, keepConnected } from './language';
import { showLine } from './line';
import { tellLimits } from './limits';
import { markLines } from './lines';
import { markCells } from './marks';
import { Teller } from './notify';
import { track } from './progress';
import { keepVariables } from './portable';
import { publishCell, publishIcon } from './publish';
import { offerUndo } from './restart';
import { keepRoom } from './room';
import { watchRuns } from './runs';
import { keepSaved } from './saving';
import { share } from './share';
import { KernelUse } from './status';
import { PUBLISH_ARGUMENTS, SWITCH_ARGUMENTS, WITHOUT_ARGUMENTS } from './schema';
import { VariablePanel } from './variables';
import { CurrentKernel } from './watch';
import { rename } from './wording';

const kernels: JupyterFrontEndPlugin<IKernels> = {
  id: '@cellar/lab:kernels',
  description: "The hub's view of the project's kernels.",
  provides: IKernels,
  activate: () => {
    const service = new Kernels();
    if (hub.project) {
      service.open();
    }
    return service;
  }
};

/** A lost line is nothing to stop for: cells go on, and the page catches up by itself. */
const connectionLost: JupyterFrontEndPlugin<IConnectionLost> = {
  id: '@cellar/lab:connection-lost',
  description: 'Says without a dialog that the server does not answer.',
  provides: IConnectionLost,
  activate: () => {
    let told = '';
    return async () => {
      if (!told || !Notification.manager.has(told)) {
        told = Notification.warning('The server does not answer. Cells that run go on; this page reconnects by itself.', {
          autoClose: 10_000
        });
      }
    };
  }
};

/** The notebook toolbar's own items; their places are in the schema of `@cellar/lab:plugin`. */
const toolbar: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:toolbar',
  description: 'The configuration button and the kernel badge of a notebook.',
  autoStart: true,
  requires: [INotebookTracker, IToolbarWidgetRegistry, IKernels],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker, registry: IToolbarWidgetRegistry, kernels: IKernels) => {
    const buttons = new WeakMap<NotebookPanel, ConfigurationButton>();
    registry.addFactory<NotebookPanel>('Notebook', 'cellar-configuration', panel => {
      const button = new ConfigurationButton(panel.sessionContext, kernels);
      buttons.set(panel, button);
      return button;
    });
    registry.addFactory<NotebookPanel>(
      'Notebook',
      'cellar-kernel',
      panel => new KernelBadge(panel.sessionContext, kernels)
    );
    tracker.widgetAdded.connect((_, panel) => keepRoom(panel.toolbar));
    app.commands.addCommand('cellar:switch', {
      describedBy: SWITCH_ARGUMENTS,
      label: 'Switch Configuration…',
      caption: 'Give the kernel another configuration; its variables stay',
      isEnabled: () => !!tracker.currentWidget?.sessionContext.session?.kernel,
      execute: async ({ configuration, move }) => {
        const button = tracker.currentWidget && buttons.get(tracker.currentWidget);
        if (configuration) {
          await button?.switchTo(String(configuration), !!move);
        } else {
          button?.toggle();
        }
      }
    });
  }
};

const checkpoints: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:checkpoints',
  description: 'The panel of checkpoints, and hibernation.',
  autoStart: true,
  requires: [INotebookTracker, IKernels],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels) => {
    const current = new CurrentKernel(tracker);
    const panel = new CheckpointPanel(current, kernels, app.commands);
    app.shell.add(panel, 'left', { rank: 350 });
    const state = () => kernels.get(current.id)?.state;
    app.commands.addCommand('cellar:save-checkpoint', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Save Checkpoint…',
      caption: 'Keep the state of the kernel, to come back to it',
      isEnabled: () => !!current.id,
      execute: async () => {
        if (current.id) {
          await saveCheckpoint(current.id);
          await panel.refresh();
        }
      }
    });
    app.commands.addCommand('cellar:show-checkpoints', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Show Checkpoints',
      execute: () => app.shell.activateById(panel.id)
    });
    app.commands.addCommand('cellar:hibernate', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Hibernate Now',
      caption: 'Save the state of the kernel and release its machine',
      isEnabled: () => state() === 'running',
      execute: async () => {
        const id = current.id;
        if (id) {
          await track('Hibernating', () => hub.hibernate(id), 'Hibernated. Run a cell and it continues.');
        }
      }
    });
    app.commands.addCommand('cellar:undo-cell', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Undo Cell: Go Back to Before It Ran…',
      caption: 'All variables as they were at the newest checkpoint from before the last run of this cell',
      isEnabled: () => !!current.id && !!current.panel,
      execute: async () => {
        if (current.id && current.panel) {
          await undoCell(current.id, current.panel);
          await panel.refresh();
        }
      }
    });
    app.commands.addCommand('cellar:keep-awake', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Keep Awake…',
      caption: 'The kernel does not hibernate by itself for a while',
      isEnabled: () => !!current.id && state() !== 'dead',
      execute: async () => {
        if (current.id) {
          await keepAwake(current.id);
        }
      }
    });
    app.commands.addCommand('cellar:keep-variables', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Keep Variables Only…',
      caption: 'Each variable for itself, for another image or another kind of machine',
      isEnabled: () => !!current.id && state() !== 'dead',
      execute: async () => {
        if (current.id) {
          await keepVariables(current.id);
          await panel.refresh();
        }
      }
    });
    app.commands.addCommand('cellar:resume', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Resume',
      caption: 'Bring the kernel back with its variables',
      isEnabled: () => state() === 'hibernated',
      execute: async () => {
        const id = current.id;
        if (id) {
          await track('Resuming', () => hub.resume(id), 'The kernel is back with its variables.');
        }
      }
    });
    kernels.changed.connect((_, id) => {
      if (id === current.id) {
        app.commands.notifyCommandChanged('cellar:hibernate');
        app.commands.notifyCommandChanged('cellar:resume');
      }
    });
  }
};

const versions: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:versions',
  description: 'Earlier versions of files, as checkpoints have them.',
  autoStart: true,
  requires: [IFileBrowserFactory],
  activate: (app: JupyterFrontEnd, factory: IFileBrowserFactory) => {
    const chosen = () => {
      const item = factory.tracker.currentWidget?.selectedItems().next();
      return item && !item.done && item.value.type !== 'directory' ? item.value.path : undefined;
    };
    app.commands.addCommand('cellar:versions', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Earlier Versions…',
      caption: 'This file as checkpoints have it: open, compare, restore',
      isEnabled: () => !!hub.project && !!chosen(),
      execute: async () => {
        const path = chosen();
        if (path) {
          await showVersions(path);
          await factory.tracker.currentWidget?.model.refresh();
        }
      }
    });
  }
};

const sharing: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:share',
  description: 'Shares the current notebook by a link.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker) => {
    app.commands.addCommand('cellar:share', {
      label: 'Share Notebook by a Link…',
      caption: 'Others read it with its outputs, and may make a copy of their own',
      isEnabled: () => !!hub.project && !!tracker.currentWidget,
      execute: async () => {
        const context = tracker.currentWidget?.context;
        if (!context) {
          return;
        }
        if (context.model.dirty) {
          await context.save(); // what is shown is the file
        }
        await share({ notebook: context.path });
      }
    });
    tracker.currentChanged.connect(() => app.commands.notifyCommandChanged('cellar:share'));
  }
};

const variables: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:variables',
  description: 'The panel of variables.',
  autoStart: true,
  requires: [INotebookTracker, IKernels],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels) => {
    const panel = new VariablePanel(new CurrentKernel(tracker), kernels);
    app.shell.add(panel, 'right', { rank: 350 });
    app.commands.addCommand('cellar:show-variables', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Show Variables',
      execute: () => app.shell.activateById(panel.id)
    });
  }
};

const publish: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:publish',
  description: 'Publishes a cell as a node.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker) => {
    app.commands.addCommand('cellar:publish', {
      describedBy: PUBLISH_ARGUMENTS,
      label: args => (args.checkpoint ? 'Publish the selected cell, as of then…' : 'Publish Cell…'),
      caption: 'Publish this cell as an API',
      icon: args => (args.toolbar ? publishIcon : undefined),
      isEnabled: () => tracker.activeCell?.model.type === 'code',
      execute: async ({ checkpoint }) => {
        const panel = tracker.currentWidget;
        const cell = tracker.activeCell?.model;
        if (panel && cell) {
          await publishCell(panel, cell, checkpoint ? String(checkpoint) : undefined);
        }
      }
    });
    tracker.activeCellChanged.connect(() => app.commands.notifyCommandChanged('cellar:publish'));
  }
};

const runs: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:runs',
  description: 'Shows what the server ran, or still runs, for a notebook that was closed.',
  autoStart: true,
  requires: [INotebookTracker, IKernels],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels) => {
    if (hub.project) {
      watchRuns(tracker, kernels);
    }
  }
};

const marks: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:marks',
  description: 'Shows beside each cell how long it took and how much memory it needed.',
  autoStart: true,
  requires: [INotebookTracker, IKernels],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels) => {
    if (hub.project) {
      markCells(tracker, kernels);
      markLines(tracker, kernels);
    }
  }
};

const notify: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:notify',
  description: 'Notifies when long cells end while the page is not seen.',
  autoStart: true,
  requires: [INotebookTracker, ISettingRegistry],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker, registry: ISettingRegistry) => {
    const teller = new Teller(app.shell);
    void registry.load(plugin.id).then(settings => teller.use(settings));
    if (hub.project) {
      tracker.widgetAdded.connect((_, panel) => teller.watch(panel));
    }
    app.commands.addCommand('cellar:notify', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'Notify When Long Cells End',
      caption: 'By the browser, while this page is not seen',
      isToggleable: true,
      isToggled: () => teller.on,
      isEnabled: () => 'Notification' in window,
      execute: async () => {
        await teller.toggle();
        app.commands.notifyCommandChanged('cellar:notify');
      }
    });
  }
};

const restart: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:restart',
  description: 'Offers to undo a restart.',
  autoStart: true,
  requires: [INotebookTracker, IKernels],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels) => offerUndo(tracker, kernels)
};

const limits: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:limits',
  description: 'Says when a limit on units is near or reached.',
  autoStart: true,
  requires: [IKernels],
  activate: (_: JupyterFrontEnd, kernels: IKernels) => tellLimits(kernels)
};

const line: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:line',
  description: 'Shows where a kernel stands that waits for room on the machine.',
  autoStart: true,
  requires: [INotebookTracker, IKernels],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels) => showLine(tracker, kernels)
};

const died: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:died',
  description: 'Says why a kernel ended by itself, and offers its newest checkpoint.',
  autoStart: true,
  requires: [INotebookTracker, IKernels],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels) => tellDeaths(tracker, kernels)
};

const saving: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:saving',
  description: 'Saves notebooks as they are worked on.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker) => keepSaved(tracker)
};

const language: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:language',
  description: 'Connects to language servers again that were lost; renames by keyboard.',
  autoStart: true,
  optional: [ILSPDocumentConnectionManager],
  activate: (app: JupyterFrontEnd, manager: ILSPDocumentConnectionManager | null) => {
    if (manager) {
      guardMenus(app);
    addRename(app);
      keepConnected(manager);
    }
  }
};

const wording: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:wording',
  description: "Calls Jupyter's copies of files file checkpoints.",
  autoStart: true,
  requires: [ITranslator],
  activate: (_: JupyterFrontEnd, translator: ITranslator) => rename(translator)
};

const status: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:status',
  description: "Shows what the current notebook's kernel uses.",
  autoStart: true,
  requires: [INotebookTracker, IKernels, IStatusBar],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker, kernels: IKernels, bar: IStatusBar) => {
    const item = new KernelUse(new CurrentKernel(tracker), kernels);
    bar.registerStatusItem(status.id, {
      item,
      align: 'left',
      rank: 2,
      isActive: () => item.active,
      activeStateChanged: item.activeChanged
    });
  }
};

const home: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:home',
  description: "A link back to the hub's own pages.",
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    app.shell.add(new HomeLink(), 'top', { rank: 0 });
    app.commands.addCommand('cellar:home', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'All Projects',
      execute: () => window.location.assign(hub.home)
    });
    app.commands.addCommand('cellar:sessions', {
      describedBy: WITHOUT_ARGUMENTS,
      label: 'All Sessions',
      caption: 'The kernels of all projects',
      execute: () => window.location.assign(hub.sessions)
    });
  }
};

/** Carries the schema that places the rest in menus and toolbars, and fills the palette. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: '@cellar/lab:plugin',
  description: 'Configurations, checkpoints, hibernation and publishing.',
  autoStart: true,
  optional: [ICommandPalette],
  activate: (_: JupyterFrontEnd, palette: ICommandPalette | null) => {
    const commands = ['switch', 'save-checkpoint', 'show-checkpoints', 'show-variables', 'undo-cell', 'hibernate', 'resume', 'keep-awake', 'keep-variables', 'publish', 'share', 'notify', 'sessions', 'home'];
    commands.forEach(name => palette?.addItem({ command: `cellar:${name}`, category: 'Cellar' }));
  }
};

export default [connectionLost, kernels, toolbar, checkpoints, versions, sharing, variables, publish, runs, marks, notify, restart, limits, line, died, saving, language, wording, status, home, plugin];
