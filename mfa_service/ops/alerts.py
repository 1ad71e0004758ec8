"""What operators are told of at once: a warning in the log for each."""

import structlog

from mfa_service.model import Credential

_log = structlog.get_logger(__name__)


class LoggedAlerts:
    """`Alerts` in the log."""

    def many_wrong_codes(self, device: Credential, *, failures: int) -> None:
        """Warn of a device that is guessed at, in the words that `mfa-service devices show` takes."""
        _log.warning(
            "device_guessed_at",
            application_id=device.owner.application_id,
            user=device.owner.user_name,
            device=device.name,
            failures=failures,
        )
