// The tests of @jupyterlab/services as their repository runs them, but for the server: where they would start
// a jupyter-lab of their own, server.js gives them the one under test.
const base = require('@jupyterlab/testing/lib/jest-config')(__dirname);

module.exports = {
  ...base,
  moduleNameMapper: { ...base.moduleNameMapper, '\\./start_jupyter_server$': '<rootDir>/server.js' },
  reporters: ['default'],
  // Types are the repository's business, and want packages built from it.
  transform: { ...base.transform, '^.+\\.tsx?$': ['ts-jest/legacy', { tsconfig: './tsconfig.test.json', diagnostics: false }] }
};
