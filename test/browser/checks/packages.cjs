// The packages of a project on its page: the list, requirements, a reset that is undone.
const { readFile } = require('node:fs/promises');
const { until } = require('../lib/hub.cjs');
const { same, truly } = require('../lib/report.cjs');

/** Serves a wheel on the kernel's own loopback, slowly enough to be seen, and installs it. */
const INSTALL = `
import http.server, pathlib, threading, time, zipfile
root = pathlib.Path('/tmp/simple/shoes'); root.mkdir(parents=True, exist_ok=True)
wheel = root / 'shoes-2.1-py3-none-any.whl'
with zipfile.ZipFile(wheel, 'w') as z:
    z.writestr('shoes.py', 'size = 42\\n')
    z.writestr('shoes_data.bin', __import__('os').urandom(6_000_000))
    z.writestr('shoes-2.1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: shoes\\nVersion: 2.1\\n')
    z.writestr('shoes-2.1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('shoes-2.1.dist-info/RECORD', 'shoes.py,,\\nshoes_data.bin,,\\nshoes-2.1.dist-info/METADATA,,\\nshoes-2.1.dist-info/WHEEL,,\\nshoes-2.1.dist-info/RECORD,,\\n')
(root / 'index.html').write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
class Slow(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *a): super().__init__(*a, directory='/tmp')
    def log_message(self, *a): pass
    def copyfile(self, source, out):
        while chunk := source.read(200_000):
            out.write(chunk); time.sleep(.1)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 8097), Slow)
threading.Thread(target=server.serve_forever, daemon=True).start()
`;

async function pip(w) {
  const { check, lab } = w;
  await check('10 %pip install says how far it is, in one line, and is brief when it is done', async () => {
    await lab.openFile('tour.ipynb');
    const prepared = await lab.write(INSTALL);
    await prepared.run();
    await prepared.done();
    const cell = await lab.write('%pip install --index-url http://127.0.0.1:8097/simple shoes');
    await cell.run();
    const going = await cell.waitText('a part of the download', text => /\d+(\.\d+)?\/6\.0 MB/.test(text));
    await cell.done();
    const text = await cell.text();
    truly(text, text.includes('Successfully installed shoes-2.1'));
    truly(`lines were added up: ${text}`, (text.match(/6\.0 MB/g) ?? []).length <= 2 && text.split('\n').length < 12);
    return going.split('\n').pop().trim();
  });
}

async function page(w) {
  const { check } = w;
  const own = () => w.page.getByRole('region', { name: 'Your packages' });
  await check('10 the console lists packages, one\'s own apart from the image\'s', async () => {
    await w.page.goto(`${w.hub.url}/p/digits`);
    await own().getByRole('rowheader', { name: 'shoes' }).waitFor();
    await w.page.locator('#packages summary').click();
    await w.page.getByLabel('Find a package of the image').fill('numpy');
    await w.page.getByRole('region', { name: 'Packages of the image' }).getByRole('rowheader', { name: 'numpy' }).waitFor();
    await w.picture('packages');
  });
  await check('10 requirements.txt is downloaded', async () => {
    const [download] = await Promise.all([w.page.waitForEvent('download'), w.page.getByRole('link', { name: 'requirements.txt' }).click()]);
    same('file', await readFile(await download.path(), 'utf8'), 'shoes==2.1\n');
  });
  await check('10 a reset asks first, by keyboard, and is undone', async () => {
    await w.page.getByRole('button', { name: 'Reset to the image' }).focus();
    await w.page.keyboard.press('Enter');
    const dialog = w.page.getByRole('dialog');
    await dialog.waitFor();
    await w.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    same('own', (await w.hub.api('/api/v1/projects/digits/packages')).own, 1);
    await w.page.getByRole('button', { name: 'Reset to the image' }).click();
    await dialog.getByRole('button', { name: 'Reset', exact: true }).click();
    await w.page.getByText('Nothing is installed beside').waitFor();
    await w.page.getByText('1 package put aside').waitFor();
    await w.page.getByRole('button', { name: 'Bring back' }).click();
    await own().getByRole('rowheader', { name: 'shoes' }).waitFor();
    await until('they are back', async () => (await w.hub.api('/api/v1/projects/digits/packages')).own === 1);
  });
}

module.exports = { pip, page };
