"""The tree down which a cancellation runs.

Shape
    A node is what can end by itself: one for each ``with_cancel``, ``with_deadline`` and merge. It is also the state
    behind that context's ``done``. A context with a value shares its parent's node. What never ends has no place in
    the tree (``Never``). Links go both ways: down, so that a cancellation finds everybody and the leak detector sees
    who can wake whom; up, so that a node that ends leaves its parents at once.

Invariants
    N1  A node that is done has no parents, children, hooks, alarm or waiters, and never changes again.
    N2  A node is among its parents' children exactly while it is not done.
    N3  ``fired`` is set after ``outcome`` and before anything else happens: there is an error exactly when it is done.
    N4  Every node below a cancelled one is marked, a parent before its children, before code of a user's runs.
    N5  A node that belongs to a living loop has parents that do, too. So one look at the node that is cancelled tells
        whether all that is below it may be touched here.
    N6  ``deadline`` is the earliest of its own and its parents'; whoever has one belongs to the loop whose clock it is.

Why not
    One callback of the parent for each child: a deep tree overflows the stack, and a callback that fails keeps the
    next subtree from ending. Weak links to the children, so that forgotten ones vanish: a goroutine may wait on what
    nobody else holds.

Prior art
    Go's ``cancelCtx``; .NET's linked token sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ._core.alarms import Alarm
from ._core.driver import EMPTY, NOWHERE, Driver, WaitQueue, uninterruptible
from ._errors import Cancelled, ContextError, DeadlineExceeded
from ._event import _SignalState


class Hook:
    """Something to be done when a node is."""

    __slots__ = ()

    runs_users_code = False

    def fire(self) -> None:
        """Do it; raises nothing but what ends the program."""
        raise NotImplementedError


class Never(_SignalState):
    """What never ends. Whoever waits for it stands in a queue of his own: it belongs to no loop."""

    __slots__ = ()

    outcome = None
    deadline = None

    def enter(self) -> Driver:
        driver = super().enter()
        self.driver = NOWHERE  # it would keep the loop alive, which may have ended long ago
        return driver

    def check(self) -> None: ...

    def own(self, driver: Driver) -> None: ...

    def waiting(self, driver: Driver) -> WaitQueue:
        return WaitQueue()

    def __repr__(self) -> str:
        return f"<done of {self.kind}: never set>"


class Node(_SignalState):
    """A context that can end."""

    __slots__ = ("alarm", "children", "deadline", "hooks", "outcome", "parents", "reason")

    def __init__(self, kind: str, parents: Sequence[Node] = ()) -> None:
        super().__init__(kind)
        self.parents: Sequence[Node] = ()
        self.children: dict[Node, None] | None = None
        self.hooks: dict[Hook, None] | None = None
        self.outcome: tuple[ContextError, BaseException] | None = None
        self.alarm: Alarm | None = None
        self.deadline: float | None = None
        self.reason: BaseException | None = None  # the cause, if it ends by its alarm
        if parents:
            self._link(parents)

    @uninterruptible
    def _link(self, parents: Sequence[Node]) -> None:
        first = parents[0] if len(parents) == 1 else min(parents, key=_deadline)
        self.deadline, self.reason = first.deadline, first.reason
        for parent in parents:
            if parent.fired:
                self.outcome = parent.outcome
                self.fired = True
                return
        self.parents = parents
        if first.deadline is not None and first.owner is not None:
            self.own(first.owner)  # refuses parents of several loops, before they know of this one
        for parent in parents:
            if parent.children is None:
                parent.children = {}
            parent.children[self] = None

    # Whose it is (N5, N6).

    def _ask_parents(self, driver: Driver) -> None:
        seen: set[Node] = set()
        todo = list(self.parents)
        while todo:
            node = todo.pop()
            if node.owner is driver or node in seen:
                continue
            seen.add(node)
            if node.owner is not None:
                if node.owner.alive():
                    node.refuse(driver)
                node.forget_waiters()
                node.owner = None
            todo.extend(node.parents)

    @uninterruptible
    def own(self, driver: Driver) -> None:
        """Make all up to the roots belong to this loop; nothing has happened if some belong to another."""
        if self.owner is driver:
            return
        self._ask_parents(driver)
        todo: list[Node] = [self]
        while todo:
            node = todo.pop()
            if node.owner is not driver:
                node.driver = node.owner = driver
                todo.extend(node.parents)

    @uninterruptible
    def waiting(self, driver: Driver) -> WaitQueue:
        self.own(driver)
        return super().waiting(driver)

    def forget_waiters(self) -> None:
        if self.deadline is not None and not self.fired:
            raise RuntimeError(
                f"{self!r} goes by the clock of an event loop that is closed: make a new context in this loop"
            )
        self.waiters = EMPTY

    def may_change(self) -> None:
        """Refuse a change from another thread or loop; of what a closed loop left anybody may dispose."""
        owner = self.owner
        if owner is not None and owner.alive():
            self.check()

    # Its end.

    def cancel(self, cause: BaseException | None) -> None:
        if not self.fired:
            err = Cancelled("context cancelled")
            self.end(err, err if cause is None else cause)

    def expire(self) -> None:
        if not self.fired:
            err = DeadlineExceeded("context deadline exceeded")
            self.end(err, err if self.reason is None else self.reason)

    def end(self, err: ContextError, cause: BaseException) -> None:
        hooks = self._mark((err, cause))
        if hooks:
            _fire(hooks)

    @uninterruptible
    def _mark(self, outcome: tuple[ContextError, BaseException]) -> list[Hook]:
        """End this and all below (N4); what is left to be called."""
        hooks: list[Hook] = []
        todo: list[Node] = [self]
        while todo:
            node = todo.pop()
            if node.fired:  # it hangs below two of them; or a finalizer was faster
                continue
            node.outcome = outcome
            node.fired = True
            for parent in node.parents:
                parent.forget(node)
            node.parents = ()
            if node.alarm is not None:
                node.alarm.cancel()
                node.alarm = None
            children, node.children = node.children, None
            if children:
                todo.extend(reversed(children))
            if node.hooks:
                hooks.extend(node.hooks)
            node.hooks = None
            if node.waiters.head is not None:
                if node.owner is not None and node.owner.alive():
                    node.waiters.drain(None)
                else:
                    node.waiters = EMPTY
        for hook in hooks:
            if not hook.runs_users_code:
                hook.fire()
        return [hook for hook in hooks if hook.runs_users_code]

    def forget(self, child: Node) -> None:
        """N2."""
        children = self.children
        if children is not None:
            del children[child]
            if not children:
                self.children = None  # a dictionary that has been large stays large

    # What happens then.

    def attach(self, hook: Hook) -> None:
        """Have ``hook`` fired when it ends; it must not have ended."""
        if self.hooks is None:
            self.hooks = {}
        self.hooks[hook] = None

    def detach(self, hook: Hook) -> bool:
        """Take ``hook`` back; whether it was still there."""
        hooks = self.hooks
        if hooks is None or hook not in hooks:
            return False
        del hooks[hook]
        if not hooks:
            self.hooks = None
        return True

    def __repr__(self) -> str:
        if self.outcome is None:
            return f"<done of a context, {self.kind}: not set, waiters={len(self.waiters)}>"
        return f"<done of a context, {self.kind}: set, {self.outcome[0]!r}>"

    def _check(self) -> None:
        super()._check()
        assert not self.fired or self.outcome is not None, "N3: done, and nobody knows why"
        if self.fired:
            assert not self.parents, "N1: done, and somebody's child"
            assert self.children is None, "N1: done, with children"
            assert self.hooks is None, "N1: done, with something left to do"
            assert self.alarm is None, "N1: done, and its alarm is set"
        for parent in self.parents:
            assert not parent.fired, "N4: not done, though its parent is"
            assert parent.children is not None, "N2: its parent does not know it"
            assert self in parent.children, "N2: its parent does not know it"
            if self.owner is not None and self.owner.alive():
                assert parent.owner is self.owner, "N5: its parent belongs elsewhere"
        for child in self.children or ():
            assert self in child.parents, "N2: its child does not know it"


def fresh_err(node: Node) -> ContextError:
    """The error of a node that is done, made anew: one that is raised again and again drags its traceback along."""
    assert node.outcome is not None
    err, cause = node.outcome
    fresh = type(err)(*err.args)
    fresh.__cause__ = None if cause is err else cause
    fresh._original = err
    return fresh


def _deadline(node: Node) -> float:
    return inf if node.deadline is None else node.deadline


def _fire(hooks: list[Hook]) -> None:
    ending: BaseException | None = None
    for hook in hooks:
        try:
            hook.fire()
        except BaseException as error:
            ending = ending or error
    if ending is not None:
        try:
            raise ending
        finally:
            del ending
