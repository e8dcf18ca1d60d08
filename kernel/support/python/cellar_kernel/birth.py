"""A copy of a kernel that was frozen before anything was run in it becomes a
kernel of its own: new random numbers, a session and a working directory of its
own, and the packages of the project it belongs to now.

The hub lets no kernel begin so whose home has what would have had a say at the
start of the interpreter: IPython's settings, usercustomize, packages in the
places of those that are loaded already.
"""

import importlib
import os
import site
import sys
import uuid

_shell = None


def attach(shell):
    global _shell
    _shell = shell


def packages():
    """What pip installs goes to the user's folder, which Python adds to the path
    only if it is there when the interpreter starts: before the image's packages."""
    folder = site.getusersitepackages()
    os.makedirs(folder, exist_ok=True)
    before = list(sys.path)
    site.addsitedir(folder)
    added = [entry for entry in sys.path if entry not in before]
    rest = [entry for entry in sys.path if entry in before]
    at = next((i for i, entry in enumerate(rest) if entry in site.getsitepackages()), len(rest))
    sys.path[:] = rest[:at] + added + rest[at:]


def adapt(directory):
    """Runs in the thread of hooks, before the first message comes."""
    old = os.getcwd()
    os.chdir(directory)
    sys.path[:] = [directory if entry == old else entry for entry in sys.path]
    importlib.invalidate_caches()
    packages()  # its .pth files
    if _shell is None:
        return
    _shell.starting_dir = directory
    _shell.user_ns["_dh"][:] = [type(entry)(directory) for entry in _shell.user_ns["_dh"][:1]]
    os.makedirs(_shell.profile_dir.location, exist_ok=True)
    _shell.profile_dir.check_dirs()
    session = _shell.kernel.session
    session.session = str(uuid.uuid4())
