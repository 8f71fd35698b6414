"""Starting: environment, placeholders, readiness, what cannot start."""

import asyncio
import dataclasses
import json
import sys
import time

import pytest
from local_world import World, failure_of, get, replica_of, run, state_of, until

from sternway.domain.images import ImageCommand, Images
from sternway.domain.versions import ConfigFile, EnvVar, Probe, SecretKey
from sternway.platforms.local import LocalPlatform
from sternway.platforms.local.crashes import Crashes

SECRET = EnvVar(name="TOKEN", secret=SecretKey(name="tokens", key="web", digest="abc"))


async def test_replicas_are_published_once_they_are_ready(world: World, platform: LocalPlatform) -> None:
    """A slow replica enters discovery when it answers, not when it starts, each on a port of its own."""
    web = world.app("--slow-start", "0.4")
    began = time.time()
    await platform.apply("web", [run(web, 2)])
    assert world.published == []
    endpoints = await world.ready(web, 2)
    assert world.published[0][0] - began >= 0.4
    assert len({endpoint.port for endpoint in endpoints}) == 2
    assert (await get(endpoints[0].port))["argv"]
    state = await state_of(platform, "web", web)
    assert (state.desired, state.ready, state.restarts, state.failure) == (2, 2, 0, None)
    assert {replica.phase for replica in state.replicas} == {"ready"}


async def test_readiness_is_asked_faster_than_its_period_at_start(world: World, platform: LocalPlatform) -> None:
    """A period of an hour does not hold up a replica that is ready after 0.3 s."""
    web = world.app("--slow-start", "0.3", readiness=Probe(http_path="/ready", period_s=3600))
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)


@pytest.mark.parametrize("probe", [None, Probe(tcp=True)], ids=["no probe", "tcp probe"])
async def test_an_open_port_is_readiness_enough(world: World, platform: LocalPlatform, probe: Probe | None) -> None:
    """Without a readiness probe, and with a TCP one, a replica is ready when its port accepts."""
    web = world.app("--slow-start", "0.2", readiness=probe)
    began = time.time()
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    assert world.published[0][0] - began >= 0.2


async def test_a_command_probe_runs_in_the_replica_s_environment(world: World, platform: LocalPlatform) -> None:
    """An exec probe sees the variables of the replica and decides its readiness."""
    gate = world.flags / "gate"
    probe = Probe(exec_command=("sh", "-c", 'test "$COLOUR" = blue && test -e ' + str(gate)), period_s=0.1)
    web = world.app(readiness=probe, env=(EnvVar(name="COLOUR", value="blue"),))
    await platform.apply("web", [run(web)])
    while "exited with status 1" not in (await replica_of(platform, "web", web)).message:
        await asyncio.sleep(0.01)
    assert world.endpoints(web) == ()
    gate.touch()
    await world.ready(web, 1)


async def test_a_worker_without_a_port_is_ready_but_has_no_address(world: World, platform: LocalPlatform) -> None:
    """A workload that listens nowhere counts as ready as soon as it runs, and discovery never hears of it."""
    worker = world.app("--slow-start", "60", port=None, readiness=None)
    await platform.apply("worker", [run(worker)])
    while (await state_of(platform, "worker", worker)).ready < 1:
        await asyncio.sleep(0.01)
    assert world.published == []


async def test_a_startup_probe_holds_liveness_back(world: World, platform: LocalPlatform) -> None:
    """A replica that is slow to start is not killed by its liveness probe while its startup probe is patient."""
    web = world.app(
        "--slow-start",
        "0.7",
        startup=Probe(http_path="/live", period_s=0.5, failure_threshold=20),
        liveness=Probe(http_path="/live", period_s=0.05, timeout_s=30.0, failure_threshold=1),
    )
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    assert (await state_of(platform, "web", web)).restarts == 0


async def test_a_startup_probe_that_loses_patience_restarts_the_replica(world: World, platform: LocalPlatform) -> None:
    """When `failure_threshold` periods have passed without an answer, the process is replaced."""
    web = world.app("--slow-start", "60", startup=Probe(tcp=True, period_s=0.1, failure_threshold=3))
    await platform.apply("web", [run(web)])
    failure = await failure_of(platform, "web", web)
    assert failure.startswith("crash loop: was restarted 3 times in ")
    assert "startup probe failed for 0.3 s: nothing listens on port" in failure


