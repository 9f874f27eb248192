"""A child of ``serve``: ``python -m service.work.child receive``. See `service.work.handover` for what it is told and answers.

What a role does not need is not imported: ``receive`` knows neither database nor workflow engine nor report writer.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Never

from service import logs
from service.errors import ConfigurationError, TemplateError
from service.work.handover import FAILED, MISCONFIGURED, OK, ORPHANED, Order, Ready

_log = logging.getLogger("lms_sr.process")

Announce = Callable[[Ready], None]


def main() -> Never:
    """Do what the supervisor says, until it ends the input or sends SIGTERM."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = Order.from_line(sys.stdin.buffer.readline())
    logs.set_up(order.settings.log, role=order.task if not order.slot else f"{order.task}-{order.slot}")
    # what a library prints must not be taken for an answer
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_exit_with_parent, name="parent-watch", daemon=True).start()

    def announce(ready: Ready) -> None:
        os.write(answers, ready.to_line())

    code = _run(order, announce, stop)
    logging.shutdown()
    # threads that still wait for a peer are cut off: what they do is found again at the next start
    os._exit(code)


def _run(order: Order, announce: Announce, stop: threading.Event) -> int:
    try:
        if order.task == "receive":
            from service.work.receiving import receive  # noqa: PLC0415 - each role imports what it needs

            receive(order, announce, stop)
        elif order.task == "associate":
            from service.work.receiving import associate  # noqa: PLC0415 - as above

            associate(order, announce, stop)
        elif order.task == "work":
            from service.work.working import work  # noqa: PLC0415 - as above

            work(order, announce, stop)
        else:
            from service.work.database import migrate  # noqa: PLC0415 - as above

            migrate(order.settings)
    except (ConfigurationError, TemplateError) as error:
        _log.critical("misconfigured", extra={"ids": {"reason": str(error)}})
        return MISCONFIGURED
    except Exception:  # noqa: BLE001 - the edge of the process
        _log.critical("process_failed", exc_info=True)
        return FAILED
    return OK


def _exit_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    # the parent was killed: at once, so that a new one finds the port free; every point is safe to be killed at
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
