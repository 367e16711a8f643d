"""`cert`: a certificate of one's own, for a web front that others can reach."""

import click

from ptybridge.cli.app import App
from ptybridge.cli.command import command


@command(
    "cert",
    example="""
    ptybridge cert
    ptybridge cert box.lan 192.168.1.20
    ptybridge cert --renew
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--renew", is_flag=True, help="Make a new one even if the present one is still good.")
@click.option(
    "--days", type=click.IntRange(1, 397), default=397, metavar="N", show_default=True, help="How long it is good."
)
def cert_command(app: App, names: tuple[str, ...], renew: bool, days: int) -> int:
    """Make a certificate for this machine, its addresses on loopback and each NAME, or renew the one there is.

    It is signed by an authority of your own, which is made first; tell your browsers to trust that one (ca.pem). A web
    front that runs takes up a renewed certificate by itself.
    """
    from ptybridge.web.certificates import directory_of, ensure  # takes a tenth of a second to load

    made = ensure(directory_of(app.config.paths.state_dir), names, days=days, force=renew)
    if app.json:
        app.emit(made)
        return 0
    print(f"{'made' if made.made else 'still good'}: {made.cert}")
    print(f"  names:   {', '.join(made.names)}")
    print(f"  trust:   {made.authority}")
    if app.config.web.tls_cert != made.cert:
        print(f'  use it:  [web] tls_cert = "{made.cert}"')
        print(f'           [web] tls_key = "{made.key}"')
    return 0