async def test_the_environment_is_layered_and_the_workload_wins(
    world: World, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sternway's own variables stay out, the mesh's and the image's come in, and the Deployment has the last word."""
    monkeypatch.setenv("PRIVATE_TO_STERNWAY", "x")
    world.extra = {"COLOUR": "mesh", "SHAPE": "mesh", "SIZE": "mesh"}
    web = world.app(env=(EnvVar(name="COLOUR", value="workload"), EnvVar(name="PORT", value="8080")))
    (mapping,) = world.images.commands
    image_env = (("COLOUR", "image"), ("SHAPE", "image"), ("LISTEN", ":{port}"))
    world.images = Images(commands=(dataclasses.replace(mapping, env=image_env),))
    await platform.apply("web", [run(web)])
    (endpoint,) = await world.ready(web, 1)
    env = await get(endpoint.port, "/env")
    assert (env["COLOUR"], env["SHAPE"], env["SIZE"]) == ("workload", "image", "mesh")
    assert (env["PORT"], env["LISTEN"]) == (str(endpoint.port), f":{endpoint.port}")
    assert env["HOSTNAME"] == endpoint.replica
    assert env["http_proxy"].endswith("/web")
    assert "PRIVATE_TO_STERNWAY" not in env


async def test_placeholders_and_files_reach_the_command(world: World, platform: LocalPlatform) -> None:
    """Tag, image, interpreter and ConfigMap folder stand in argv; the files have their content."""
    web = world.app("{literal}", files=(ConfigFile(path="/etc/app/shop.yaml", content="open: true\n"),))
    command = ("{python}", "-S", *world.images.commands[0].command[2:], "{tag}", "{image}", "{config}")
    world.images = Images(commands=(ImageCommand(image="app", command=command),))
    await platform.apply("web", [run(web)])
    (endpoint,) = await world.ready(web, 1)
    *_, tag, image, config, literal = (await get(endpoint.port))["argv"]
    assert (tag, image, literal) == ("1.0.0", "app:1.0.0", "{literal}")
    assert (world.state_dir / "config" / web.id).samefile(config)
    assert (world.state_dir / "config" / web.id / "etc/app/shop.yaml").read_text() == "open: true\n"


async def test_a_file_outside_its_folder_is_refused(world: World, platform: LocalPlatform) -> None:
    """A ConfigMap path with `..` writes nothing and is the workload's failure."""
    web = world.app(files=(ConfigFile(path="/etc/../../../escaped", content="x"),))
    await platform.apply("web", [run(web)])
    assert "lies outside its folder" in await failure_of(platform, "web", web)
    assert not list(world.state_dir.parent.rglob("escaped"))


async def test_an_image_without_a_mapping_names_the_file_and_the_line(
    world: World, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure says what to add where; once it is added, the next apply starts the workload, whatever its back-off."""
    monkeypatch.setattr(Crashes, "back_off_s", lambda _: 3600.0)
    web = world.app()
    mapped, world.images = world.images, Images()
    await platform.apply("web", [run(web)])
    failure = await failure_of(platform, "web", web)
    assert failure.startswith("no command is known for the image app:1.0.0: add it to images.yaml")
    assert "`app: my-command --port {port}`" in failure
    world.images = mapped
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    assert (await state_of(platform, "web", web)).failure is None


@pytest.mark.parametrize(
    ("command", "working_dir", "sentence"),
    [
        (("no-such-program-here", "{port}"), "", "command not found: no-such-program-here"),
        (("./missing.sh",), "/tmp", "command not found: ./missing.sh"),
        ((sys.executable,), "/no/such/folder", "the working directory /no/such/folder does not exist"),
        (("./not-a-program",), "FLAGS", "could not be started: Exec format error"),
    ],
    ids=["not on PATH", "no such path", "no such folder", "not a program"],
)
async def test_a_command_that_cannot_start_is_explained(
    world: World, platform: LocalPlatform, command: tuple[str, ...], working_dir: str, sentence: str
) -> None:
    """A missing command, path or folder, or a file that is no program, is the workload's failure in plain words."""
    web = world.app()
    broken = world.flags / "not-a-program"
    broken.write_text("no shebang")
    broken.chmod(0o755)
    folder = str(world.flags) if working_dir == "FLAGS" else working_dir
    world.images = Images(commands=(ImageCommand(image="app", command=command, working_dir=folder),))
    await platform.apply("web", [run(web)])
    assert (await failure_of(platform, "web", web)).startswith(sentence)


async def test_secret_values_reach_the_process_and_nothing_else(world: World, platform: LocalPlatform) -> None:
    """A value that the process itself prints is redacted in failures and logs; no file but its own log holds it."""
    world.secrets = {"web": "hunter2-value"}
    web = world.app("--say", "boot with $TOKEN", "--exit", "1", env=(SECRET,))
    ok = world.app(env=(SECRET,))
    await platform.apply("web", [run(ok), run(web)])
    (endpoint,) = await world.ready(ok, 1)
    assert (await get(endpoint.port, "/env"))["TOKEN"] == "hunter2-value"
    assert "hunter2-value" not in str((await get(endpoint.port))["argv"])
    failure = await failure_of(platform, "web", web)
    assert failure.endswith("last output: boot with ***")
    assert [line async for _, line in platform.logs("web", lines=1)] == ["boot with ***"]
    holders = [path for path in world.state_dir.rglob("*") if path.is_file() and "hunter2" in path.read_text()]
    assert [path.parent.parent.name for path in holders] == ["logs"]
    records = [json.loads(path.read_text()) for path in (world.state_dir / "replicas").iterdir()]
    assert len(records) == 2


async def test_secrets_that_cannot_be_read_yet_are_no_failure_of_the_workload(
    world: World, platform: LocalPlatform
) -> None:
    """While the look-up is unavailable the replica waits and says why; it starts by itself once it answers."""
    web = world.app(env=(SECRET,))
    await platform.apply("web", [run(web)])
    while (await replica_of(platform, "web", web)).message != "c0ffee cannot be read":
        await asyncio.sleep(0.01)
    assert (await state_of(platform, "web", web)).failure is None
    world.secrets = {"web": "hunter2-value"}
    await world.ready(web, 1)


async def test_resource_figures_are_those_of_the_process(world: World, platform: LocalPlatform) -> None:
    """A running replica has resident memory and a CPU share; sampled again within a second they stay the same."""
    web = world.app()
    await platform.apply("web", [run(web)])
    await world.ready(web, 1)
    first = await replica_of(platform, "web", web)
    assert first.memory_bytes is not None
    assert first.memory_bytes > 5_000_000
    assert first.cpu_percent is not None
    again = await replica_of(platform, "web", web)
    assert (again.memory_bytes, again.cpu_percent) == (first.memory_bytes, first.cpu_percent)


async def test_a_few_failed_readiness_probes_are_borne(world: World, platform: LocalPlatform) -> None:
    """Below `failure_threshold` failures in a row a replica keeps its traffic."""
    web = world.app(readiness=Probe(http_path="/ready", period_s=0.1, failure_threshold=100))
    await platform.apply("web", [run(web)])
    endpoints = await world.ready(web, 1)
    (world.flags / "unready").touch()
    await asyncio.sleep(0.5)
    (world.flags / "unready").unlink()
    assert world.endpoints(web) == endpoints
    assert len(world.published) == 1


async def test_readiness_is_taken_away_and_given_back(world: World, platform: LocalPlatform) -> None:
    """A replica that says it is not ready leaves discovery without being restarted, and returns."""
    web = world.app(readiness=Probe(http_path="/ready", period_s=0.1, failure_threshold=2))
    await platform.apply("web", [run(web)])
    before = await world.ready(web, 1)
    (world.flags / "unready").touch()
    await world.ready(web, 0)
    replica = await replica_of(platform, "web", web)
    assert replica.phase == "unready"
    assert f"GET /ready on port {replica.port} answered 503" in replica.message
    (world.flags / "unready").unlink()
    assert await world.ready(web, 1) == before
    assert (await replica_of(platform, "web", web)).restarts == 0
    await until(lambda: len(world.woken) >= 3, "three wake-ups")
