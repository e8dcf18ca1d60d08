// The hub's REST API as this page uses it: requests, problems, long operations.
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** How often a long operation is asked for its progress, in milliseconds. */
const POLL = 150;

/** Path of the hub's API, for example "/api/v1/". */
const api = PageConfig.getOption('cellarApi') || '/api/v1/';
export const project = PageConfig.getOption('cellarProject');
export const home = PageConfig.getOption('cellarHome') || '/';
/** The kernels of all projects. */
export const sessions = `${home}sessions`;

// The API lies outside the project's base URL, where makeRequest would refuse to go.
const settings = ServerConnection.makeSettings({
  baseUrl: URLExt.join(new URL(PageConfig.getBaseUrl(), window.location.href).origin, api)
});

export interface Configuration {
  name: string;
  cpus: number;
  /** bytes */
  memory: number;
  gpus: number;
  units_per_second: number;
  /** can be had now */
  available: boolean;
  /** why not */
  reason?: string;
}

export type KernelState =
  | 'starting'
  | 'running'
  | 'switching'
  | 'freezing'
  | 'hibernated'
  | 'resuming'
  | 'dead';

export interface Kernel {
  id: string;
  state: KernelState;
  configuration: string;
  /** the configuration that it goes back to when the cell that borrowed this one has ended */
  home?: string;
  machine: string;
  /** 100 is one core */
  cpu_percent: number;
  /** cores of its configuration; 0: not known any more */
  cpus: number;
  memory_bytes: number;
  memory_limit: number;
  since: string;
  state_detail: string;
  base?: string;
  /** it does not hibernate by itself before */
  awake_until?: string;
  /** when it last came back from hibernation, and how long that took */
  woke_at?: string;
  wake_ms?: number;
  /** how it ended by itself; told until something is run in its next life */
  died?: Died;
  /** what it costs; between two of these a page counts on by the seconds */
  use?: Use;
  /** it waits for room on the machine; 1 is next */
  line?: { position: number; length: number };
}

/** What is left on the machine; -1 is without a limit. */
export interface Free {
  memory: number;
  memory_total: number;
  memory_idle: number;
  cpus: number;
  cpus_total: number;
  cpus_busy: number;
  disk: number;
  gpus: number;
  waiting: number;
}

export interface Use {
  /** units in the kernel's life */
  units: number;
  per_second: number;
  /** of the whole project, today in UTC */
  project_today: number;
  project_per_second: number;
  at: string;
}

/** A limit on units is near, or reached. */
export interface LimitNews {
  level: 'near' | 'reached';
  scope: 'project' | 'user';
  window: 'run' | 'hour' | 'day' | 'month';
  limit: number;
  used: number;
  /** when it is free again; none for a run */
  until?: string;
  kernel?: string;
  cell?: string;
  detail: string;
}

export interface Died {
  at: string;
  reason: string;
  /** the newest of the kernel; absent when it has none */
  checkpoint?: string;
  checkpoint_at?: string;
  /** cells that had ended well since then, in the order in which they were run */
  since?: string[];
}

/** A kernel was restarted. */
export interface Restarted {
  kernel: string;
  /** holds the state from before; absent when nothing was kept */
  checkpoint?: string;
  /** why nothing was kept, where there was something to keep */
  detail?: string;
}

export interface Checkpoint {
  id: string;
  name: string;
  kernel: string;
  kind: string;
  created_at: string;
  size: number;
  added_bytes: number;
  stored: boolean;
  notebook: string;
  note: string;
  pinned: boolean;
  /** the checkpoint that its state came from; empty: none that is left */
  parent: string;
  /** the cell that had ended last, and its execution count (0: not known) */
  after_cell?: string;
  after_count?: number;
  files?: { state: 'none' | 'pending' | 'kept' | 'failed'; files: number; bytes: number; left_out: number; added_bytes: number; detail?: string };
}

/** A variable that was, or was not, kept for itself. */
export interface PortableItem {
  name: string;
  type?: string;
  size?: number;
  reason?: string;
}

export interface KeptVariables extends Checkpoint {
  report: { kept: PortableItem[]; left: PortableItem[]; imports: number };
}

export interface Brought {
  came: number;
  failed: PortableItem[];
  left: PortableItem[];
  /** what differs from when they were kept */
  other?: string[];
}

