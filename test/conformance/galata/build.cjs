const rspack = require('@rspack/core');

rspack(require('./rspack.config.cjs')).run((error, stats) => {
  if (error || stats.hasErrors()) {
    console.error(error ?? stats.toString({ all: false, errors: true }));
    process.exitCode = 1;
  }
});
