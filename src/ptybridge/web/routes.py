"""Which operation a method and a path are: the routes that operations declare, and one path for each by its name."""

from typing import Final

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule

from ptybridge.api.registry import AnyOperation, Registry

CALL: Final = "/v1/call/"


class Routes:
    """All routes of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        rules = []
        # What they take by name, beside what a path with something in it would take in their place.
        self._fixed: dict[str, set[str]] = {}
        for operation in registry:
            if operation.http is not None:
                method, _, path = operation.http.partition(" ")
                if "{" not in path:
                    self._fixed.setdefault(path, set()).update({method, "HEAD"} if method == "GET" else {method})
                rule = path.replace("{", "<").replace("}", ">")
                rules.append(Rule(rule, methods=[method], endpoint=operation.name))
        self._map = Map(rules, strict_slashes=True, merge_slashes=False)

    def find(self, method: str, path: str) -> tuple[AnyOperation, dict[str, str]] | None:
        """Return the operation with what the path says; None when the path is not ours.

        Raises `MethodNotAllowed`, and `MethodNotFound` for a call of an operation that there is not.
        """
        if path.startswith(CALL):
            if method != "POST":
                raise MethodNotAllowed(["POST"])
            return self._registry[path.removeprefix(CALL)], {}
        if path in self._fixed and method not in self._fixed[path]:
            raise MethodNotAllowed(sorted(self._fixed[path]))
        try:
            name, values = self._map.bind("localhost").match(path, method)
        except MethodNotAllowed:
            raise
        except (NotFound, RequestRedirect, HTTPException):
            return None
        return self._registry[name], dict(values)