/** A session that goes on from a checkpoint; without a notebook if the checkpoint had none. */
export interface Branched {
  kernel: string;
  notebook?: string;
}

export interface Changes {
  variables?: { name: string; now: string | null; then: string | null }[] | null; // null: not known, notes say why
  files?: (string | { path: string; change?: string })[];
  notes?: string[];
  /** all files of the project, and packages; null: not known, tree_note says why */
  tree?: FileChanges | null;
  tree_note?: string;
  /** how the notebook's text differs; null: not known, notes say why */
  cells?: CellChanges | null;
}

export interface CellChange {
  id: string;
  type: string;
  kind: 'new' | 'gone' | 'edited';
  now: string;
  then: string;
}

export interface CellChanges {
  items: CellChange[];
  /** how many are not listed */
  more: number;
}

/** A path as it was at a checkpoint, or is now. */
export interface FileView {
  path: string;
  /** the path in base64, when it is no UTF-8 */
  raw?: string;
  kind: 'file' | 'folder' | 'link' | 'other';
  size: number;
  modified_at: string;
  /** it can be opened and restored */
  kept: boolean;
  why?: string;
}

export interface FileChange {
  path: string;
  raw?: string;
  /** what has happened since then */
  change: 'added' | 'changed' | 'removed';
  then?: FileView;
  now?: FileView;
}

export interface FileChanges {
  items: FileChange[];
  packages: { name: string; language: string; now: string; then: string }[];
  /** how many more there are */
  more?: number;
  notes?: string[];
}

/** A file as some checkpoint has it, unlike it is now. */
export interface Version {
  checkpoint: string;
  name: string;
  created_at: string;
  file: FileView;
}

export interface RestoredFile {
  path: string;
  /** what the file that was there is called now */
  aside?: string;
}

/** What becomes of a file that is in the place of one that is restored. */
export type Present = 'refuse' | 'keep' | 'replace';

/** What comes back beside the variables. */
export interface ApplyChoice {
  /** the notebook's text */
  notebook: boolean;
  files: boolean;
  /** other notebooks */
  notebooks: boolean;
  packages: boolean;
}

export const VARIABLES_ONLY: ApplyChoice = { notebook: false, files: false, notebooks: false, packages: false };

export interface NewProject {
  project: string;
  url: string;
  files: number;
  notes?: string[];
}

export interface Variable {
  name: string;
  type: string;
  shape?: string;
  /** bytes */
  size: number;
  /** it is larger than its size says, or its size is not known (0) */
  partial?: boolean;
  value?: string;
}

export interface Variables {
  items: Variable[];
  total: number;
  as_of: string;
  /** false: the kernel could not be asked, and this is what it said last */
  live: boolean;
  /** why it could not */
  detail?: string;
}

/** The last run of a cell, as much as stays known when its outputs are in the notebook. */
export interface Timing {
  cell_id: string;
  msg_id: string;
  kernel: string;
  state: 'queued' | 'running' | 'done' | 'error' | 'aborted';
  execution_count: number | null;
  started_at: string | null;
  ended_at: string | null;
  /** so far, while it runs */
  duration_ms: number;
  /** of the whole kernel while the cell ran, without file caches; 0: not measured */
  peak_memory_bytes: number;
}

export interface Run extends Timing {
  /** nbformat outputs so far; one that can be updated later keeps its `transient.display_id` */
  outputs: any[];
  /** the last kernel message that `outputs` includes */
  last_msg_id?: string;
}

/** A cell that ended while nobody was there. */
export interface Away {
  cell_id: string;
  state: 'done' | 'error';
  ended_at: string;
  duration_ms: number;
  /** of printed text */
  lines: number;
}

export interface Field {
  name: string;
  type: string;
  example?: unknown;
}

export interface Description {
  inputs: Field[];
  outputs: Field[];
  warnings: string[];
}

export interface PublishedNode {
  id: string;
  url: string;
  /** Of a new node; a new revision is called with the keys that there are. */
  key?: string;
  revision: number;
  message: string;
}

/** A node that is there. */
export interface PublishedBefore {
  name: string;
  revision: number;
}

