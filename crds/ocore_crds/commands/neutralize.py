"""The command ``neutralize``: its request, its result and its row. Pure."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocore_crds.commands.base import CAPACITY, ROLLBACK_IDS, Capacity, Command, Request
from ocore_crds.commands.parts import DatabaseAccess, Option
from ocore_crds.model import Uuid
from ocore_crds.reports.base import Line
from ocore_crds.stored.manifest import Evidence


class NeutralizeRequest(Request):
    """Neutralise the restored copy, check that it is, and mark it, so that `switch` accepts it. The live database does
    not change."""

    database: DatabaseAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    rollback_id: Uuid = Field(description="Identity of the rollback (UUID).")
    built_in: bool = Field(
        default=False,
        description=(
            "Turn off what is known of Odoo's schema. With --hand-over or --sql this is done anyway, between the two."
        ),
    )
    sql: str | None = Field(
        default=None, description="Folder with scripts that run afterwards, in the order of their names."
    )
    hand_over: str | None = Field(
        default=None,
        description=(
            "Folder through which another container of the pod gets credentials and runs its command, before all else."
        ),
    )
    assertions: str | None = Field(default=None, description="Folder with queries that must return no row afterwards.")
    capacity: Capacity | None = Field(default=None, description=CAPACITY)
    own_identity: bool = Field(default=False, description="Give the copy a new database.uuid, database.secret and URL.")
    base_url: str | None = Field(default=None, description="With --own-identity: its web.base.url.")
    isolation: Literal["Require", "BestEffort"] = Field(
        default="Require", description="With --hand-over. Require: the pod must not reach a test listener."
    )
    listeners: Annotated[tuple[str, ...], Option("listener")] = Field(
        default=(), description="HOST:PORT of a test listener beside the API server."
    )
    outside: tuple[str, ...] = Field(
        default=(),
        description=(
            "HOST:PORT of a test listener outside of the cluster's networks, which someone else has just reached."
        ),
    )

    @property
    def neutralizes(self) -> bool:
        """Whether the copy is neutralised. Else it gets its identity only."""
        return self.built_in or self.sql is not None or self.hand_over is not None

    @model_validator(mode="after")
    def _work(self) -> "NeutralizeRequest":
        if not self.neutralizes and not self.own_identity:
            raise ValueError("give --built-in, --sql, --hand-over or --own-identity")
        return self


class NeutralizeResult(Line):
    """Of ``neutralize``: the restored copy is neutralised, or has its own identity, and every assertion held."""

    kind: Literal["neutralize"] = "neutralize"
    neutralized: bool = Field(description="False: only its identity was changed.")
    evidence: Evidence = Evidence()


ROW = Command(
    "neutralize",
    NeutralizeRequest,
    (NeutralizeResult,),
    "rollback",
    3,
    (
        f"--database ~/secret --admin ~/admin {ROLLBACK_IDS} --built-in",
        f"--database ~/secret --admin ~/admin {ROLLBACK_IDS} --sql ~/scripts",
    ),
)
