"""Those functions of Ray that actors need, carried out in this process: what a test asks of it needs no cluster."""

import pickle
from types import SimpleNamespace
from typing import Any


class ActorDiedError(Exception):
    """As Ray's, raised where the answer of a dead actor is asked for."""


class Reference:
    """What Ray has in place of a value; it went through a pickle, as between processes."""

    def __init__(self, value: Any, answered: bool = True) -> None:
        self.value, self.answered = pickle.loads(pickle.dumps(value)), answered


class Handle:
    """A living or dead actor."""

    def __init__(self, actor: Any, options: dict[str, Any]) -> None:
        self.actor, self.options, self.alive, self.silent = actor, options, True, False
        self.commands: list[str] = []
        self.do = SimpleNamespace(remote=self._do)

    def _do(self, command: str, argument: Any) -> Reference:
        self.commands.append(command)
        if self.silent or not self.alive:
            return Reference(ActorDiedError(), answered=not self.silent)
        given = argument if isinstance(argument, Reference) else Reference(argument)
        return Reference(self.actor.do(command, given.value))


class RayHere:
    """Stands for the package `ray`: `handles` are all actors so far, in the order of their beginning."""

    exceptions = SimpleNamespace(RayError=ActorDiedError)

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus
        self.handles: list[Handle] = []

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cpus}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True}]

    def remote(self, **options: Any) -> Any:
        def begin(kind: type, *arguments: Any) -> Handle:
            self.handles.append(Handle(kind(*Reference(arguments).value), options))
            return self.handles[-1]

        return lambda kind: SimpleNamespace(remote=lambda *arguments: begin(kind, *arguments))

    def put(self, value: Any) -> Reference:
        return Reference(value)

    def get(self, reference: Reference) -> Any:
        if isinstance(reference.value, ActorDiedError):
            raise reference.value
        return reference.value

    def wait(self, references: list[Reference], num_returns: int, timeout: float) -> tuple[list, list]:
        """Return those that are answered; without answer is whoever is silent."""
        assert num_returns == len(references)
        assert timeout > 0
        return [x for x in references if x.answered], [x for x in references if not x.answered]

    def kill(self, handle: Handle) -> None:
        handle.alive = False