export interface Operation<T> {
  id: string;
  done: boolean;
  /** 0 to 1 */
  progress: number;
  message: string;
  error: ProblemBody | null;
  response: T;
}

interface ProblemBody {
  code?: string;
  title?: string;
  detail?: string;
  status?: number;
}

/** What the hub says when it refuses; the message is meant for people. */
export class Problem extends Error {
  readonly code: string;
  readonly status: number;

  constructor(body: ProblemBody, status = 0) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.code = body.code ?? '';
    this.status = body.status ?? status;
  }
}

export const messageOf = (reason: unknown): string =>
  reason instanceof Error ? reason.message : String(reason);

/** The address of a path below the API, with the page's token where it has one: EventSource cannot send headers. */
export function streamAddress(path: string): string {
  const url = URLExt.join(settings.baseUrl, path);
  return settings.token ? `${url}?token=${encodeURIComponent(settings.token)}` : url;
}

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.headers = { 'Content-Type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  const response = await ServerConnection.makeRequest(settings.baseUrl + path, init, settings);
  const text = await response.text();
  if (!response.ok) {
    throw new Problem(parseProblem(text), response.status);
  }
  return (text ? JSON.parse(text) : undefined) as T;
}

function parseProblem(text: string): ProblemBody {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

const list = async <T>(path: string): Promise<T[]> => (await request<{ items?: T[] }>('GET', path)).items ?? [];

const pause = (ms: number) => new Promise(done => setTimeout(done, ms));

/** Waits for the end of an operation; fails with its problem. */
export async function follow<T>(
  operation: Operation<T>,
  onProgress: (operation: Operation<T>) => void = () => undefined
): Promise<T> {
  let current = operation;
  for (;;) {
    onProgress(current);
    if (current.done) {
      break;
    }
    await pause(POLL);
    current = await request<Operation<T>>('GET', `operations/${current.id}`);
  }
  if (current.error) {
    throw new Problem(current.error);
  }
  return current.response;
}

export const cancel = (operation: string) => request<void>('DELETE', `operations/${operation}`);

const inProject = (path: string) => `projects/${encodeURIComponent(project)}/${path}`;
const ofKernel = (kernel: string, verb: string) => inProject(`kernels/${encodeURIComponent(kernel)}/${verb}`);
const ofCheckpoint = (id: string, verb = '') => inProject(`checkpoints/${encodeURIComponent(id)}${verb}`);
const query = (values: Record<string, string>) => `?${new URLSearchParams(values)}`;

/** kernel: the one that would switch, whose own room counts as free. */
export const configurations = (kernel = '') => list<Configuration>(`configurations${query(kernel ? { kernel } : {})}`);

export const free = () => request<Free>('GET', 'availability');

export const leaveLine = (id: string) => request<void>('DELETE', ofKernel(id, 'line'));

/** Limits of the project and its owner that are near or reached. */
export const limitNews = async (): Promise<LimitNews[]> =>
  (await request<{ news?: LimitNews[] }>('GET', inProject('limits'))).news ?? [];

export const kernels = () => list<Kernel>(inProject('kernels'));
export const events = () => streamAddress(inProject('events'));

export const switchKernel = (kernel: string, configuration: string, move: boolean) =>
  request<Operation<Kernel>>('POST', ofKernel(kernel, 'switch'), { configuration, move });
export const hibernate = (kernel: string) => request<Operation<Kernel>>('POST', ofKernel(kernel, 'hibernate'), {});
export const resume = (kernel: string) => request<Operation<Kernel>>('POST', ofKernel(kernel, 'resume'), {});

export const variables = (kernel: string) => request<Variables>('GET', ofKernel(kernel, 'variables'));

/** All of the project. */
export const checkpoints = () => list<Checkpoint>(inProject('checkpoints'));
export const saveCheckpoint = (kernel: string, name: string) =>
  request<Operation<Checkpoint>>('POST', inProject('checkpoints'), { kernel, name });
export const keepVariables = (kernel: string) =>
  request<Operation<KeptVariables>>('POST', inProject('checkpoints'), { kernel, variables: true });
export const bringVariables = (checkpoint: string) =>
  request<Operation<Brought>>('POST', ofCheckpoint(checkpoint, '/apply'), {});
export const changesOf = (checkpoint: string) => request<Changes>('GET', ofCheckpoint(checkpoint, '/changes'));
/** What another one has otherwise. */
export const changesTo = (checkpoint: string, now: string) =>
  request<Changes>('GET', ofCheckpoint(checkpoint, '/changes') + query({ now }));
export const keepAwake = (kernel: string, seconds: number) => request<Kernel>('POST', ofKernel(kernel, 'awake'), { seconds });
export const applyCheckpoint = (checkpoint: string, choice: ApplyChoice) =>
  request<Operation<{ applied?: { files: number; notes?: string[] } }>>('POST', ofCheckpoint(checkpoint, '/apply'), choice);
export const projectFrom = (checkpoint: string, name: string) =>
  request<Operation<NewProject>>('POST', ofCheckpoint(checkpoint, '/project'), { name });
export const filesSince = (checkpoint: string) => request<FileChanges>('GET', ofCheckpoint(checkpoint, '/files/changes'));
/** Of a file, those that differ from the present one. */
export const versions = (path: string) => list<Version>(inProject('versions') + query({ path }));
export const restoreFile = (checkpoint: string, file: FileView, present: Present) =>
  request<RestoredFile>('POST', ofCheckpoint(checkpoint, '/files/restore'), { ...pathOf(file), present });
const pathOf = (file: { path: string; raw?: string }): Record<string, string> => (file.raw ? { raw: file.raw } : { path: file.path });
/** The address of a file as it was. */
export const contentAddress = (checkpoint: string, file: { path: string; raw?: string }) =>
  settings.baseUrl + ofCheckpoint(checkpoint, '/files/content') + query(pathOf(file));

/** The same for a link, which cannot send headers. */
export const downloadAddress = (checkpoint: string, file: { path: string; raw?: string }) =>
  contentAddress(checkpoint, file) + (settings.token ? `&token=${encodeURIComponent(settings.token)}` : '');

/** Reads a file as it was. */
export async function content(checkpoint: string, file: { path: string; raw?: string }): Promise<ArrayBuffer> {
  const response = await ServerConnection.makeRequest(contentAddress(checkpoint, file), {}, settings);
  if (!response.ok) {
    throw new Problem(parseProblem(await response.text()), response.status);
  }
  return response.arrayBuffer();
}

/** Who a link is for. */
export type Audience = 'anyone' | 'people' | 'named';
/** What a copy has. */
export type Copies = 'notebook' | 'files' | 'state';

export interface ShareRequest {
  name: string;
  notebook?: string;
  checkpoint?: string;
  audience: Audience;
  people?: string[];
  /** 0: never */
  expires_seconds: number;
  copies?: Copies;
}

export interface MadeShare {
  id: string;
  /** told this once */
  url: string;
}

export const share = (what: ShareRequest) => request<MadeShare>('POST', inProject('shares'), what);
export const branchCheckpoint = (checkpoint: string) =>
  request<Operation<Branched>>('POST', ofCheckpoint(checkpoint, '/branch'));
export const renameCheckpoint = (checkpoint: string, name: string) =>
  request<Checkpoint>('PATCH', ofCheckpoint(checkpoint), { name });
export const deleteCheckpoint = (checkpoint: string) => request<void>('DELETE', ofCheckpoint(checkpoint));

export const away = (notebook: string) => list<Away>(inProject('away') + query({ path: notebook }));
export const back = (notebook: string, upTo: string) =>
  request<void>('DELETE', inProject('away') + query({ path: notebook, up_to: upTo }));
export const timings = (notebook: string) => list<Timing>(inProject('timings') + query({ path: notebook }));
export const runs = (notebook: string) => list<Run>(inProject('runs') + query({ path: notebook }));

export interface CellSource {
  notebook: string;
  cell: string;
  kernel?: string;
  /** instead of a kernel: the state, and the cell's text, that it has */
  checkpoint?: string;
}

export const describe = (source: CellSource) => request<Description>('POST', inProject('nodes/describe'), source);
export const nodes = () => list<PublishedBefore>(inProject('nodes'));
export const publish = (name: string, source: CellSource, inputs: Field[], outputs: Field[]) =>
  request<Operation<PublishedNode>>('POST', inProject('nodes'), { name, source, inputs, outputs });
