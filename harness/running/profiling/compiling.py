"""``torch.compile`` for a method that knows nothing of it: the modules its step calls are compiled in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


class CalledModules:
    """Watches which modules are called from outside any other module, and in which phases second derivatives are
    asked for: those do not go through compiled code."""

    def __init__(self, phase: Callable[[], str]) -> None:
        self.modules: dict[int, nn.Module] = {}
        self.twice: set[str] = set()
        self._phase = phase

    @contextmanager
    def watching(self) -> Iterator[CalledModules]:
        """Watch while the block runs."""
        depth = 0
        grad = torch.autograd.grad

        def entered(module: nn.Module, args: Any) -> None:
            nonlocal depth
            if depth == 0:
                self.modules.setdefault(id(module), module)
            depth += 1

        def left(module: nn.Module, args: Any, output: Any) -> None:
            nonlocal depth
            depth -= 1

        def watched(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("create_graph"):
                self.twice.add(self._phase())
            return grad(*args, **kwargs)

        hooks = [register_module_forward_pre_hook(entered), register_module_forward_hook(left, always_call=True)]
        torch.autograd.grad = watched
        try:
            yield self
        finally:
            torch.autograd.grad = grad
            for hook in hooks:
                hook.remove()

    def compile(self) -> None:
        """Compile every module seen, in place: its parameters, names and state stay what they were."""
        for module in self.modules.values():
            module.compile()


def uncompiled() -> AbstractContextManager[Any]:
    """A context in which compiled modules run as they were written."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
