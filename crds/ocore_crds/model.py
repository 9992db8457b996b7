"""Base of every model: frozen, camelCase on the wire, strict about unknown fields."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from ocore_crds.text import timestamps
from ocore_crds.text.sentences import sentence

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
NAMESPACE_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
#: RFC 3339 in UTC with seconds, as ``metadata.creationTimestamp`` has it. Of the years 1970 to 8999: a program may add
#: and subtract months.
TIME_PATTERN = (
    r"^(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,18})?Z$"
)

Uuid = Annotated[str, StringConstraints(pattern=UUID_PATTERN, min_length=36, max_length=36)]
ObjectName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=253)]
NamespaceName = Annotated[str, StringConstraints(pattern=NAMESPACE_PATTERN, min_length=1, max_length=63)]


def _moment(value: str) -> str:
    """The text, once it has been parsed: the pattern knows no calendar."""
    timestamps.parse(value)
    return value


Timestamp = Annotated[
    str,
    StringConstraints(pattern=TIME_PATTERN, max_length=39),
    AfterValidator(_moment),
    Field(json_schema_extra={"format": "date-time"}),
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", min_length=64, max_length=64)]
#: A message for people: a whole sentence, also where it was made of others.
Sentence = Annotated[str, AfterValidator(sentence)]


def _whole_number_as_text(value: Any) -> Any:
    """YAML reads `cpu: 2` as a number; Kubernetes quantities allow that too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_INT_OR_STRING = Field(json_schema_extra={"x-kubernetes-int-or-string": True})
#: A Kubernetes quantity of bytes such as ``20Gi``. Kept as text; :func:`ocore_crds.text.quantity.parse` gives bytes.
Quantity = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(E|P|T|G|M|k|Ei|Pi|Ti|Gi|Mi|Ki)?$", max_length=32),
    BeforeValidator(_whole_number_as_text),
    _INT_OR_STRING,
]
#: A quantity of processors such as ``500m`` or ``2``.
CpuQuantity = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?m?$", max_length=32),
    BeforeValidator(_whole_number_as_text),
    _INT_OR_STRING,
]
_FOLDER = r"\.?[A-Za-z0-9_@+=,-][A-Za-z0-9_@+=.,-]*"  # neither "." nor ".."
#: A path below the root of a volume claim: relative, without ``..``.
RelativePath = Annotated[str, StringConstraints(pattern=rf"^({_FOLDER}(/{_FOLDER})*)?$", max_length=512)]


class Model(BaseModel):
    """A frozen value with camelCase names on the wire. Does no I/O."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_enum_values=False,
    )

    def wire(self) -> dict[str, Any]:
        """The model as JSON-ready data with wire names, unset optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with fields replaced, not validated. Raises TypeError for a field that the model does not have:
        pydantic would keep a misspelt one as an attribute that is never written."""
        self.check_fields(update or ())
        return super().model_copy(update=update, deep=deep)

    @classmethod
    def check_fields(cls, names: Iterable[str]) -> None:
        """Raises TypeError where one of the names is not a field of the model."""
        unknown = sorted(set(names) - cls.model_fields.keys())
        if unknown:
            raise TypeError(f"{cls.__name__} has no field {', '.join(unknown)}")


class Tolerant(Model):
    """What another version of our programs may have written, to a store or a log: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class StatusModel(Tolerant):
    """Status as read from the API server."""


class LocalRef(Model):
    """The name of an object in the same namespace."""

    name: ObjectName = Field(description="Name of the object, in the namespace of this resource.")


class KeyRef(LocalRef):
    """One key of a ConfigMap or Secret in the same namespace."""

    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(default="ca.crt", description="Key in it.")
