from collections.abc import Callable

import pytest
from gates import Gate


@pytest.fixture
def gate(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Gate:
    """A gate that prints what it saw, also when it holds."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}")

    told: Callable[[str], None] = tell
    return Gate(is_strict=request.config.getoption("--strict-timing"), tell=told)
