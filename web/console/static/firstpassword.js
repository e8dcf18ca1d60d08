// A first password: the form goes to the server by itself, this only compares the two fields.

import { byId } from "./dom.js";
import { same } from "./passwords.js";

same(byId("password"));
