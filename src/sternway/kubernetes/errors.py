"""What goes wrong between us and a Kubernetes API server. Raised by `client` and by the fake.

SternwayError
├── Refused
│   ├── Denied         401, 403: says which verb on which resource is missing
│   └── Invalid        400, 422: says which field is wrong
└── Temporary
    ├── Unreachable    no answer, 429, 5xx; retry_in_s as the server asks
    ├── Conflict       409: somebody else was quicker, or owns the field: read again
    └── Gone           410: what a watch asked for is history: list again
"""

from sternway.errors import Refused, Temporary


class Denied(Refused):
    """We may not do this: what is missing in a Role stands in the hint."""


class Invalid(Refused):
    """The API server does not take the object: the message names the field."""


class Unreachable(Temporary):
    """The API server did not answer, or not now."""


class Conflict(Temporary):
    """The object changed since it was read, is there already, or a field belongs to somebody else."""


class Gone(Temporary):
    """The resource version is too old to go on from."""
