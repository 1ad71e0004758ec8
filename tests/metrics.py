"""What a page for Prometheus says, read by the client library's own parser."""

from prometheus_client.parser import text_string_to_metric_families


def samples(page: bytes) -> dict[str, float]:
    """Return the value of each sample; one that has labels is refused.

    Args:
        page: in the text format.
    """
    found = [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]
    assert not any(sample.labels for sample in found)
    return {sample.name: sample.value for sample in found}
