"""``torch.compile`` for a method that knows nothing of it: the modules its step calls are compiled in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook


class CalledModules:
    """Watches which modules are called from outside any other module, and where second derivatives are asked for, which
    do not go through compiled code.

    Phases of that kind are in ``twice``. Outside of phases nobody can be told to run uncompiled: the modules called
    since the last step of an optimiser are then left as they are.
    """

    def __init__(self, phase: Callable[[], str]) -> None:
        self.modules: dict[int, nn.Module] = {}
        self.recent: dict[int, nn.Module] = {}
        self.left: set[int] = set()
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
                self.modules[id(module)] = self.recent[id(module)] = module
            depth += 1

        def left(module: nn.Module, args: Any, output: Any) -> None:
            nonlocal depth
            depth -= 1

        def watched(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("create_graph") and self._phase():
                self.twice.add(self._phase())
            elif kwargs.get("create_graph"):
                self.left.update(self.recent)
            return grad(*args, **kwargs)

        hooks = [
            register_module_forward_pre_hook(entered),
            register_module_forward_hook(left, always_call=True),
            register_optimizer_step_post_hook(lambda *_: self.recent.clear()),
        ]
        torch.autograd.grad = watched
        try:
            yield self
        finally:
            torch.autograd.grad = grad
            for hook in hooks:
                hook.remove()

    def compile(self) -> None:
        """Compile the modules seen, in place: their parameters, names and states stay what they were."""
        for number, module in self.modules.items():
            if number not in self.left:
                module.compile()


def uncompiled() -> AbstractContextManager[Any]:
    """A context in which compiled modules run as they were written."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
