// One project: its kernels, checkpoints, nodes and packages.

import { base, list, path } from "./api.js";
import { aliasesPart } from "./aliases.js";
import { checkpointsPart } from "./checkpoints.js";
import { button, byId, every } from "./dom.js";
import { kernelsPart } from "./kernels.js";
import { nodesPart } from "./nodes.js";
import { packagesPart } from "./packages.js";
import { deleteProject } from "./projects.js";
import { settingsPart } from "./settings.js";
import { sharesPart } from "./shares.js";
import { storagePart } from "./storage.js";
import { projectUsage } from "./units.js";
import { webhookPart } from "./webhook.js";

const { id, name } = byId("project").dataset;
const project = {
  id, name, kernels: [], configurations: [],
  api: (rest) => path`projects/${id}` + rest,
};

const configurations = list("configurations", { quiet: true })
  .then((items) => { project.configurations = items; })
  .catch(() => {}); // the kernels are shown all the same

const checkpoints = checkpointsPart(project);
const shares = sharesPart(project);
const nodes = nodesPart(project);
const aliases = aliasesPart(project, {});
const packages = packagesPart(project);
const kernels = kernelsPart(project, { changed: () => checkpoints.look(true), shown: checkpoints.again });
project.lookAll = () => Promise.all([kernels.look(true), checkpoints.look(true), nodes.look(true)]);

/** Follows the project's events while the page is seen: a browser has few connections to spare. */
function followEvents() {
  let source = null;
  const turn = () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource(`${base}/api/v1/${project.api("/events")}`);
      source.addEventListener("kernel", (event) => {
        try {
          kernels.told(JSON.parse(event.data));
        } catch {
          kernels.look(true);
        }
      });
      source.addEventListener("node", () => nodes.look(true));
      source.addEventListener("alias", () => aliases.look(true));
      source.addEventListener("checkpoint", () => checkpoints.look(true));
    }
  };
  document.addEventListener("visibilitychange", turn);
  addEventListener("pagehide", () => source?.close());
  turn();
}

byId("delete").replaceWith(button("Delete the project …", "danger", async () => {
  if (await deleteProject(project)) location.assign(`${base}/`);
}));

settingsPart(project);
projectUsage(project);
storagePart(project);
webhookPart(project);
kernels.look();
checkpoints.look();
shares.look();
nodes.look();
aliases.look();
packages.look();
configurations.then(() => kernels.again());
every(5000, kernels.look);
every(15_000, checkpoints.look);
every(15_000, shares.look);
every(5000, nodes.look);
every(15_000, aliases.look);
every(15_000, packages.look);
followEvents();
