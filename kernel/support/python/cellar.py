"""What a notebook may ask of Cellar.

    import cellar

    @cellar.before_checkpoint
    def close(reason):          # "hibernate", "switch", "keep", "publish", "restart"
        connection.close()

    @cellar.after_restore
    def reopen(reason):         # "hibernate", "switch", "apply", "branch", ...
        global connection
        connection = connect()

Hooks run in a thread of their own, also while a cell is running, and have two
seconds. Nothing needs them to keep variables, threads or open files: they are
for what cannot be frozen, such as a connection to a database.

Random numbers of ``random``, NumPy's global state and torch are renewed by
themselves in a branch, which is a second copy; never in the session itself.
"""

from cellar_kernel import hooks as _hooks

__all__ = ["before_checkpoint", "after_restore", "forget"]


def before_checkpoint(function):
    """Registers a function that is called before this kernel is frozen."""
    _hooks.register("before_checkpoint", function)
    return function


def after_restore(function):
    """Registers a function that is called after this kernel was thawed."""
    _hooks.register("after_restore", function)
    return function


def forget(function):
    """Takes a function off both lists."""
    _hooks.unregister(function)
