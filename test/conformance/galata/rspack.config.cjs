// Galata's helper inside the page, as a prebuilt extension: upstream ships it only in JupyterLab's Python package,
// but its code is in the npm package.
const path = require('path');
const rspack = require('@rspack/core');

const name = '@jupyterlab/galata-extension';
const out = path.join(__dirname, 'labextensions', name);
const entry = require.resolve('@jupyterlab/galata/lib/extension/index.js');
const theirs = ['@jupyterlab/apputils', '@jupyterlab/terminal', '@lumino/algorithm', '@lumino/coreutils', '@lumino/signaling'];

module.exports = {
  mode: 'production',
  context: __dirname,
  entry: {},
  output: { path: path.join(out, 'static'), filename: '[name].[contenthash].js', publicPath: 'auto', uniqueName: name },
  module: {
    rules: [
      { test: /\.css$/, use: ['style-loader', 'css-loader'], type: 'javascript/auto' },
      { test: /\.(woff2?|ttf|eot)$/, type: 'asset/resource' },
      { test: /\.m?js$/, type: 'javascript/auto', resolve: { fullySpecified: false } }
    ]
  },
  performance: { hints: false },
  devtool: false,
  plugins: [
    new rspack.container.ModuleFederationPlugin({
      name,
      library: { type: 'var', name: ['_JUPYTERLAB', name] },
      filename: 'remoteEntry.js',
      exposes: { './extension': entry },
      // The page's own copies; what the page does not share is built in.
      shared: Object.fromEntries(
        theirs.map(each => [each, { singleton: true, requiredVersion: false, ...(each === '@lumino/algorithm' ? {} : { import: false }) }])
      )
    }),
    {
      apply(compiler) {
        compiler.hooks.done.tap('package', () => {
          const { version } = require('@jupyterlab/galata/package.json');
          const build = { load: 'static/remoteEntry.js', extension: './extension' };
          require('fs').writeFileSync(path.join(out, 'package.json'), JSON.stringify({ name, version, jupyterlab: { _build: build } }));
        });
      }
    }
  ]
};
