"""Starts ipykernel the way Cellar's keeper needs it.

A drop-in for ``python -m ipykernel_launcher``: same arguments.
"""

import zmq
from ipykernel.kernelapp import IPKernelApp


class KernelApp(IPKernelApp):
    def init_iopub(self, context):
        # No high-water mark: what the keeper has not read yet waits in memory
        # instead of being dropped. The keeper reads far faster than Python prints.
        context.setsockopt(zmq.SNDHWM, 0)
        super().init_iopub(context)


def main():
    from traitlets.config import Config

    from cellar_kernel import birth, hooks

    birth.packages()
    hooks.start()

    config = Config()
    # A history file would be open in the kernel for ever, and SQLite refuses a
    # database whose inode changed under it: history stays, in memory.
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShellApp.extensions = ["cellar_kernel"]
    KernelApp.launch_instance(config=config)


if __name__ == "__main__":
    main()
