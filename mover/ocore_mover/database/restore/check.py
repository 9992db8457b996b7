"""Checks that the restored database is what the snapshot describes."""

from dataclasses import dataclass

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.database.connect import Connection, translating
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

APPLICATION = "ocore-check"


@dataclass(frozen=True)
class Checked:
    """What was proven of a restored database."""

    proven: tuple[str, ...]
    warnings: tuple[str, ...]
    indexes: int = 0


def check(access: CopyAccess, artifact: DatabaseArtifact, token: Token) -> Checked:
    """Checks indexes and extensions with the application's rights. Raises MoverError VerificationFailed."""
    with (
        translating(conditions.VERIFICATION_FAILED, f"checking {access.credentials.dbname}"),
        access.connect(application=APPLICATION, token=token) as connection,
    ):
        _check_indexes(connection)
        warnings = _check_extensions(connection, artifact)
        row = connection.execute(
            "SELECT count(*) FILTER (WHERE relkind = 'r'), count(*) FILTER (WHERE relkind = 'i') FROM pg_class WHERE"
            " oid >= 16384"
        ).fetchone()
    tables, indexes = row or (0, 0)
    return Checked(
        (f"restored database: {tables} tables, {indexes} valid indexes, {len(artifact.extensions)} extensions",),
        tuple(warnings),
        indexes,
    )


def _check_indexes(connection: Connection) -> None:
    # An index on a partitioned table is invalid while a partition lacks its part, in the original too.
    broken = connection.execute(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1 LIMIT 5"
    ).fetchall()
    if broken:
        raise MoverError(
            conditions.VERIFICATION_FAILED,
            f"indexes are invalid after the restore: {', '.join(row[0] for row in broken)}",
        )


def _check_extensions(connection: Connection, artifact: DatabaseArtifact) -> list[str]:
    found: dict[str, str] = dict(connection.execute("SELECT extname::text, extversion FROM pg_extension").fetchall())
    missing = sorted(set(artifact.extensions) - set(found))
    if missing:
        raise MoverError(
            conditions.VERIFICATION_FAILED, f"extensions are missing after the restore: {', '.join(missing)}"
        )
    return [
        f"extension {name} is {found[name]}, the snapshot has {version}"
        for name, version in sorted(artifact.extensions.items())
        if found[name] != version
    ]
