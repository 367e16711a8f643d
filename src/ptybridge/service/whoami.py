"""Tells a caller who it is and what it may do: front ends show what can be used, instead of trying it."""

from typing import get_args

from ptybridge.api import node as api
from ptybridge.api.registry import AnyOperation, Registry
from ptybridge.core.files.places import Places
from ptybridge.model import Access, Caller
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles


class WhoamiService:
    """`node.whoami`."""

    def __init__(self, registry: Registry, places: Places) -> None:
        self._registry = registry
        self._places = places

    @handles(api.WHOAMI)
    def whoami(self, caller: Caller, params: api.Whoami) -> api.Identity:
        """Say what is known of the caller."""
        rules = self._places.rules_for(caller)
        return api.Identity(
            principal=caller.principal,
            profile=caller.profile,
            operations=sorted(one.name for one in self._registry if _may(caller, one)),
            refused_by_access={access: authority.refused_by(access) for access in get_args(Access)},
            as_creator=sorted(authority.AS_CREATOR),
            session_ids=None if caller.session_ids is None else list(caller.session_ids),
            file_roots=None if rules is None else rules.given,
        )


def _may(caller: Caller, operation: AnyOperation) -> bool:
    if not authority.may(caller, operation.scope):
        return False
    limited = caller.session_ids is not None and operation.name not in authority.WITHOUT_SESSION
    return not limited or "session_id" in operation.params.__struct_fields__
