// What commands take, as JSON schemas: JupyterLab shows them, and programs that drive it ask for them.
import { ReadonlyJSONObject } from '@lumino/coreutils';

export const WITHOUT_ARGUMENTS: { args: ReadonlyJSONObject } = { args: { type: 'object', properties: {} } };

export const SWITCH_ARGUMENTS: { args: ReadonlyJSONObject } = {
  args: {
    type: 'object',
    properties: {
      configuration: { type: 'string', description: 'The name of a configuration; without it the sheet to choose one opens' },
      move: { type: 'boolean', description: 'By checkpoint and restore into a new container' }
    }
  }
};

export const PUBLISH_ARGUMENTS: { args: ReadonlyJSONObject } = {
  args: {
    type: 'object',
    properties: {
      checkpoint: { type: 'string', description: 'The ID of a checkpoint, whose state is published instead of the present one' }
    }
  }
};
