"""Mutual TLS with the real Prometheus and the real Alertmanager, as monitoring.yaml states it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from monitoring_world import Alertmanager, Program, Prometheus, scraping
from test_metrics import REFUSED, STEPS

from sternway.domain.monitoring import Endpoint
from sternway.domain.releases import Phase
from sternway.endpoint import HttpSource
from sternway.errors import SignalUnavailable

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


def openssl(*arguments: str, folder: Path) -> None:
    """Run openssl in a folder."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an authority, certificates of a server and a client signed by it, and those of a stranger."""
    made = tmp_path_factory.mktemp("certificates")
    for authority in ("ca", "other"):
        names = ("-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-subj", f"/CN={authority}")
        openssl("req", "-x509", *_EC, *names, folder=made)
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        signed = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-addext", "subjectAltName=IP:127.0.0.1")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
        openssl("req", "-x509", *_EC, *signed, *files, folder=made)
    return made


@pytest.fixture(params=["prometheus", "alertmanager"])
def program(request, folder, certificates) -> Iterator[Program]:
    """Give a program that demands certificates."""
    made = (Prometheus if request.param == "prometheus" else Alertmanager)(folder / request.param)
    made.demand_certificates(certificates)
    made.start()
    yield made
    made.kill()


async def asked(program: Program, **more: object) -> object:
    """Ask it something as Sternway does."""
    source = HttpSource("Prometheus", lambda: Endpoint(url=program.url, timeout_s=10.0, **more))
    try:
        if isinstance(program, Prometheus):
            return await source.ask("/api/v1/query", {"query": "time()"})
        return await source.ask("/api/v2/alerts")
    finally:
        await source.close()


async def test_who_shows_the_right_certificate_is_answered_and_nobody_else(program, certificates):
    """Ours with its key opens the door. None, a stranger's, and a server that nobody vouches for are not seen, and say why."""

    def files(name: str) -> dict[str, str]:
        return {"cert_file": str(certificates / f"{name}.pem"), "key_file": str(certificates / f"{name}.key")}

    ours = {"ca_file": str(certificates / "ca.pem")}
    assert await asked(program, **ours, **files("client")) is not None
    assert await asked(program, insecure=True, **files("client")) is not None
    for wrong in (ours, ours | files("stranger"), files("client"), {"ca_file": str(certificates / "other.pem")}):
        with pytest.raises(SignalUnavailable, match="Prometheus cannot be asked: ") as refused:
            await asked(program, **wrong)
        assert "PRIVATE KEY" not in str(refused.value)
    with pytest.raises(SignalUnavailable, match=r"gone\.pem is not there|certificate or its key is not there"):
        await asked(program, **ours, cert_file=str(certificates / "gone.pem"))


async def test_a_release_is_judged_over_mutual_tls(repository, folder, certificates, started):
    """monitoring.yaml names three files, and a version that refuses every order with 200 is taken back."""
    prometheus = Prometheus(folder / "prometheus")
    prometheus.demand_certificates(certificates)
    prometheus.start()
    tls = {"caFile": "ca.pem", "certFile": "client.pem", "keyFile": "client.key"}
    tls = {field: str(certificates / name) for field, name in tls.items()}
    repository.write("shop", "1", metrics=[REFUSED], strategy=STEPS)
    (repository.folder / "monitoring.yaml").write_text(
        yaml.safe_dump({"prometheus": {"url": prometheus.url, "tls": tls}})
    )
    repository.commit()
    platform = await started()
    try:
        async with scraping(prometheus, platform, "shop"), platform.load("shop"):
            repository.release("shop", "poor2")
            release = await platform.over("shop")
    finally:
        prometheus.kill()
    assert release.phase is Phase.ROLLED_BACK
    assert release.judgement.criterion == "orders-refused"
