"""Who asks, and what they may see.

`principal` (the caller, pure), `claims` (from the claims of a token to a caller, pure), `keys` (a JSON Web Key Set,
pure), `sources` (where keys come from: file or URL), `authenticator` (verifies tokens and remembers the verified ones).
"""

from ocore_api.auth.authenticator import Authenticator
from ocore_api.auth.principal import ADMIN, READ, ROLLBACK, SCOPES, SNAPSHOT, Principal

__all__ = ["ADMIN", "READ", "ROLLBACK", "SCOPES", "SNAPSHOT", "Authenticator", "Principal"]
