"""The push script against recorded command lines: executables that note each call and answer as AWS does."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "image" / "push_to_ecr.sh"
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >>"$RECORD"
case "$(basename "$0") $1 $2" in
  "aws sts get-caller-identity") {identity} ;;
  "aws ecr describe-repositories") {describe} ;;
  "aws ecr get-login-password") echo secret-password ;;
  "aws configure get") {region} ;;
  "docker image inspect") {inspect} ;;
  "docker login --username") echo "login read: $(cat)" >>"$RECORD" ;;
esac
"""
NOT_FOUND = "echo 'An error occurred (RepositoryNotFoundException)' >&2; exit 254"


@dataclass(frozen=True)
class Push:
    code: int
    output: str
    calls: list[str]


@pytest.fixture
def push(tmp_path: Path) -> Callable[..., Push]:
    def run(
        *arguments: str,
        identity: str = "echo 123456789012",
        describe: str = "true",
        region: str = "exit 1",
        inspect: str = "true",
    ) -> Push:
        text = RECORDER.format(identity=identity, describe=describe, region=region, inspect=inspect)
        for name in ("aws", "docker"):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        record = tmp_path / "record"
        record.write_text("")
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "RECORD": str(record), "HOME": os.environ["HOME"]}
        done = subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)
        return Push(done.returncode, done.stdout + done.stderr, record.read_text().splitlines())

    return run


CHANGES = ("create-repository", "get-login-password", "login", "tag", "push")


def changes(push: Push) -> list[str]:
    return [
        call for call in push.calls if any(word in call.split()[1:3] for word in CHANGES) or "login read" in call
    ]


def test_everything_is_done_in_order_when_the_repository_is_new(push: Callable[..., Push]) -> None:
    done = push("--region", "eu-central-1", "--tag", "v1", describe=NOT_FOUND)
    assert done.code == 0, done.output
    made, *both_ends_of_a_pipe, login, tagged, pushed = changes(done)
    assert sorted(both_ends_of_a_pipe) == [  # which start together, in either order
        "aws ecr get-login-password --region eu-central-1",
        f"docker login --username AWS --password-stdin {REGISTRY}",
    ]
    assert [made, login, tagged, pushed] == [
        "aws ecr create-repository --region eu-central-1 --repository-name eigenline "
        "--image-scanning-configuration scanOnPush=true",
        "login read: secret-password",
        f"docker tag eigenline {REGISTRY}/eigenline:v1",
        f"docker push {REGISTRY}/eigenline:v1",
    ]
    assert f"image_uri: {REGISTRY}/eigenline:v1" in done.output
    assert "secret-password" not in done.output


def test_an_existing_repository_is_used(push: Callable[..., Push]) -> None:
    done = push("--region", "eu-central-1", "--repository", "team/models", "my-image")
    assert done.code == 0, done.output
    assert not any("create-repository" in call for call in done.calls)
    assert f"docker tag my-image {REGISTRY}/team/models:latest" in done.calls


def test_a_dry_run_shows_everything_and_changes_nothing(push: Callable[..., Push]) -> None:
    done = push("--dry-run", "--region", "eu-central-1", describe=NOT_FOUND)
    assert done.code == 0, done.output
    assert changes(done) == []
    for shown in ("+ aws ecr create-repository", "docker login --username AWS", "+ docker tag", "+ docker push"):
        assert shown in done.output
    assert "nothing was changed" in done.output


def test_the_region_comes_from_the_cli_and_china_has_its_own_domain(push: Callable[..., Push]) -> None:
    done = push(region="echo cn-north-1")
    assert "docker push 123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/eigenline:latest" in done.calls


@pytest.mark.parametrize(
    ("answers", "arguments", "expected"),
    [
        ({}, [], "no region is set"),
        ({"identity": "exit 255"}, ["--region", "eu-west-1"], "AWS does not accept your credentials"),
        ({"inspect": "exit 1"}, ["--region", "eu-west-1"], "there is no local image 'eigenline'"),
        (
            {"describe": "echo AccessDeniedException >&2; exit 254"},
            ["--region", "eu-west-1"],
            "ECR cannot be asked for the repository eigenline: AccessDeniedException",
        ),
        ({}, ["--regoin", "x"], "unknown option --regoin"),
        ({}, ["--region"], "--region needs a value"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_changed(
    push: Callable[..., Push], answers: dict[str, str], arguments: list[str], expected: str
) -> None:
    done = push(*arguments, **answers)
    assert done.code == 1
    assert expected in done.output
    assert changes(done) == []


def test_a_push_that_fails_is_a_failure(push: Callable[..., Push], tmp_path: Path) -> None:
    done = push("--region", "eu-central-1", inspect='true ;; "docker push "*) exit 7')
    assert done.code == 7
    assert "image_uri" not in done.output
