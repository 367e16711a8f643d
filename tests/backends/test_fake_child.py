import trio

from ptybridge.core.child import Child
from ptybridge.core.transcript import Transcript
from ptybridge.keeper.ring import Ring
from ptybridge.testing.contract import ChildContract
from ptybridge.testing.fake_child import FakeChild


class TestFakeChild(ChildContract):
    async def printer(self, data: bytes, code: int, *, capacity: int = 1 << 21) -> tuple[Child, Transcript]:
        await trio.lowlevel.checkpoint()
        child = FakeChild()
        child.print(data)
        child.exit(code)
        return child, Transcript(Ring.anonymous(capacity))

    async def copier(self) -> tuple[Child, Transcript]:
        await trio.lowlevel.checkpoint()
        return FakeChild(copies_input=True), Transcript(Ring.anonymous(1 << 16))
