// Jupyter's copies of files are "file checkpoints" here: a checkpoint is a frozen kernel.
import { Gettext, ITranslator } from '@jupyterlab/translation';

const MESSAGES: Record<string, string> = {
  'Revert %1 to Checkpoint…': 'Revert %1 to File Checkpoint…',
  'Revert to Checkpoint': 'Revert to File Checkpoint',
  'Revert %1 to checkpoint': 'Revert %1 to file checkpoint',
  'Revert contents to previous checkpoint': 'Revert contents to the previous file checkpoint',
  'Save and create checkpoint': 'Save and create file checkpoint',
  'Save and Create Checkpoint': 'Save and Create File Checkpoint',
  'No checkpoints': 'No file checkpoints',
  'No checkpoints are available for this %1.': 'No file checkpoints are available for this %1.',
  'Choose a checkpoint': 'Choose a file checkpoint',
  'The checkpoint was last updated at: ': 'The file checkpoint was last updated at: ',
  'Are you sure you want to revert the %1 to checkpoint? ': 'Are you sure you want to revert the %1 to its file checkpoint? '
};

/** Gives the English bundle these messages; other languages bring their own words. */
export function rename(translator: ITranslator): void {
  const bundle = translator.load('jupyterlab');
  if (bundle instanceof Gettext && translator.languageCode === 'en') {
    const head = { language: 'en', pluralForms: 'nplurals=2; plural=(n != 1);' };
    const messages = Object.entries(MESSAGES).map(([from, to]) => [from, [to]]);
    bundle.loadJSON({ '': head, ...Object.fromEntries(messages) }, ''); // English has one bundle for all domains
  }
}
