"""Says in a sentence where the library does not work, before the native half fails."""

import sys
import sysconfig


def _check() -> None:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise ImportError(
            "libraft does not support free-threaded builds of Python yet: use the usual build of "
            f"Python {sys.version_info.major}.{sys.version_info.minor}"
        )
    if _interpreter_number() != 0:
        raise ImportError(
            "libraft does not support subinterpreters: import it in the main interpreter"
        )


def _interpreter_number() -> int:
    """0 in the main interpreter, and where there are no others."""
    # The module has had several names.
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            current = __import__(name).get_current()
        except ImportError:
            continue
        # Up to 3.12 it is an object that is an index; later a tuple that begins with the number.
        return int(current[0] if isinstance(current, tuple) else current)
    return 0


_check()
