"""To whom snapshots are encrypted. Pure."""

from typing import Annotated

from pydantic import StringConstraints

#: A public key of age (X25519). Its checksum is checked by age_keys: a schema cannot.
Recipient = Annotated[str, StringConstraints(pattern=r"^age1[02-9ac-hj-np-z]{58}$")]
