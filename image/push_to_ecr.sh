#!/usr/bin/env bash
# Push the image to your own Amazon ECR, with your own AWS CLI and credentials, and print its address.
#
#   image/push_to_ecr.sh [--dry-run] [--region REGION] [--repository NAME] [--tag TAG] [IMAGE]
#
#   --dry-run       ask AWS who you are and what is there, then print what would be done, and change nothing
#   --region        default: AWS_REGION, AWS_DEFAULT_REGION, or the CLI's configuration
#   --repository    default: eigenline; made when it is not there
#   --tag           default: latest
#   IMAGE           the local image; default: eigenline
set -euo pipefail

image=eigenline repository=eigenline tag=latest dry_run= region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}

usage() { sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'; }
fail() { echo "push_to_ecr.sh: $*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes ;;
    --region | --repository | --tag)
      [ $# -ge 2 ] || fail "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; fail "unknown option $1" ;;
    *) image=$1 ;;
  esac
  shift
done

step() {  # run a command that changes something, or only show it
  printf '+'
  printf ' %q' "$@"
  echo
  if [ -z "$dry_run" ]; then "$@"; fi
}

command -v aws >/dev/null || fail "the AWS CLI is not installed (https://aws.amazon.com/cli/)"
command -v docker >/dev/null || fail "Docker is not installed"
docker image inspect "$image" >/dev/null 2>&1 || fail "there is no local image '$image'; build it first: make image"
[ -n "$region" ] || region=$(aws configure get region) || true
[ -n "$region" ] || fail "no region is set: give --region, or set AWS_REGION"

account=$(aws sts get-caller-identity --query Account --output text) ||
  fail "AWS does not accept your credentials; try: aws sts get-caller-identity"
case $region in cn-*) domain=amazonaws.com.cn ;; *) domain=amazonaws.com ;; esac
registry=$account.dkr.ecr.$region.$domain
address=$registry/$repository:$tag

if problem=$(aws ecr describe-repositories --region "$region" --repository-names "$repository" 2>&1 >/dev/null); then
  echo "The repository $repository is there."
elif [[ $problem == *RepositoryNotFoundException* ]]; then
  step aws ecr create-repository --region "$region" --repository-name "$repository" \
    --image-scanning-configuration scanOnPush=true
else
  fail "ECR cannot be asked for the repository $repository: $problem"
fi

echo "+ aws ecr get-login-password --region $region | docker login --username AWS --password-stdin $registry"
if [ -z "$dry_run" ]; then
  # Through a pipe: the password is never an argument that other processes could read.
  aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry"
fi
step docker tag "$image" "$address"
step docker push "$address"
echo "image_uri: $address"
[ -z "$dry_run" ] || echo "(dry run: nothing was changed)"
