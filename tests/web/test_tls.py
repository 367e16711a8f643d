"""TLS: certificates of one's own, HTTP/2, renewing while it serves, and refusing to be reached without."""

import datetime
import ssl
import stat
from pathlib import Path

import h2.connection
import h2.events
import pytest
import trio
from cryptography import x509
from tests.web.http import PATIENCE_SECONDS, Http, eventually

from ptybridge import config
from ptybridge.daemon import Daemon
from ptybridge.errors import ConfigInvalid, InvalidParams
from ptybridge.web import tls
from ptybridge.web.certificates import Certificate, ensure
from ptybridge.web.listening import open_tcp


@pytest.fixture
def made(tmp_path: Path) -> Certificate:
    return ensure(tmp_path / "tls")


async def connect(made: Certificate, address: str, *protocols: str) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context(cafile=made.authority)
    context.set_alpn_protocols(list(protocols))
    stream = trio.SSLStream(
        await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2])),
        context,
        server_hostname="127.0.0.1",
        https_compatible=True,
    )
    with trio.fail_after(PATIENCE_SECONDS):
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    return stream


class TestCertificates:
    def test_keys_are_the_users_alone(self, made: Certificate) -> None:
        directory = Path(made.directory)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for name in ("key.pem", "ca-key.pem"):
            assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
        assert sorted(one.name for one in directory.iterdir()) == ["ca-key.pem", "ca.pem", "cert.pem", "key.pem"]

    def test_a_good_one_stays_and_new_names_are_added(self, made: Certificate, tmp_path: Path) -> None:
        assert made.made
        assert not ensure(tmp_path / "tls").made
        more = ensure(tmp_path / "tls", ["Box.lan", "192.168.1.20", "fd00::1"])
        assert more.made
        assert {"localhost", "127.0.0.1", "::1", "box.lan", "192.168.1.20", "fd00::1"} <= set(more.names)
        kept = ensure(tmp_path / "tls")
        assert not kept.made
        assert set(kept.names) == set(more.names)

    def test_it_is_renewed_before_its_end_by_the_same_authority(self, made: Certificate, tmp_path: Path) -> None:
        authority = Path(made.authority).read_bytes()
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=370)
        renewed = ensure(tmp_path / "tls", now=later)
        assert renewed.made
        assert renewed.expires_at_ms > made.expires_at_ms
        assert Path(made.authority).read_bytes() == authority

    def test_it_is_what_browsers_accept(self, made: Certificate) -> None:
        cert = x509.load_pem_x509_certificate(Path(made.cert).read_bytes())
        assert cert.not_valid_after_utc - cert.not_valid_before_utc < datetime.timedelta(days=398)
        assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    @pytest.mark.parametrize("name", ["", "a b", "-x/../y", "a" * 64, "é.de", "a..b"])
    def test_a_name_that_is_none_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InvalidParams):
            ensure(tmp_path / "tls", [name])

    def test_files_that_are_something_else_are_left(self, tmp_path: Path) -> None:
        (tmp_path / "tls").mkdir()
        (tmp_path / "tls" / "ca.pem").write_text("not a certificate")
        with pytest.raises(ConfigInvalid, match=r"ca\.pem"):
            ensure(tmp_path / "tls")
        assert (tmp_path / "tls" / "ca.pem").read_text() == "not a certificate"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_s07_nothing_listens_beyond_loopback_without_a_certificate(host: str) -> None:
    with pytest.raises(ConfigInvalid, match="certificate"):
        open_tcp(config.Web(host=host, port=0), 0)


class TestServing:
    @pytest.fixture
    def web_settings(self, made: Certificate) -> config.Web:
        return config.Web(enabled=True, port=0, host="0.0.0.0", tls_cert=made.cert, tls_key=made.key)

    async def test_http_1_and_2_on_one_port(self, daemon: Daemon, made: Certificate) -> None:
        address = f"127.0.0.1:{daemon.web.addresses[0].rpartition(':')[2]}"
        assert daemon.web.base_url.startswith("https://127.0.0.1:")
        async with await connect(made, address, "http/1.1") as stream:
            assert (await Http(stream, address).get("/health")).status == 200
        async with await connect(made, address, "h2", "http/1.1") as stream:
            assert stream.selected_alpn_protocol() == "h2"
            http2 = h2.connection.H2Connection()
            http2.initiate_connection()
            names = {":method": "GET", ":path": "/health", ":scheme": "https", ":authority": address}
            http2.send_headers(1, list(names.items()), end_stream=True)
            await stream.send_all(http2.data_to_send())
            body = b""
            with trio.fail_after(PATIENCE_SECONDS):
                while b"}" not in body:
                    for event in http2.receive_data(bytes(await stream.receive_some())):
                        body += event.data if isinstance(event, h2.events.DataReceived) else b""
            assert b'"ok"' in body

    async def test_a_renewed_certificate_is_taken_up_and_nobody_is_cut_off(
        self, daemon: Daemon, made: Certificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        address = f"127.0.0.1:{daemon.web.addresses[0].rpartition(':')[2]}"
        async with await connect(made, address, "http/1.1") as old:
            before = old.getpeercert(binary_form=True)
            renewed = ensure(tmp_path / "tls", force=True)
            new = before
            with trio.fail_after(PATIENCE_SECONDS):
                while new == before:
                    async with await connect(renewed, address, "http/1.1") as stream:
                        new = stream.getpeercert(binary_form=True)
                    # Not so many at once that the front turns us away.
                    await trio.sleep(0.05)
            assert (await Http(old, address).get("/health")).status == 200

    async def test_plain_speech_is_no_way_in_and_holds_nobody_up(self, daemon: Daemon, made: Certificate) -> None:
        address = f"127.0.0.1:{daemon.web.addresses[0].rpartition(':')[2]}"
        async with await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2])) as plain:
            await plain.send_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            async with await connect(made, address, "http/1.1") as stream:
                assert (await Http(stream, address).get("/health")).status == 200
        await eventually(lambda: daemon.web.connections == 0)


def test_a_pair_that_does_not_fit_is_refused(made: Certificate, tmp_path: Path) -> None:
    other = ensure(tmp_path / "other")
    with pytest.raises(ConfigInvalid, match="no certificate and its key"):
        tls.Tls(config.Web(tls_cert=made.cert, tls_key=other.key))
    with pytest.raises(ConfigInvalid, match="go together"):
        tls.Tls(config.Web(tls_cert=made.cert))
