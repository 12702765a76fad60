"""What the library says goes to `logging`, under the logger `libraft` and those below it."""

import logging

# As the library numbers them: error, warn, info, debug, trace.
_LEVELS = {
    1: logging.ERROR,
    2: logging.WARNING,
    3: logging.INFO,
    4: logging.DEBUG,
    5: logging.DEBUG,
}

# A library is silent until the program configures logging.
logging.getLogger("libraft").addHandler(logging.NullHandler())


def emit(level: int, target: str, line: int, message: str) -> None:
    """Hands over a record of the native half."""
    logger = logging.getLogger(target.replace("::", "."))
    if logger.isEnabledFor(_LEVELS[level]):
        record = logger.makeRecord(logger.name, _LEVELS[level], target, line, message, (), None)
        logger.handle(record)
