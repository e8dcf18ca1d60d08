// Two kinds of compile: the application, and one style sheet per theme.
const path = require('path');
const rspack = require('@rspack/core');
const svg = require('mini-svg-data-uri');
const gen = require('./gen.cjs');

const dist = path.resolve(__dirname, 'dist');
const leftOut = path.resolve(__dirname, 'src/leftout.js');
const inlineSvg = { dataUrl: { content: s => svg(s.content), mimetype: 'image/svg+xml' } };

const rules = [
  { test: /(?<!\.raw)\.css$/, use: ['style-loader', 'css-loader'], type: 'javascript/auto' },
  { test: /\.raw\.css$/, type: 'asset/source' },
  { test: /\.(txt|md)$/, type: 'asset/source' },
  { test: /\.(jpe?g|png|gif|eot|ttf|woff2?)(\?.*)?$/, type: 'asset/resource' },
  { test: /\.js\.map$/, type: 'asset/resource' },
  { test: /\.svg(\?.*)?$/, issuer: /\.css$/, type: 'asset', generator: inlineSvg },
  { test: /\.svg(\?.*)?$/, issuer: /\.[jt]sx?$/, type: 'asset/source' },
  { test: /\.m?js$/, type: 'javascript/auto', resolve: { fullySpecified: false } },
  {
    test: /\.tsx?$/,
    loader: 'builtin:swc-loader',
    options: {
      jsc: {
        parser: { syntax: 'typescript', tsx: true },
        target: 'es2020',
        transform: { react: { runtime: 'automatic' } }
      }
    },
    type: 'javascript/auto'
  }
];

const application = {
  name: 'application',
  mode: 'production',
  target: ['web', 'es2020'],
  bail: true,
  context: __dirname,
  entry: { main: './src/entry.js' },
  output: {
    path: path.join(dist, 'static'),
    filename: '[name].[contenthash:16].js',
    chunkFilename: '[name].[contenthash:16].js',
    assetModuleFilename: '[hash:16][ext]',
    publicPath: 'auto',
    hashFunction: 'xxhash64',
    uniqueName: 'cellar-lab'
  },
  resolve: {
    extensions: ['.ts', '.tsx', '.js', '.json'],
    modules: [path.resolve(__dirname, 'node_modules')],
    alias: {
      'lab-generated': gen.generated,
      [`${gen.LANGUAGE}$`]: path.resolve(__dirname, 'src/language.js'),
      '@jupyter-lsp/theme-vscode$': leftOut,
      [`${gen.OURS}$`]: path.join(gen.dirOf(gen.OURS), 'src/index.ts'),
      [`${gen.OURS}/style`]: path.join(gen.dirOf(gen.OURS), 'style')
    },
    fallback: {
      url: false,
      buffer: false,
      crypto: false,
      path: require.resolve('path-browserify'),
      process: require.resolve('process/browser')
    }
  },
  module: { rules },
  devtool: false,
  externals: ['ws'],
  performance: { hints: false },
  optimization: {
    moduleIds: 'deterministic',
    chunkIds: 'deterministic',
    splitChunks: {
      chunks: 'all',
      minSize: 60000,
      maxInitialRequests: 12,
      maxAsyncRequests: 12,
      cacheGroups: {
        core: {
          test: /[\\/]node_modules[\\/]@(jupyterlab|lumino(?!\/datagrid))[\\/]/,
          chunks: 'initial',
          name: 'core'
        },
        // One file instead of some twenty: a notebook with one formula needs most of them.
        mathjax: {
          test: /[\\/]node_modules[\\/](mathjax-full|mhchemparser|speech-rule-engine)[\\/]/,
          chunks: chunk => !chunk.canBeInitial() && chunk.name !== 'boot',
          name: 'mathjax',
          enforce: true
        }
      }
    }
  },
  plugins: [
    new rspack.ProvidePlugin({ process: 'process/browser' }),
    new rspack.NormalModuleReplacementPlugin(/[\\/]jump_to$/, leftOut),
    new rspack.container.ModuleFederationPlugin({
      name: 'CORE_FEDERATION',
      library: { type: 'var', name: ['_JUPYTERLAB', 'CORE_LIBRARY_FEDERATION'] },
      shared: gen.shared()
    })
  ]
};

const theme = ([name, file]) => ({
  name,
  mode: 'production',
  context: __dirname,
  entry: { index: file },
  output: {
    path: path.join(dist, 'themes', name),
    filename: '[name].js',
    assetModuleFilename: '[hash:16][ext]'
  },
  module: {
    rules: [
      { test: /\.css$/, use: [rspack.CssExtractRspackPlugin.loader, 'css-loader'], type: 'javascript/auto' },
      { test: /\.svg/, type: 'asset/inline', generator: inlineSvg },
      { test: /\.(png|gif|jpe?g|ttf|woff2?|eot)$/, type: 'asset' }
    ]
  },
  plugins: [new rspack.CssExtractRspackPlugin({ filename: '[name].css' })],
  performance: { hints: false }
});

module.exports = { dist, configs: [application, ...Object.entries(gen.themes()).map(theme)] };
