"""TLS settings: whom to trust, which certificate to show."""

import logging
import ssl
from pathlib import Path
from typing import Tuple, Union

CA_FILE = "/opt/appmesh/ssl/ca.pem"
CLIENT_CERTIFICATE = "/opt/appmesh/ssl/client.pem"
CLIENT_KEY = "/opt/appmesh/ssl/client-key.pem"

logger = logging.getLogger("appmesh")

Verify = Union[bool, str]
Certificate = Union[str, Tuple[str, str], None]


def _default_verify() -> Verify:
    """The CA of the daemon that is installed here; without one, nothing can be verified."""
    return CA_FILE if Path(CA_FILE).is_file() else False


def _default_certificate() -> Certificate:
    """The client certificate that is installed here, if there is one that this user may read."""
    for path in (CLIENT_CERTIFICATE, CLIENT_KEY):
        try:
            with Path(path).open("rb"):
                pass
        except OSError:
            return None
    return CLIENT_CERTIFICATE, CLIENT_KEY


DEFAULT_VERIFY = _default_verify()
DEFAULT_CERTIFICATE = _default_certificate()


def context(verify: Verify, certificate: Certificate) -> ssl.SSLContext:
    """verify: True = the system's CAs, False = nobody, text = a CA file or directory."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify is False:
        if DEFAULT_VERIFY is False:
            logger.info("the daemon's certificate is not verified: give ssl_verify its CA file")
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif verify is True:
        made.load_default_certs()
    else:
        path = Path(verify)
        if path.is_dir():
            made.load_verify_locations(capath=str(path))
        elif path.is_file():
            made.load_verify_locations(cafile=str(path))
        else:
            raise FileNotFoundError(f"ssl_verify names no CA file or directory: {verify}")
    if isinstance(certificate, str):
        made.load_cert_chain(certificate)
    elif certificate:
        made.load_cert_chain(certificate[0], certificate[1])
    return made
