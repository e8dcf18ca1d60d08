// The way back to the hub's own pages.
import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import * as hub from './hub';

export const cellarIcon = new LabIcon({
  name: 'cellar:cellar',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16">
  <g class="jp-icon3" style="fill:none" stroke="#616161" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round">
    <path d="M2.2 13.8V8a5.8 5.8 0 0 1 11.6 0v5.8z"/>
    <path d="M5.3 13.6V8.2a2.7 2.7 0 0 1 5.4 0v5.4M5.5 9.2h5M5.5 11.4h5"/>
  </g>
</svg>`
});

/** A link, not a button: it can be opened in another tab. */
export class HomeLink extends Widget {
  constructor() {
    super({ node: document.createElement('a') });
    const link = this.node as HTMLAnchorElement;
    this.id = 'cellar-home';
    this.addClass('cellar-Home');
    link.href = hub.home;
    link.title = 'All projects';
    cellarIcon.element({ container: link, elementPosition: 'center', margin: '0', height: '18px', width: '18px' });
    link.append(Object.assign(document.createElement('span'), { textContent: 'Cellar' }));
  }
}
