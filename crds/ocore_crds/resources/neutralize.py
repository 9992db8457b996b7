"""How a restored copy is neutralised: fields of Environment and Rollback."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ocore_crds.model import LocalRef, Model, StatusModel, Timestamp

#: Expanded by the kubelet: the operator sets PGDATABASE of the container.
DEFAULT_COMMAND = ("odoo", "neutralize", "-d", "$(PGDATABASE)")

#: Of the container with the application's image, for ``/bin/sh -c``. $0 is the folder that it shares with the mover,
#: the rest is the command. It waits until the mover has opened the copy (``ready``; 15 minutes, should the mover be
#: killed), and ends when the mover has ended (``abort``).
WRAPPER = """
touch "$0/started"
waited=0
until [ -e "$0/ready" ]; do
  if [ -e "$0/abort" ] || [ "$waited" -ge 4500 ]; then exit 1; fi
  waited=$((waited + 1))
  sleep 0.2
done
. "$0/env"
"$@" >"$0/output" 2>&1 &
command=$!
while kill -0 "$command" 2>/dev/null; do
  if [ -e "$0/abort" ]; then kill "$command"; fi
  sleep 0.2
done
wait "$command"
code=$?
cat "$0/output"
printf '%s' "$code" >"$0/exit.part"
mv "$0/exit.part" "$0/exit"
exit "$code"
"""

HostAndPort = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}$", max_length=260)
]


class Scripts(Model):
    """SQL in a ConfigMap. Each key is one script; they run in the order of their names."""

    config_map_ref: LocalRef = Field(description="ConfigMap with the scripts.")


class Neutralize(Model):
    """How a restored copy of this environment is neutralised, before anything can start on it."""

    sql: Scripts | None = Field(
        default=None,
        description=(
            "Scripts of your own, with the rights of the database's owner, each in one transaction. They run last,"
            " after the command and after the built-in statements for Odoo's schema."
        ),
    )
    command: (
        Annotated[tuple[Annotated[str, StringConstraints(min_length=1, max_length=4096)], ...], Field(max_length=50)]
        | None
    ) = Field(
        default=None,
        description=(
            "Command in the application's image that neutralises the database first. PGHOST, PGPORT, PGUSER, PGDATABASE"
            ", PGPASSFILE and PGSSLMODE lead to the copy only. The image must have /bin/sh. The default is `odoo"
            " neutralize -d $(PGDATABASE)`; with `sql` and without `image` no command runs. An empty list: none runs."
        ),
    )
    image: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None, description="Image of the command. The default is the one that the snapshot recorded."
    )
    test_listeners: Annotated[tuple[HostAndPort, ...], Field(max_length=10)] = Field(
        default=(),
        description=(
            "With a command: addresses (host:port) that the pod must not reach, beside the API server. Something must"
            " listen there, and at least one must be outside of the cluster's networks: the operator connects to it"
            " first. Without one the rollback is refused (IsolationUnproven)."
        ),
    )
    assertions: Scripts | None = Field(
        default=None,
        description=(
            "Queries that must return no row after the copy was neutralised. They are checked beside those for Odoo's"
            " schema."
        ),
    )
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=500)] | None = Field(
        default=None,
        description=(
            "web.base.url that a copy of another environment gets, and keeps (web.base.url.freeze). Without it:"
            " http://localhost:8069, frozen as well."
        ),
    )

    @property
    def runs_command(self) -> bool:
        """Whether a command in the application's image is part of it."""
        if self.command is not None:
            return bool(self.command)
        return self.image is not None or self.sql is None


class NeutralizeStatus(StatusModel):
    """What the stage Neutralize has to do, decided at the start of the rollback."""

    required: bool = Field(
        description="The copy must be proven to be neutralised. False: it gets its own identity only."
    )
    own_identity: bool = Field(
        description=(
            "The snapshot is of another environment: the copy gets a new database.uuid, database.secret and base URL."
        )
    )
    method: Literal["Sql", "Image"] | None = Field(
        default=None,
        description=(
            "`Image`: a command in the application's image, then the statements. `Sql`: only the statements, which are"
            " built in for Odoo's schema."
        ),
    )
    scripts: bool = Field(default=False, description="The Environment's scripts run after the built-in statements.")
    image: str = Field(default="", description="With `Image`: the image.")
    proven_at: Timestamp | None = Field(default=None, description="When every assertion had been checked in the copy.")
