"""Whether the certificate that browsers are shown is good: for which names, how long, and with which key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from davide_hub.facts import Site
from davide_hub.health.findings import Finding, problem, warning

# Most authorities give 90 days, and renew from the last 30 on: then something has stopped.
_SOON_DAYS = 21
_RELOAD = "then systemctl reload davide-front"


def judge_certificate(site: Site, told: Mapping[str, Any], now: float) -> Iterator[Finding]:
    """Yield what is wrong with the site's certificate.

    Parameters
    ----------
    site
        The site's facts.
    told
        What `look` found: the certificate's text, and what became of it with its key.
    now
        The time on the hub's host.
    """
    file, key = site.hub.certificate, site.hub.certificate_key
    if not told["text"]:
        yield problem(
            "certificate",
            f"{told['why']}: put the certificate for {_wanted(site)} there, or correct site.hub.certificate",
        )
        return
    try:
        chain = x509.load_pem_x509_certificates(told["text"].encode())
    except ValueError:
        yield problem(
            "certificate", f"{file} holds no certificate: write it as PEM, -----BEGIN CERTIFICATE-----, yours first"
        )
        return
    yield from _key(file, key, told)
    yield from dates(file, chain[0], now, f"put a new one there, {_RELOAD}")
    yield from _names(site, file, chain[0])
    if len(chain) == 1 and chain[0].issuer != chain[0].subject and not _is_root(chain[0]):
        yield warning(
            "certificate",
            f"{file} holds one certificate only, signed by "
            f"{chain[0].issuer.rfc4514_string()}: if that is no authority that browsers "
            "know by heart, add its certificate below, or some of them will refuse",
        )


def _is_root(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _wanted(site: Site) -> str:
    return f"{site.host} and *.{site.host}" if site.origins == "per-user" else site.host


def _key(file: str, key: str, told: Mapping[str, Any]) -> Iterator[Finding]:
    if told["key"] == "good":
        return
    if told["key"] == "KEY_VALUES_MISMATCH":
        yield problem(
            "certificate", f"{key} is not the key of {file}: put the key there with which the certificate was asked for"
        )
    elif told["key"]:
        yield problem(
            "certificate",
            f"{key} can't be read as a key ({told['key']}): write it as "
            f"PEM without a password: openssl pkey -in OLD -out {key}",
        )
    else:
        yield problem(
            "certificate", f"{told['why']}: put the certificate's key there, or correct site.hub.certificate_key"
        )


def dates(file: str, certificate: x509.Certificate, now: float, fix: str) -> Iterator[Finding]:
    """Yield whether a certificate is valid now, and for how long."""
    moment = datetime.fromtimestamp(now, UTC)
    if certificate.not_valid_before_utc > moment:
        yield problem(
            "certificate",
            f"{file} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} "
            "UTC, and this host's clock says "
            f"{moment:%Y-%m-%d %H:%M}: wait, or set the clock right",
        )
    left = certificate.not_valid_after_utc - moment
    if left.total_seconds() <= 0:
        yield problem("certificate", f"{file} ended on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: {fix}")
    elif left.days < _SOON_DAYS:
        yield warning(
            "certificate", f"{file} ends on {certificate.not_valid_after_utc:%Y-%m-%d}, in {left.days} days: {fix}"
        )


def _names(site: Site, file: str, certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names: list[str] = []
    else:
        names = [name.lower() for name in extension.get_values_for_type(x509.DNSName)]
    parent = f"*.{site.host.partition('.')[2]}"
    if site.host not in names and parent not in names:
        yield problem(
            "certificate",
            f"{file} is for {', '.join(names) or 'no name'}, and people type {site.host}: get one for {_wanted(site)}",
        )
    if site.origins == "per-user" and f"*.{site.host}" not in names:
        yield problem(
            "certificate",
            f"{file} is not for *.{site.host}, where sessions are: get "
            "one that has this name too, or write site.origins: shared "
            "(davide-hub check says what that costs)",
        )
