"""Work in a process of its own: its memory is its own, and its death is an answer."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable
from typing import Any


def in_own_process(work: Callable[[], dict[str, Any]], dead: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What ``work`` returns in a forked process, or ``dead`` of the reason why that process ended without an answer.

    The parent must not have started threads of computing or a CUDA context. Where the system cannot fork, the work is
    done here.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        return work()
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def answer() -> None:
        sending.send_bytes(json.dumps(work()).encode())

    child = context.Process(target=answer)
    child.start()
    sending.close()
    try:
        made: dict[str, Any] = json.loads(receiving.recv_bytes())
    except EOFError:
        child.join()
        return dead(_reason(child.exitcode))
    finally:
        receiving.close()
    child.join()
    return made


def _reason(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed, probably because the machine ran out of memory"
    if code is not None and code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process ended with exit code {code} and no answer"
