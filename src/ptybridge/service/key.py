"""Handlers of keys and logins."""

from ptybridge.api import key as api
from ptybridge.core.keyring import Keyring
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles


class KeyService:
    """Makes, lists and ends what is on the node's keyring."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    @handles(api.CREATE)
    async def create(self, caller: Caller, params: api.CreateKey) -> api.CreatedKey:
        """Make a key."""
        grant, value = await self._keyring.create_key(
            params.name,
            params.level,
            expires_in_ms=params.expires_in_ms,
            session_ids=None if params.session_ids is None else tuple(params.session_ids),
        )
        return api.CreatedKey(key=api.described(grant), value=value)

    @handles(api.LIST)
    def list(self, caller: Caller, params: api.ListKeys) -> api.Keys:
        """List them."""
        return api.Keys(keys=[api.described(one) for one in self._keyring.all()])

    @handles(api.REVOKE)
    async def revoke(self, caller: Caller, params: api.RevokeKey) -> api.RevokedKeys:
        """End one."""
        gone = await self._keyring.revoke(params.key_id)
        return api.RevokedKeys(keys=[api.described(one) for one in gone])
