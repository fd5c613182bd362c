"""`otel-audit keys`: make, show, rotate and revoke signing keys."""

from __future__ import annotations

import argparse
import getpass
import time
from datetime import datetime, timezone
from typing import Final

from otel_audit.cli.output import escape, say
from otel_audit.errors import ConfigurationError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Make, show, rotate and revoke the keys that sign checkpoints; make keys for pseudonyms."

_UNITS: Final = {"m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `keys` takes."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")

    generate = actions.add_parser("generate", help="make a key file (PKCS#8, mode 0600) and print its verifier key")
    generate.add_argument("file", help="where the key goes; FILE.vkey gets the verifier key")
    generate.add_argument("--name", required=True, help="the key's name, such as shop.example/audit")
    generate.add_argument(
        "--type",
        "--algorithm",
        dest="algorithm",
        choices=("ed25519", "ml-dsa-44", "cosignature"),
        default="ed25519",
        help="ed25519 (default), ml-dsa-44 for a second signature, cosignature for a witness",
    )
    generate.add_argument("--password", action="store_true", help="ask for a password and encrypt the key with it")

    epochs = actions.add_parser("epochs", help="make forward-secure epoch keys and print their verifier key")
    epochs.add_argument("file", help="where the seed and the public keys go; FILE.vkey gets the verifier key")
    epochs.add_argument("--name", required=True, help="the key's name, such as shop.example/audit")
    epochs.add_argument("--length", type=_length, default=3600, help="of one epoch: 15m, 1h (default), 1d")
    epochs.add_argument("--count", type=int, default=8784, help="of epochs (default: 8784, a year of hours)")

    mac = actions.add_parser("mac", help="make the key of an evolving MAC, and a copy for who checks")
    mac.add_argument("file", help="where the key goes that the process uses up, stream by stream")
    mac.add_argument("--copy", required=True, metavar="FILE", help="where the verification key goes; keep it elsewhere")

    pseudonym = actions.add_parser("pseudonym", help="add a key for pseudonyms to a file; the last one is used")
    pseudonym.add_argument("file", help="where the key goes; made, with mode 0600, if it is not there")

    show = actions.add_parser("show", help="print a key file's verifier key")
    show.add_argument("file")
    show.add_argument("--name", help="the key's name, if FILE.vkey is not there")

    rotate = actions.add_parser("rotate", help="print the old key's statement that another key follows it")
    rotate.add_argument("--old", required=True, metavar="FILE", help="key file of the key that ends")
    rotate.add_argument("--new", required=True, metavar="VKEY", help="verifier key of the key that follows")
    rotate.add_argument("--origin", required=True, help="origin of the stream: <key name>/<stream>")
    rotate.add_argument("--size", required=True, type=int, help="records after which the new key signs")

    revoke = actions.add_parser("revoke", help="print a statement that a key must not be believed any more")
    revoke.add_argument("--by", required=True, metavar="FILE", help="key file of a key that the policy calls `revoker`")
    revoke.add_argument("--key", required=True, metavar="VKEY", help="verifier key of the key that is revoked")
    revoke.add_argument("--reason", required=True)
    revoke.add_argument(
        "--good", action="append", default=[], metavar="ORIGIN:SIZE", help="what stays believed; may be repeated"
    )

    certificate = actions.add_parser("certificate", help="check whose key a verifier key is; print its policy line")
    certificate.add_argument("vkey", metavar="VKEY", help="the verifier key")
    certificate.add_argument("--chain", required=True, metavar="PEM", help="its certificate, then those above it")
    certificate.add_argument("--roots", required=True, metavar="PEM", help="the authorities that you trust")
    certificate.add_argument(
        "--at",
        type=_moment,
        metavar="TIME",
        help="moment that counts: 2026-11-01T00:00:00Z, or POSIX seconds (default: now)",
    )


def run(args: argparse.Namespace) -> int:
    """Do it; print a verifier key, a signed statement or a key's id."""
    actions = {
        "generate": _generate,
        "epochs": _epochs,
        "mac": _mac,
        "pseudonym": _pseudonym,
        "show": _show,
        "rotate": _rotate,
        "revoke": _revoke,
        "certificate": _certificate,
    }
    for line in actions[args.action](args).split("\n"):
        say(escape(line))
    return 0


def _generate(args: argparse.Namespace) -> str:
    from otel_audit.integrity.keys import generate

    password = getpass.getpass("Password for the key: ").encode() if args.password else None
    return generate(args.file, args.name, algorithm=args.algorithm, password=password)


def _epochs(args: argparse.Namespace) -> str:
    from otel_audit.integrity.epochs import Schedule
    from otel_audit.integrity.seedfile import provision

    start = int(time.time()) // args.length * args.length
    return provision(args.file, args.name, Schedule(start, args.length, args.count))


def _mac(args: argparse.Namespace) -> str:
    from otel_audit.integrity.mackey import provision_mac_key

    provision_mac_key(args.file, args.copy)
    return (
        f"{args.file} is for mac_key_file. {args.copy} is the verification key, for `otel-audit verify --mac-key`: "
        "move it off this machine; who has it can check, and could forge."
    )


def _pseudonym(args: argparse.Namespace) -> str:
    from otel_audit.redaction.pseudonyms import add_key

    return f"{args.file}: new pseudonyms are made with key {add_key(args.file).id}"


def _show(args: argparse.Namespace) -> str:
    from otel_audit.integrity.opening import open_signer

    return open_signer(args.file, args.name).vkey


def _rotate(args: argparse.Namespace) -> str:
    from otel_audit.integrity.opening import open_signer
    from otel_audit.integrity.policy import read_vkey
    from otel_audit.integrity.signatures import sign_note
    from otel_audit.integrity.statements import Rotation

    signer = open_signer(args.old)
    text = Rotation(args.origin, signer.vkey, read_vkey(args.new).vkey, args.size).encode()
    return sign_note(text, [signer], time=int(time.time())).encode()[:-1]


def _revoke(args: argparse.Namespace) -> str:
    from otel_audit.integrity.opening import open_signer
    from otel_audit.integrity.policy import read_vkey
    from otel_audit.integrity.signatures import sign_note
    from otel_audit.integrity.statements import Revocation

    good = {}
    for each in args.good:
        origin, _, size = each.rpartition(":")
        if not origin or not size.isdecimal():
            raise ConfigurationError(f"{each!r} is not ORIGIN:SIZE")
        good[origin] = int(size)
    now = int(time.time())
    text = Revocation(read_vkey(args.key).vkey, now, args.reason, good).encode()
    return sign_note(text, [open_signer(args.by)], time=now).encode()[:-1]


def _certificate(args: argparse.Namespace) -> str:
    from otel_audit.integrity.certificates import check_certificate
    from otel_audit.integrity.policy import read_vkey

    key = read_vkey(args.vkey)
    with open(args.chain, "rb") as chain, open(args.roots, "rb") as roots:
        subject = check_certificate(key, chain.read(), roots.read(), at=time.time() if args.at is None else args.at)
    return f"# {subject}\nlog {key.vkey}"


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - UTC by its Z
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-11-01T00:00:00Z or POSIX seconds") from None
    return moment.replace(tzinfo=timezone.utc).timestamp()


def _length(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no length of an epoch; write 15m, 1h or 1d")
    return int(number) * _UNITS[unit]
