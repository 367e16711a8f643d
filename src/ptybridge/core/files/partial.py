"""A file that arrives in pieces: kept beside its target under a hidden name until it is complete and verified."""

import fcntl
import hashlib
import os
import stat

from ptybridge.core.files.facts import Checked, sha256_of
from ptybridge.core.files.failures import failing
from ptybridge.core.files.places import Place
from ptybridge.core.files.writing import check_target, settle, temporary_name, write_all
from ptybridge.errors import ChecksumMismatch, InvalidParams, TransferRunning, UnsafePath


class Partial:
    """What has arrived of a file. It stays when this object is closed, and is found again by its id."""

    def __init__(
        self, place: Place, upload_id: str, *, overwrite: bool, mode: int | None, if_match: str | None
    ) -> None:
        """Find or make it. Raises why the target cannot be written, or `TransferRunning`."""
        self.place = place
        self._overwrite, self._mode, self._if_match = overwrite, mode, if_match
        check_target(place, overwrite=overwrite, if_match=if_match)
        self._name = temporary_name(place.name, upload_id)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with failing(place.path):
            self._fd = os.open(self._name, flags, 0o600, dir_fd=place.dir_fd)
        try:
            found = os.fstat(self._fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
                raise UnsafePath(f"{self._name} beside {place.path} is not ours; it was left as it is")
            try:
                # Released by the kernel with the daemon, however that ends.
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise TransferRunning(f"{place.path} is being sent by another connection") from exc
        except BaseException:
            os.close(self._fd)
            raise
        self.size = found.st_size
        # Of what arrived before a resume the checksum is made at the end.
        self._digest = None if self.size else hashlib.sha256()
        os.lseek(self._fd, self.size, os.SEEK_SET)

    @property
    def path(self) -> str:
        """Where it lies until it is complete."""
        return os.path.join(os.path.dirname(self.place.path), self._name)

    def add(self, offset: int, data: bytes, check: Checked) -> None:
        """Add the bytes that come next. Raises `InvalidParams` for others."""
        if offset != self.size:
            raise InvalidParams(f"bytes at {offset} came where those at {self.size} were due")
        with failing(self.place.path):
            write_all(self._fd, data, check)
        self.size += len(data)
        if self._digest is not None:
            self._digest.update(data)

    def finish(self, size: int, sha256: str, check: Checked) -> os.stat_result:
        """Verify what has arrived and give it its name. Raises `ChecksumMismatch`, and then nothing is left of it."""
        if size != self.size:
            raise InvalidParams(f"{size} bytes were announced, and {self.size} have come")
        digest = self._digest.hexdigest() if self._digest else sha256_of(self._fd, self.place.path, check)
        if digest != sha256:
            self.discard()
            raise ChecksumMismatch(f"what arrived of {self.place.path} is not what was sent", hint="send it again")
        return settle(
            self.place, self._fd, self._name, overwrite=self._overwrite, mode=self._mode, if_match=self._if_match
        )

    def discard(self) -> None:
        """Throw away what has arrived."""
        with failing(self.place.path):
            os.unlink(self._name, dir_fd=self.place.dir_fd)

    def close(self) -> None:
        """Leave it for a resume."""
        os.close(self._fd)
