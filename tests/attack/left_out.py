"""The attacks that cannot be tried, and the parts of attacks, each with what in the contract makes that so."""

from collections.abc import Mapping
from types import MappingProxyType

_NO_AUDIT = "the audit record, which this version does not write; the registry is looked at in its place"
_LOAD_FIGURE = "the 99th percentile of other callers, a figure of load tests on machines that nobody shares"

LEFT_OUT: Mapping[str, str] = MappingProxyType({})
"""Id → why no test tries it."""

IN_PART: Mapping[str, str] = MappingProxyType(
    {
        "O-06": _NO_AUDIT,
        "L-05": "that a challenge dies in its device's wait: by the contract it dies of its own wrong codes alone",
        "L-09": _LOAD_FIGURE,
        "L-12": "the third version of Redis's protocol: the service speaks the second alone",
        "L-15": "how many attempts remain, which the contract's errors do not tell",
        "L-16": _NO_AUDIT,
        "U-11": _NO_AUDIT,
        "E-15": "the audit record and a notification, neither of which there is; the registry is looked at instead",
        "T-11": _NO_AUDIT,
        "H-04": "the way behind nginx: HAProxy stands for every balancer",
        "H-09": _LOAD_FIGURE,
        "H-18": _NO_AUDIT,
    }
)
"""Id → what of it no test tries, and why."""
