"""Conditions on rows: data of a stranger, made into SQL of ours. Pure.

Nothing of a condition is SQL: its columns are compared with the catalog's, its operators are of a closed list, its
values are literals. And nothing of the application's runs. Operators and functions are named with ``pg_catalog``;
casts are between types of PostgreSQL only, which no one else can define; the text of any other type is that of its
output function, which COPY uses as well. So a condition costs what reading the table costs, times its comparisons.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from ocore_crds import conditions
from ocore_crds.reports.extracted import Comparison, Operator, Where
from ocore_mover.errors import MoverError

#: Types that are compared as text, by bytes.
_TEXT = frozenset(("text", "varchar", "bpchar", "name"))
_TIMES = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")
#: Types with an order that depends on nothing but the values.
_ORDERED = frozenset(
    (*_TIMES, "bool", "int2", "int4", "int8", "numeric", "float4", "float8", "oid", "uuid", "inet", "cidr")
)
_ORDERS: dict[Operator, sql.SQL] = {
    "LessThan": sql.SQL("<"),
    "AtMost": sql.SQL("<="),
    "GreaterThan": sql.SQL(">"),
    "AtLeast": sql.SQL(">="),
}
_NEGATED: dict[Operator, Operator] = {
    "NotIn": "In",
    "NotStartsWith": "StartsWith",
    "NotContains": "Contains",
    "IsNotNull": "IsNull",
}


@dataclass(frozen=True)
class Column:
    """A column of a table in the scratch database."""

    name: str
    type: str  # in a table without the application's types; a text of the server
    base: str  # the type of PostgreSQL that it is, or that its domains are based on; empty: another one

    @property
    def compared(self) -> str:
        """The type of PostgreSQL as which it is compared."""
        return self.base if self.base in _ORDERED else "text"


def literals(columns: Sequence[Column], where: Where) -> Iterator[tuple[Comparison, sql.Composed]]:
    """The comparisons that have values, with these as an array in SQL. The server checks them before it reads a row.

    Raises MoverError RowFilterFailed for a column that does not exist, or an order that its type does not have.
    """
    for each in (comparison for entry in where for comparison in entry.all_of):
        column = _column(columns, each)
        if each.values:
            yield each, _values(each, column)


def compiled(columns: Sequence[Column], where: Where) -> sql.Composed:
    """The expression of SQL. Raises as :func:`literals`."""
    either = (sql.SQL(" AND ").join(_one(columns, each) for each in entry.all_of) for entry in where)
    return sql.SQL("({})").format(sql.SQL(") OR (").join(either))


def _column(columns: Sequence[Column], comparison: Comparison) -> Column:
    found = next((column for column in columns if column.name == comparison.column), None)
    if found is None:
        raise MoverError(
            conditions.ROW_FILTER_FAILED,
            f"the table has no column {comparison.column!r}. Its columns: {', '.join(c.name for c in columns[:50])}",
        )
    if comparison.operator in _ORDERS and found.base not in _ORDERED | _TEXT:
        raise MoverError(
            conditions.ROW_FILTER_FAILED,
            f"{comparison.operator} does not go with column {found.name}: its values are compared as text, which does"
            " not have their order. Use In, NotIn, StartsWith or Contains",
        )
    return found


def _one(columns: Sequence[Column], comparison: Comparison) -> sql.Composed:
    column, negated = _column(columns, comparison), comparison.operator in _NEGATED
    operator = _NEGATED.get(comparison.operator, comparison.operator)
    name = sql.Identifier(column.name)
    # Not IS NULL: of a composite type that asks for its parts.
    if operator == "IsNull":
        return sql.SQL("{} IS {}DISTINCT FROM NULL").format(name, sql.SQL("" if negated else "NOT "))
    holds = _holds(column, operator, _values(comparison, column))
    return sql.SQL("{} IS DISTINCT FROM NULL AND {}({})").format(name, sql.SQL("NOT " if negated else ""), holds)


def _holds(column: Column, operator: Operator, values: sql.Composed) -> sql.Composed:
    if operator == "StartsWith":
        return sql.SQL("pg_catalog.starts_with({}, ({})[1])").format(_text(column), values)
    if operator == "Contains":
        return sql.SQL("pg_catalog.strpos({}, ({})[1]) OPERATOR(pg_catalog.>) 0").format(_text(column), values)
    own = column.base in _ORDERED
    value = sql.SQL("{}::pg_catalog.{}").format(sql.Identifier(column.name), sql.Identifier(column.base))
    return sql.SQL("{} OPERATOR(pg_catalog.{}) ANY ({})").format(
        value if own else _text(column), _ORDERS.get(operator, sql.SQL("=")), values
    )


def _text(column: Column) -> sql.Composed:
    """The column as text. Not by a cast where it has a type of the application: its owner can define that cast."""
    form = "{}::pg_catalog.text" if column.base in _TEXT else "pg_catalog.concat({})"
    return sql.SQL(f'({form} COLLATE "C")').format(sql.Identifier(column.name))


def _values(comparison: Comparison, column: Column) -> sql.Composed:
    text = comparison.operator not in ("In", "NotIn", *_ORDERS)
    type_ = sql.Identifier("text" if text else column.compared)
    values = sql.SQL(", ").join(map(sql.Literal, comparison.values))
    return sql.SQL("ARRAY[{}]::pg_catalog.{}[]").format(values, type_)
